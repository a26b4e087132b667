"""Batches of training photos: how fast they are loaded, and whether a fast device has to wait.

Photos per second of the loader alone, without a network: one thread, a thread for each processor,
the same with photos that stay decoded, and fastai's own loader as `fine_tune` of the lesson has it
(RandomResizedCrop of 224, batches of 64), without and with its worker processes. Then with a device
that takes a fixed time a photo, in which the processor is free, as beside a GPU: an epoch should
take as long as the slower of the two alone. Warps and colours, which a GPU computes, are left out.

    .venv/bin/python benchmarks/input_pipeline.py [--photos FOLDER] [--device-ms 1] [--json FILE]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from versus import (
    PHOTOS,
    Goal,
    Ratio,
    Told,
    alternated,
    at_least,
    at_most,
    measured,
    options,
    ratio,
    require,
    spread,
)

BATCH, SIZE, MIN_SCALE = 64, 224, 0.5
FASTER, LONGER = 1.8, 1.15  # of two processors; of the slower of loader and device


class Loaders:
    """Loaders of the same photos, in this process. device_ms: of a photo, of the device."""

    def __init__(self, files: list[Path], device_ms: float) -> None:
        import torch

        from bear_classifier.config.project_file import build
        from bear_classifier.learn import data
        from bear_classifier.learn.kept_photos import KeptPhotos

        labels = sorted({file.parent.name for file in files})
        classes = {label: [label] for label in labels}
        train = {"batch_size": BATCH, "crop": MIN_SCALE}
        self.config = build({"classes": classes, "train": train}, where="benchmark")
        self.pairs = [(file, file.parent.name) for file in files]
        self.device_ms, self.n = device_ms, len(files) // BATCH * BATCH
        self.kept = KeptPhotos(1 << 40)
        self._made = partial(data.dataloaders, config=self.config, device=torch.device("cpu"))

    def loader(self, threads: int, ahead: int, kept: bool = False) -> Any:
        from bear_classifier.learn.devices import LoadingWorkers

        memory = self.kept if kept else None
        dls = self._made(
            self.pairs, self.pairs[:BATCH], kept=memory, workers=LoadingWorkers(threads, ahead)
        )
        dls.train.after_batch.fs.clear()
        return dls.train

    def fastai(self, processes: int) -> Any:
        from fastai.data.block import CategoryBlock, DataBlock
        from fastai.data.transforms import parent_label
        from fastai.vision.augment import RandomResizedCrop
        from fastai.vision.data import ImageBlock

        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock),
            get_y=parent_label,
            splitter=lambda items: (list(range(len(items))), list(range(BATCH))),
            item_tfms=RandomResizedCrop(SIZE, min_scale=MIN_SCALE),
        )
        files = [file for file, _ in self.pairs]
        dls = block.dataloaders(files, bs=BATCH, num_workers=processes, device="cpu")
        dls.train.after_batch.fs.clear()
        return dls.train

    def epoch(self, loader: Any, device: bool = False) -> float:
        """Seconds. device: each batch is computed with before the next is asked for."""
        from bear_classifier.runtime.malloc import pages_kept

        with pages_kept():
            began, seen = time.perf_counter(), 0
            for _, y in loader:
                seen += len(y)
                if device:
                    time.sleep(len(y) * self.device_ms / 1000)
            seconds = time.perf_counter() - began
        if seen != self.n:
            raise RuntimeError(f"{seen} photos came instead of {self.n}")
        return seconds


def compare(files: list[Path], device_ms: float, rounds: int) -> Told:
    import torch

    from bear_classifier.runtime.processors import processors

    torch.set_num_threads(1)  # or "one thread" turns bytes to floats with as many as there are
    every = Loaders(files, device_ms)
    cores = processors()
    alone: dict[str, Any] = {
        "one thread": every.loader(1, 0),
        f"{cores} threads, a batch at a time": every.loader(cores, 0),
        f"{cores} threads, ahead": every.loader(cores, 3),
        "one thread, photos kept": every.loader(1, 0, kept=True),
        f"{cores} threads, ahead, photos kept": every.loader(cores, 3, kept=True),
        "fastai, no worker processes": every.fastai(0),
        f"fastai, {cores} worker processes": every.fastai(cores),
    }
    one, _, many, kept_one, kept, stock, stock_many = alone
    every.epoch(alone[kept])  # decodes what is kept
    turns: dict[str, Callable[[], float]] = {
        name: partial(every.epoch, loader) for name, loader in alone.items()
    }
    for name in (one, many, kept, stock_many):
        turns[f"{name}; device"] = partial(every.epoch, alone[name], device=True)
    found = alternated(turns, rounds, "loaders")
    told = Told(["side", "photos/s", "seconds"])
    for name, seconds in found.items():
        told.rows.append([name, spread([every.n / s for s in seconds]), spread(seconds)])
    device = every.n * device_ms / 1000

    def longer(name: str) -> Ratio:
        slower = [max(seconds, device) for seconds in found[name]]
        return ratio(found[f"{name}; device"], slower)

    told.goals = [
        at_least(f"{cores} threads / one", ratio(found[one], found[many]), FASTER),
        at_most("an epoch / the slower of loader and device", longer(many), LONGER),
        at_most("the same with photos kept", longer(kept), LONGER),
        Goal(f"{cores} threads / one, photos kept", "no goal was set",
             str(ratio(found[kept_one], found[kept])), None),
        Goal("photos kept / decoded anew", "no goal was set",
             str(ratio(found[many], found[kept])), None),
        Goal("ours / fastai's loader with as many processes", "no goal was set",
             str(ratio(found[stock_many], found[many])), None),
        Goal("ours / fastai's loader without", "no goal was set",
             str(ratio(found[stock], found[one])), None),
    ]  # fmt: skip
    if cores == 1:
        told.goals[0] = Goal("several threads / one", "no goal on one processor", "-", None)
    told.notes = [
        f"{every.n} photos an epoch; the device takes {device_ms:g} ms a photo, {device:.2f} s",
        f"{len(every.kept)} photos stay decoded",
    ]
    told.facts = {"seconds": found, "device_ms": device_ms, "photos": every.n, "threads": cores}
    return told


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--photos", metavar="FOLDER", type=Path, default=PHOTOS)
    made.add_argument("--many", metavar="N", type=int, default=640, help="photos of an epoch")
    made.add_argument("--device-ms", metavar="MS", type=float, default=1.0, help="for a photo")
    words = made.parse_args()
    require(words.photos)
    files = sorted(words.photos.rglob("*.jpg"))
    many, rounds = (BATCH * 2, 1) if words.quick else (words.many, 7)
    step = max(1, len(files) // many)
    some = files[::step][:many]
    if len(some) < BATCH:
        sys.exit(f"{words.photos} holds {len(files)} .jpg files; at least {BATCH} are needed")
    work = partial(compare, some, words.device_ms, rounds)
    return measured(words, "input_pipeline", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())
