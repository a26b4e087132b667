"""One photo, from the file to probabilities, and the cold start of the command.

`Model.predict` of a bundle is set against the bare forward pass of the same onnxruntime session on
an array that is ready, and against fastai's `learn.predict` of the same architecture; each in a
process of its own that waits for its turn. Then `bears predict PHOTO` as a whole process against a
script that loads the learner and predicts: seconds, and peak memory by wait4. Weights are random
and photos are noise: only the speed is asked for. The shipped model, which has a reference of many
photos, is set against itself with one thread of BLAS: libraries whose threads want the same
processors at once would show.

    .venv/bin/python benchmarks/one_photo.py [--arch resnet34] [--rounds 9] [--json FILE]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from drawn import models, photos
from versus import (
    ROOT,
    SHIPPED,
    Ratio,
    Side,
    Told,
    alternated,
    apart,
    at_least,
    at_most,
    measured,
    options,
    ratio,
    spread,
)

WIDTHS = {800: 1.25, 1600: 1.6}  # pixels: most that a photo may cost in bare forward passes
_DIFFERENT = 8  # photos
ALIKE = 1.1  # times that threads of BLAS may cost at most, with the shipped model
_KILOBYTE = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SCRIPT = """import sys
from fastai.vision.all import *
learn = load_learner(sys.argv[1])
print(learn.predict(sys.argv[2]))
"""


def median_of(act: Callable[[Any], Any]) -> Callable[..., float]:
    """A turn: (things) -> median seconds of `act` on each; the first once more, untimed, before."""

    def turn(things: list[Any]) -> float:
        act(things[0])
        took = []
        for thing in things:
            began = time.perf_counter()
            act(thing)
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    return turn


def ours(bundle: Path) -> Callable[..., float]:
    from bear_classifier.ship.bundle import load
    from bear_classifier.ship.predict import Model

    return median_of(Model(load(bundle)).predict)


def forward(bundle: Path) -> Callable[..., float]:
    """The same session, asked for what `Model` asks for; the photo is decoded before."""
    import numpy as np

    from bear_classifier.images import decoder
    from bear_classifier.ship.bundle import load
    from bear_classifier.ship.predict import OUTPUTS, Model

    model = Model(load(bundle))
    bare = median_of(lambda batch: model._session.run(OUTPUTS, {"image": batch}))

    def turn(files: list[Path]) -> float:
        shape = model.bundle.preprocessing
        images = [shape.square(decoder.decode(file)) for file in files]
        return bare([model.bundle.normalise(np.asarray(image))[None] for image in images])

    return turn


def fastai_s(learner: Path) -> Callable[..., float]:
    from fastai.learner import load_learner

    learn = load_learner(learner)

    def act(file: Path) -> Any:
        with learn.no_bar():
            return learn.predict(file)

    return median_of(act)


def limits_of_threads(added: Mapping[str, str]) -> dict[str, str]:
    """This environment with no other limits of the threads that libraries compute with."""
    return {name: value for name, value in os.environ.items() if name not in _THREADS} | dict(added)


@contextmanager
def under(environment: Mapping[str, str]) -> Iterator[None]:
    """Sides that are made inside have this environment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def started(*words: str | Path, **added: str) -> tuple[float, float]:
    """Seconds of a whole process, and the most bytes that it held. added: to its environment,
    instead of any limit of threads that this one has."""
    environment = limits_of_threads(added) | {"PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words[:3]} ended with {process.returncode}")
    return took, float(_KILOBYTE * used.ru_maxrss)


