"""Run the programs of speed and attack in turn and write docs/BENCHMARKS.md from what they found.

Each is a process and leaves one JSON in a folder (build/bench). The page is written from the files
in there after every program, so that one that fails, or is left out, takes nothing from the others;
with --only a section is made anew, and sections of which there is no JSON, as in a fresh clone,
stay as they are. What needs photos or weights that are not there is left out.

    make bench
    .venv/bin/python benchmarks/all.py [--only NAME ...] [--quick] [--photos FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from versus import PHOTOS, ROOT, WEIGHTS, Goal, table

PROGRAMS = (
    *("first_model", "train", "input_pipeline", "one_photo", "folder", "serving_speed", "scale"),
    "engine",
    *("fuzz_routes", "hostile_models", "damaged_data"),
)
_MACHINE = re.compile(r", \d+ processors.*; Python \d")
NEEDS = {
    "first_model": ("photos", "weights"),
    "train": ("photos", "weights"),
    "input_pipeline": ("photos",),
    "engine": ("photos", "weights"),
}
HEAD = """# Benchmarks

Both sides of every comparison ran in one run, in turns; a figure is the median of the rounds, with
the least and the most of them. A ratio is taken round by round. The calibration is a loop of fixed
work, before and after: where the two differ, something else was running. `make bench` repeats it.

What measures speed alone (`one_photo`, `folder`, `serving_speed`) has networks with random weights,
published in 8-bit integers and with scaled decoding without asking the guards, which refuse
integers for random weights; the first two have the shipped model, too. Photos are drawn, of 0.26
bytes a pixel (real ones of bears: 0.15 to 0.22).

What attacks instead (`fuzz_routes`, `hostile_models`, `damaged_data`) has no other side: its goals
are promises (SECURITY.md).
"""
Found = Mapping[str, Mapping[str, Any]]


def page(found: Found, failed: Mapping[str, str], before: str = "") -> str:
    """Markdown. found: what programs wrote, by name; failed: sentences on those that did not;
    before: the page as it was."""
    latest = max(found.values(), key=lambda one: one["date"], default=None)
    machine = described(latest["machine"]) if latest else ""
    there, kept = sections(before)
    parts = []
    for name in PROGRAMS:
        if name in found:
            other = found[name]["machine"] != latest["machine"] if latest else False
            parts += [f"## {name}\n", *section(found[name], other)]
        elif name in kept:
            parts += [
                f"## {name}\n",
                of_before(kept[name], there if machine and there != machine else ""),
            ]
        elif name in failed:
            parts.append(f"## {name}\n")
        if name in failed:
            parts.append(f"{failed[name]}\n")
    met, missed = (
        sum(line.rstrip(" |").endswith(f"| {word}") for part in parts for line in part.split("\n"))
        for word in ("met", "**MISSED**")
    )
    goals = [f"{met} of {met + missed} goals are met.\n"] if latest or kept else []
    return "\n".join([HEAD, *([machine or there] if machine or there else []), *goals, *parts])


def sections(text: str) -> tuple[str, dict[str, str]]:
    """Of a page: the line on its machine, and its sections by name."""
    head, *rest = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)
    machine = next((line for line in head.split("\n") if _MACHINE.search(line)), "")
    return machine and f"{machine}\n", dict(zip(rest[::2], rest[1::2], strict=True))


def of_before(text: str, machine: str) -> str:
    """A section as it was, with the machine that it was measured on, where that was another one
    and does not stand there. Sentences on runs that failed go."""
    paragraphs = [
        part
        for part in text.strip("\n").split("\n\n")
        if not part.startswith(("Its last", "Not run"))
    ]
    if machine and not any(map(_MACHINE.search, paragraphs[:2])):
        paragraphs.insert(1, machine.strip())
    return "\n\n".join(paragraphs) + "\n"


def described(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    return (
        f"{machine['processor']}, {machine['processors']} processors{gpu}; "
        f"Python {machine['python']}, {versions}.\n"
    )


def section(one: Mapping[str, Any], other: bool) -> list[str]:
    """other: it was measured on another machine, or with other libraries, than the latest."""
    spent, (before, after) = one["seconds"], one["calibration"]
    small = " Small sizes (`--quick`), to see that it works." if one["quick"] else ""
    goals = [Goal(**goal) for goal in one["goals"]]
    rows = [
        [goal.about, goal.limit, goal.found, f"**{goal.word}**" if goal.met is False else goal.word]
        for goal in goals
    ]
    return [
        f"{one['about']}\n",
        *([described(one["machine"])] if other else []),
        *table(one["head"], one["rows"]),
        "",
        *(f"* {note}" for note in one["notes"]),
        f"* {one['date']}, {spent:.0f} s; calibration {before:.2f} and {after:.2f} ms.{small}",
        "",
        *(table(["goal", "limit", "found", ""], rows) if rows else []),
        "",
    ]


def read(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What was found and what failed, by name."""
    found, failed = {}, {}
    for name in PROGRAMS:
        if (file := folder / f"{name}.json").is_file():
            found[name] = json.loads(file.read_text(encoding="utf-8"))
        if (file := folder / f"{name}.failed").is_file():
            failed[name] = file.read_text(encoding="utf-8")
    return found, failed


def run(name: str, folder: Path, words: list[str], lacking: str = "") -> bool:
    """Leaves NAME.json, or NAME.failed with a sentence beside the last NAME.json.

    lacking: what it needs and is not there. Returns whether it ran."""
    new, last, sentence = (folder / f"{name}{end}" for end in (".new", ".json", ".failed"))
    if not lacking:
        new.unlink(missing_ok=True)
        program = Path(__file__).with_name(f"{name}.py")
        code = subprocess.run([sys.executable, program, "--json", new, *words], check=False)
        if new.is_file():
            new.replace(last)
            sentence.unlink(missing_ok=True)
            return True
        lacking = f"Its last run ended with code {code.returncode} and found nothing."
    sentence.write_text(lacking, encoding="utf-8")
    print(f"{name}: {lacking}", file=sys.stderr)
    return False


def main() -> int:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--only", metavar="NAME", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    made.add_argument("--photos", metavar="FOLDER", type=Path,
                      default=Path(os.environ.get("PHOTOS") or PHOTOS))  # fmt: skip
    made.add_argument("--weights", metavar="FILE", type=Path,
                      default=Path(os.environ.get("WEIGHTS") or WEIGHTS))  # fmt: skip
    made.add_argument("--quick", action="store_true", help="small: only to see that all works")
    made.add_argument("--out", metavar="FOLDER", type=Path, default=ROOT / "build" / "bench")
    made.add_argument("--page", metavar="FILE", type=Path, default=ROOT / "docs" / "BENCHMARKS.md")
    words = made.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    fine = True
    for name in PROGRAMS:
        if name not in words.only:
            continue
        own, lacking = ["--quick"] * words.quick, ""
        if needed := NEEDS.get(name):
            for key in needed:
                own += [f"--{key}", str(getattr(words, key))]
            missing = [key for key in needed if not getattr(words, key).exists()]
            lacking = f"Not run: the {' and '.join(missing)} are not there." if missing else ""
        print(f"\n{name}", flush=True)
        ran = run(name, words.out, own, lacking)
        fine = fine and (ran or bool(lacking))
        before = words.page.read_text(encoding="utf-8") if words.page.is_file() else ""
        words.page.write_text(page(*read(words.out), before), encoding="utf-8")
    print(f"\nwrote {words.page.name}")
    return 0 if fine else 2


if __name__ == "__main__":
    sys.exit(main())
