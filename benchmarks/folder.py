"""A folder of photos to a table: `bears predict --csv` against fastai's `get_preds`.

Both are whole processes that read the folder and write a CSV; the start of each is counted, and a
rate without it is told as well (the start is that of a folder of one photo). fastai's is a test_dl
of the exported learner with its batches of 32 and no worker processes. Beside them stands the limit
of one photo after the other: decoding alone, and the forward pass alone on arrays that are ready.
Weights are random; the shipped model, which has a reference of many photos, is set against itself
with one thread of BLAS.

    .venv/bin/python benchmarks/folder.py [--many 2000] [--photos FOLDER] [--json FILE]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drawn import models, photos, repeated
from one_photo import ALIKE, ONE_THREAD, forward, median_of, started
from versus import (
    SHIPPED,
    Goal,
    Ratio,
    Side,
    Told,
    alternated,
    apart,
    at_most,
    measured,
    options,
    ratio,
    require,
    spread,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SCRIPT = """import csv, sys
from fastai.vision.all import *
learn = load_learner(sys.argv[1])
files = get_image_files(sys.argv[2])
with learn.no_bar():
    found = learn.get_preds(dl=learn.dls.test_dl(files, bs=32, num_workers=0))[0]
with open(sys.argv[3], "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", *learn.dls.vocab])
    table.writerows([path, *row] for path, row in zip(files, found.tolist()))
"""


def decoding(size: int) -> Callable[..., float]:
    """A turn: (files) -> median seconds of decoding one."""
    from bear_classifier.images.decoder import decode, fit_square

    return median_of(lambda file: fit_square(decode(file), size))


def compare(folder: Path, many: int, rounds: int, told: Told) -> None:
    named, one = folder / "photos", folder / "one"
    repeated(sorted(named.iterdir())[:1], one, 1)
    bundle, learner, table = folder / "bundle", folder / "learner.pkl", folder / "table.csv"

    def bears(place: Path) -> float:
        words = ("predict", "--model", bundle, "--csv", table, place)
        return started("-m", "bear_classifier", *words)[0]

    def fastai(place: Path) -> float:
        return started("-c", SCRIPT, learner, place, table)[0]

    sample = sorted(named.iterdir())[: min(many, 64)]
    with Side(decoding, 224) as decode, Side(forward, bundle) as pass_:
        sides = {
            "ours": partial(bears, named),
            "ours, start": partial(bears, one),
            "fastai": partial(fastai, named),
            "fastai, start": partial(fastai, one),
            "decode": partial(decode.turn, sample),
            "forward": partial(pass_.turn, sample),
        }
        found = alternated(sides, rounds, f"{many} photos")
    rates = {name: [many / s for s in found[name]] for name in ("ours", "fastai")}
    for name in ("ours", "fastai"):
        pairs = zip(found[name], found[f"{name}, start"], strict=True)
        # a busy machine can make one photo take longer than many
        rates[f"{name}, without its start"] = [(many - 1) / max(s - t, 1e-3) for s, t in pairs]
    limit = [1 / (d + f) for d, f in zip(found["decode"], found["forward"], strict=True)]
    rates["decoding, then forward"] = limit
    rates["decoding alone"] = [1 / d for d in found["decode"]]
    rates["forward alone"] = [1 / f for f in found["forward"]]
    faster = ratio(found["fastai"], found["ours"])
    share: Ratio = ratio(rates["ours, without its start"], limit)
    for name, values in rates.items():
        over = statistics.median(values) / statistics.median(rates["fastai"])
        told.rows.append([name, spread(values), f"{over:.3g}"])
    told.goals += [
        Goal("get_preds / ours, seconds", "no goal was set", str(faster), None),
        Goal("ours / one photo after the other", "no goal was set", str(share), None),
    ]
    told.facts = {"photos": many, **found}


def shipped(folder: Path, many: int, rounds: int, told: Told) -> None:
    words = ("-m", "bear_classifier", "predict", "--json", "--model", SHIPPED, folder / "photos")
    sides = {
        "default": lambda: started(*words)[0],
        "alone": lambda: started(*words, **ONE_THREAD)[0],
    }
    found = alternated(sides, rounds, "the shipped model")
    for name, what in (("default", "shipped model"), ("alone", "same, one thread of BLAS")):
        told.rows.append([what, spread([many / s for s in found[name]]), ""])
    times = ratio(found["default"], found["alone"])
    told.goals.append(at_most("shipped model, default / one thread of BLAS", times, ALIKE))
    told.facts["shipped"] = found


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--arch", default="resnet34", help="of torchvision")
    made.add_argument("--photos", metavar="FOLDER", type=Path,
                      help="these, repeated (default: noise of 800x600 pixels)")  # fmt: skip
    made.add_argument("--many", metavar="N", type=int, default=2000)
    made.add_argument("--rounds", metavar="N", type=int, default=3)
    words = made.parse_args()
    if words.quick:
        words.many, words.rounds = 48, 1

    def work() -> Told:
        told = Told(["", "photos/s", "/ fastai"])
        what = "noise of 800x600 pixels"
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if words.photos:
                require(words.photos)
                files = sorted(p for p in words.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
                repeated(files, folder / "photos", words.many)
                what = "photos of a folder, repeated"
            else:
                photos(folder / "photos", 800, words.many)
            apart(models, folder, words.arch)
            compare(folder, words.many, words.rounds, told)
            shipped(folder, words.many, words.rounds, told)
        told.notes.append(f"{words.arch}, random weights; {words.many} files ({what})")
        return told

    return measured(words, "folder", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())
