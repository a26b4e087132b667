"""Every file of a dataset and its model, damaged in six ways: each later command ends with a
sentence, or goes on; with `--retry` what can be brought back is.

A small project is run to its model once. Then each file (of many alike, some) is cut, emptied,
filled with noise, and replaced by a folder, a link to nothing, or nothing, in a copy of the whole;
there `bears status`, `run`, `run --retry` and `predict` are called as a person would. Told are
tracebacks, errors without a code, and how many copies answer again at the end.

    .venv/bin/python benchmarks/damaged_data.py [--most N] [--quick] [--json FILE]
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promises import as_goals, most
from tqdm import tqdm
from versus import Told, measured, options

# isort: split
from corpus import drawn, saved

from bear_classifier.cli import main as cli

SETTINGS = [
    *("learn.arch=squeezenet1_1", "learn.weights=none", "learn.size=64", "learn.device=cpu"),
    *("train.epochs=1", "train.lr=0.001", "train.batch_size=8", "export.parity=1"),
]
KINDS = ("photos", "copies", "features", "golden")  # folders of which a few files stand for all
A_FEW = 18


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(max(100, path.stat().st_size)))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nothing")


AGAIN = ["run", "--retry"]
COMMANDS = (["status"], ["run"], AGAIN, ["predict", "photos/teddy/1.png"])
DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut, "emptied": emptied, "noise": noise, "a folder": folder, "a link": link,
    "removed": Path.unlink,
}  # fmt: skip


def bears(*words: str) -> tuple[int, str]:
    """Exit code and all that was said; 99 and the traceback where there is one."""
    said = io.StringIO()
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [*words, "--project", "mine.toml", *settings]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = cli.main(command)
    except SystemExit as exc:
        code = int(exc.code or 0) if isinstance(exc.code, int) else 2
    except Exception:  # noqa: BLE001  # what no person should see
        return 99, said.getvalue() + traceback.format_exc()
    return code, said.getvalue()


def made(root: Path) -> None:
    """A project of drawn photos, run to its model."""
    for number in range(36):
        label = ("grizzly", "teddy")[number % 2]
        path = root / "photos" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(drawn(seed=number), "PNG"))
    (root / "mine.toml").write_text(
        'name = "mine"\n[classes]\ngrizzly = ["a"]\nteddy = ["b"]\n', encoding="utf-8"
    )
    code, said = bears("run", "--source", "folder:photos")
    if code:
        raise SystemExit(said)


def chosen(root: Path) -> list[Path]:
    """Files of the dataset and the model, below root; of many alike the first few."""
    found, alike = [], Counter[str]()
    for place in ("data", "models"):
        for path in sorted((root / place).rglob("*")):
            kind = next((k for k in KINDS if k in path.parts), "")
            alike[kind] += path.is_file()
            if path.is_file() and (not kind or alike[kind] <= A_FEW):
                found.append(path.relative_to(root))
    return found


def wrong(said: str, code: int) -> str:
    if code == 99 or "Traceback" in said:
        return "traceback"
    errors = [line for line in said.split("\n") if line.startswith("bears: ")]
    if code and not errors:
        return "no sentence"
    if code and not re.match(r"bears: [A-Z_0-9]+: .{10,}", errors[0]):
        return "no code"
    return ""


def told(most_of_all: int) -> Told:
    os.environ["TQDM_DISABLE"] = "1"
    bad: list[str] = []
    ended: list[str] = []
    codes: dict[str, Counter[int]] = {}
    whole = 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BEARS_CACHE"] = f"{scratch}/cache"
        right, place = Path(scratch) / "right", Path(scratch) / "place"
        right.mkdir()
        os.chdir(right)
        made(right)
        files = chosen(right)
        cases = [(file, damage) for file in files for damage in DAMAGES]
        random.Random(1).shuffle(cases)
        cases = cases[:most_of_all]
        for file, damage in tqdm(cases, desc="damages", disable=False, mininterval=5):
            shutil.copytree(right, place, symlinks=True)
            os.chdir(place)
            DAMAGES[damage](Path(file))
            for command in COMMANDS:
                code, said = bears(*command)
                name = " ".join(command[:2])
                codes.setdefault(name, Counter())[code] += 1
                if what := wrong(said, code):
                    last = said.strip().split("\n")[-1][:200]
                    bad.append(f"{file} {damage}: {name}: {code} {what}: {last}")
                if command == AGAIN:
                    whole += code == 0
                    errors = [line for line in said.split("\n") if line.startswith("bears: ")]
                    ended += [f"{file} {damage}: {errors[-1] if errors else ''}"] if code else []
            os.chdir(right)
            shutil.rmtree(place)
        os.chdir("/")
    for line in bad[:60]:
        print(f"    {line}", file=sys.stderr)
    rows = [
        [name, ", ".join(f"{code}: {n}" for code, n in sorted(many.items()))]
        for name, many in codes.items()
    ]
    promises = [most("S1", f"of {len(cases)} damages a traceback or no sentence", len(bad), 0)]
    notes = [
        f"{len(files)} files, {len(cases)} damages; {whole} are whole again after `run --retry`,"
        f" the other {len(ended)} end with a sentence that names the file"
    ]
    facts: dict[str, Any] = {"bad": bad[:50], "ended": ended}
    return Told(["command", "exit codes"], rows, as_goals(promises), notes, facts)


def main() -> int:
    words = options(__doc__ or "")
    words.add_argument("--most", metavar="N", type=int, default=10_000, help="damages")
    asked = words.parse_args()
    if asked.json:
        asked.json = asked.json.resolve()  # the folder is changed meanwhile
    n = 20 if asked.quick else asked.most
    return measured(asked, "damaged_data", __doc__ or "", lambda: told(n))


if __name__ == "__main__":
    sys.exit(main())
