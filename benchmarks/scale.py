"""What grows with the number of photos, and how: every stage up to cleaning, the page, the export.

Rows of a catalog with made-up hashes (one photo in ten has a near-copy) and made-up features stand
for photos, as the stages would find them; the pass of the network, which is as many times one
photo, is left out. 20,000 of the photos are drawn files of their own, under their real hashes, with
a licence that the export keeps; the files of the others are hard links to these. Each stage of each
size is a process of its own, of which memory and bytes written are told, too. Seconds are those of
the processor, so that other work on the machine counts less. The exponent is log(seconds / seconds
before) / log(photos / photos before); n log n is allowed, and 30 % for noise; from 100,000 on 1.15.

After every stage what was measured of a size is written beside the file of --json. In a folder of
--work the datasets stay, and a run that was cut off goes on after its last whole stage.

    .venv/bin/python benchmarks/scale.py [--sizes 1000 10000 100000 1000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from growth import allowed, exponent, judged
from scale_stages import LEARNING, STAGES, Costs, Stage
from versus import Told, alternated, apart, at_most, measured, options

_WIDE = 512  # features, beside which names are short
_FIRST = 200  # photos of a first pass that is not told
__all__ = ["allowed", "exponent", "judged"]


def costs(n: int, words: argparse.Namespace) -> Costs:
    """Seconds of each piece of work with n photos; of each stage "memory: ..." and "written: ...",
    bytes; "memory": the most. Of a stage that was measured before in the folder of the work its
    figures are taken."""
    with contextlib.ExitStack() as stack:
        scratch = words.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = scratch / str(n)
        folder.mkdir(parents=True, exist_ok=True)
        found: Costs = {}
        for act in STAGES:
            if act in LEARNING and n > words.learning:
                continue
            note = folder / f"{act.__name__}.json"
            if not note.exists():
                new = apart(staged, act, folder / "small", folder / "large", n, words.features)
                note.write_text(json.dumps(new), encoding="utf-8")
            found |= json.loads(note.read_text(encoding="utf-8"))
            if words.json:
                words.json.parent.mkdir(parents=True, exist_ok=True)
                so_far = words.json.with_name(f"{words.json.stem}-{n}{words.json.suffix}")
                so_far.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found | {"memory": max(v for k, v in found.items() if k.startswith("memory"))}


def staged(act: Stage, small: Path, root: Path, n: int, width: int) -> Costs:
    """A stage, its memory at most, and what it wrote. small: a dataset on which it is done first,
    with whatever is imported or set up once."""
    act(small, min(n, _FIRST), width)
    before = written()
    found = act(root, n, width)
    scale = 1 if sys.platform == "darwin" else 1024
    peak = float(scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    name = act.__name__.replace("_", " ")
    return found | {f"memory: {name}": peak, f"written: {name}": written() - before}


def written() -> float:
    """Bytes that this process wrote so far, 0 where Linux does not say."""
    counts = Path("/proc/self/io")
    return float(counts.read_text("ascii").split()[3]) if counts.exists() else 0.0


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument(
        "--sizes", metavar="N", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000]
    )
    made.add_argument("--features", metavar="N", type=int, default=512, help="of each photo")
    made.add_argument("--work", metavar="FOLDER", type=Path, help="to keep the datasets in")
    made.add_argument("--rounds", metavar="N", type=int, default=1)
    made.add_argument("--learning", metavar="N", type=int, default=100_000, help="photos at most"
                      " of which models are made")  # fmt: skip
    words = made.parse_args()
    if words.quick:
        words.sizes, words.features = [300, 1500], 64

    def work() -> Told:
        sizes = sorted(words.sizes)
        steps = [f"exponent to {n:,}" for n in sizes[1:]]
        told = Told(["processor seconds", *(f"{n:,} photos" for n in sizes), *steps])
        sides = {f"{n:,}": partial(costs, n, words) for n in sizes}
        rounds = alternated(sides, words.rounds, "sizes")
        found = {
            n: {k: statistics.median(r[k] for r in rounds[f"{n:,}"]) for k in rounds[f"{n:,}"][0]}
            for n in sizes
        }
        judged(sizes, found, told)
        told.notes.append(f"{words.features} features of each photo; without decoding and network")
        if max(sizes) > words.learning:
            told.notes.append(f"first model and cleaning up to {words.learning:,} photos")
        for n in sizes if words.features >= _WIDE else ():
            share = found[n]["written: features stored"] / (4 * words.features * n)
            told.goals.append(at_most(f"written for features of {n:,} photos", share, 1.1, "sizes"))
        told.facts = {str(n): rounds[f"{n:,}"] for n in sizes}
        return told

    return measured(words, "scale", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())
