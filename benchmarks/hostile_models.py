"""Two hundred and more bundles made to do harm: an answer or one sentence, and no more than is due.

A good bundle gets another network or another reference.npz, and every checksum is made right again:
networks that ask for memory, compute without end, loop, call themselves, hold what ONNX does not
allow, lie about their shapes, or are damaged; arrays that unpack to more than they are, promise
more than they hold, or are no numbers. `bears predict` is asked with each, in a process of its own
that has never seen it; every tenth is served as well.

    .venv/bin/python benchmarks/hostile_models.py [MODEL] [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hostile_networks import Case, networks
from hostile_references import references
from tqdm import tqdm
from versus import ROOT, SHIPPED, Goal, Told, at_most, measured, options

# isort: split
from bundles import rewrite
from corpus import drawn, saved
from serving import children

MOST_MEMORY = 1.5e9  # bytes, of the largest process
MOST_TIME = 10.0  # seconds
SERVED = 10  # every so many-th is served as well


@dataclass(frozen=True)
class Run:
    code: int
    said: str
    seconds: float
    memory: int  # bytes that the largest of its processes held


def run(words: list[str], folder: Path, until: str = "") -> Run:
    """`bears` with these words, until it ends, or says so."""
    environment = os.environ | {"BEARS_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    out, began = folder / "out", time.monotonic()
    with out.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "bear_classifier", *words], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    took, asked, held = 0.0, False, 0
    while True:
        held = max(held, *(peak(pid) for pid in (child.pid, *children(child.pid))))
        now = time.monotonic() - began
        if child.poll() is not None:
            text = out.read_text(encoding="utf-8", errors="replace")
            return Run(child.returncode, text, took or now, held)
        if not asked and (now > 120 or (until and until.encode() in out.read_bytes())):
            asked, took = True, now
            child.send_signal(signal.SIGINT)
        time.sleep(0.02)


def peak(pid: int) -> int:
    """Bytes that a process has held at most. (rusage would tell of this one, before the exec.)"""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it ended
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def wrong(one: Run, codes: tuple[int, ...]) -> str:
    """What is not as it should be; empty where all is."""
    errors = [line for line in one.said.splitlines() if line.startswith("bears: ")]
    if "Traceback" in one.said:
        return "traceback"
    if one.code not in codes:
        return f"exit code {one.code}"
    if one.code in (2, 3) and not (errors and re.match(r"bears: [A-Z_]+: .{10,}", errors[-1])):
        return "no sentence"
    if one.memory > MOST_MEMORY:
        return f"{one.memory / 1e6:.0f} MB"
    served = one.code == 130  # its start, which takes most of the time, is measured elsewhere
    return f"{one.seconds:.1f} s" if one.seconds > MOST_TIME and not served else ""


def asked(model: Path, cases: list[Case]) -> Told:
    found = Told(["asked", "bundles", "exit codes", "most MB", "longest s"])
    bad: list[str] = []
    runs: dict[str, list[Run]] = {"predict": [], "serve": []}
    codes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder, photo = Path(scratch), Path(scratch) / "a.jpg"
        photo.write_bytes(saved(drawn(seed=3), "JPEG"))
        for number, (name, file, change) in enumerate(tqdm(cases, desc="bundles", mininterval=5)):
            place = Path(shutil.copytree(model, folder / "m"))
            (place / file).write_bytes(change((place / file).read_bytes()))
            rewrite(place)
            each = [("predict", ["predict", "--model", str(place), str(photo)], "", (0, 1, 2, 3))]
            if number % SERVED == 0:
                words = ["serve", str(place), "--port", "0"]
                each.append(("serve", words, "Serving", (130, 2, 3)))
            for kind, words, until, allowed in each:
                one = run(words, folder, until)
                runs[kind].append(one)
                code = re.search(r"^bears: ([A-Z_]+)", one.said, re.MULTILINE)
                codes[code[1] if code else "answered"] += 1
                if what := wrong(one, allowed):
                    last = one.said.strip().splitlines()[-1:] or [""]
                    bad.append(f"{kind} {name}: {what}: {last[0][:200]}")
                shutil.rmtree(folder / "cache", ignore_errors=True)
            if (folder / "HARM").exists():
                bad.append(f"{name}: it was obeyed")
            shutil.rmtree(place)
    for line in bad:
        print(f"    {line}", file=sys.stderr)
    for kind, ones in runs.items():
        many = ", ".join(f"{c}: {n}" for c, n in sorted(Counter(o.code for o in ones).items()))
        largest = max((one.memory for one in ones), default=0) / 1e6
        longest = max((one.seconds for one in ones if one.code != 130), default=0)
        found.rows.append([kind, str(len(ones)), many, f"{largest:.0f}", f"{longest:.1f}"])
        found.goals.append(at_most(f"{kind}: memory", largest, MOST_MEMORY / 1e6, "MB"))
        found.goals.append(at_most(f"{kind}: time", longest, MOST_TIME, "s"))
    found.goals.insert(0, Goal("not as it should be", "0", str(len(bad)), not bad))
    found.notes = [", ".join(f"{code} {n}" for code, n in codes.most_common())]
    found.facts = {"bad": bad, "codes": dict(codes)}
    return found


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("model", metavar="MODEL", type=Path, nargs="?", default=SHIPPED)
    made.add_argument("--only", metavar="TEXT", default="", help="in the name of a bundle")
    words = made.parse_args()
    cases = [case for case in (*networks(), *references()) if words.only in case[0]]
    cases = cases[::8] if words.quick else cases
    model = words.model.resolve()
    return measured(words, "hostile_models", __doc__ or "", lambda: asked(model, cases))


if __name__ == "__main__":
    sys.exit(main())