def warm(folder: Path, rounds: int, each: int, told: Told) -> None:
    with (
        Side(ours, folder / "bundle") as mine,
        Side(forward, folder / "bundle") as bare,
        Side(fastai_s, folder / "learner.pkl") as lesson,
    ):
        for width, limit in WIDTHS.items():
            files = photos(folder / str(width), width, _DIFFERENT)
            asked = [files[n % len(files)] for n in range(each)]
            sides = {
                name: partial(side.turn, asked)
                for name, side in {"ours": mine, "forward": bare, "fastai": lesson}.items()
            }
            found = alternated(sides, rounds, f"{width} pixels")
            size = f"{width}x{width * 3 // 4}"
            against_forward = ratio(found["ours"], found["forward"])
            against_fastai = ratio(found["fastai"], found["ours"])
            told.rows += [
                [f"{size} predict, ms", *(spread(found[k], 1e3) for k in ("ours", "fastai")),
                 str(against_fastai)],
                [f"{size} bare forward, ms", spread(found["forward"], 1e3), "", ""],
            ]  # fmt: skip
            told.goals.append(at_most(f"{size}, ours / bare forward", against_forward, limit))
            told.goals.append(at_least(f"{size}, learn.predict / ours", against_fastai, 4))
            told.facts[size] = found


def shipped(folder: Path, rounds: int, each: int, told: Told) -> None:
    files = photos(folder / "shipped", 800, _DIFFERENT)
    asked = [files[n % len(files)] for n in range(each)]
    with under(limits_of_threads({})):
        usual = Side(ours, SHIPPED)
    with under(limits_of_threads(ONE_THREAD)):
        alone = Side(ours, SHIPPED)
    with usual, alone:
        sides = {"default": partial(usual.turn, asked), "alone": partial(alone.turn, asked)}
        found = alternated(sides, rounds, "the shipped model")
    times = ratio(found["default"], found["alone"])
    for name, what in (("default", "shipped model"), ("alone", "same, one thread of BLAS")):
        told.rows.append([f"{what}, 800x600 predict, ms", spread(found[name], 1e3), "", ""])
    told.goals.append(at_most("shipped model, default / one thread of BLAS", times, ALIKE))
    told.facts["shipped"] = found


def cold(folder: Path, rounds: int, told: Told) -> None:
    photo = photos(folder / "one", 800, 1)[0]
    command = ("-m", "bear_classifier", "predict", "--model", folder / "bundle", photo)
    sides = {
        "ours": lambda: started(*command),
        "fastai": lambda: started("-c", SCRIPT, folder / "learner.pkl", photo),
    }
    for turn in sides.values():
        turn()  # from a warm disk cache
    found = alternated(sides, rounds, "cold start")
    seconds, held = ({k: [row[i] for row in v] for k, v in found.items()} for i in (0, 1))
    faster: Ratio = ratio(seconds["fastai"], seconds["ours"])
    smaller = ratio(held["fastai"], held["ours"])
    told.rows += [
        ["cold start, s", spread(seconds["ours"]), spread(seconds["fastai"]), str(faster)],
        ["peak memory, MB", spread(held["ours"], 1e-6), spread(held["fastai"], 1e-6), str(smaller)],
    ]
    most = {k: statistics.median(v["ours"]) for k, v in (("s", seconds), ("MB", held))}
    told.goals += [
        at_most("bears predict, whole process", most["s"], 0.4, "s"),
        at_most("bears predict, peak memory", most["MB"] / 1e6, 140, "MB"),
        at_least("whole process, fastai / ours", faster, 12),
        at_least("peak memory, fastai / ours", smaller, 6),
    ]
    told.facts["cold"] = {"seconds": seconds, "bytes": held}


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--arch", default="resnet34", help="of torchvision")
    made.add_argument("--rounds", metavar="N", type=int, default=9)
    made.add_argument("--each", metavar="N", type=int, default=20, help="photos a turn")
    words = made.parse_args()
    if words.quick:
        words.rounds, words.each = 2, 4

    def work() -> Told:
        told = Told(["", "ours", "fastai", "fastai / ours"])
        told.notes.append(f"{words.arch}, random weights, int8; {words.rounds} rounds")
        with tempfile.TemporaryDirectory() as scratch:
            apart(models, Path(scratch), words.arch)
            cold(Path(scratch), words.rounds, told)  # first: while this process is small
            warm(Path(scratch), words.rounds, words.each, told)
            shipped(Path(scratch), words.rounds, words.each, told)
        return told

    return measured(words, "one_photo", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())
