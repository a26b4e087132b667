"""Batches made by threads: fastai's DataLoader, with its items made by several threads, ahead of
their use where the network runs elsewhere, and moved to a GPU while it computes.

Which items, in which order, with which random crops depends on the random state alone and never on
the number of threads, nor on fastai's own worker processes if somebody asks for those."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch
from fastai.callback.data import WeightedDL
from fastai.data.core import TfmdDL
from fastai.data.load import SkipItemException
from torch import Tensor

from bear_classifier.errors import TrainError
from bear_classifier.learn.devices import LoadingWorkers
from bear_classifier.learn.random_crops import random_state_of

_ALONE = LoadingWorkers(1, 0)
_Job = TypeVar("_Job")
_Item = TypeVar("_Item")
Batch = TypeVar("Batch")


class PhotoLoader(TfmdDL):  # type: ignore[misc]
    """fastai's DataLoader with threads. workers: see `loading_workers`."""

    def __init__(
        self, dataset: Any, bs: int = 64, workers: LoadingWorkers = _ALONE, **options: Any
    ):
        self.workers, self.key = workers, 0
        self.share = (0, 1)
        self.direct: Callable[[Any], Any] | None = None  # item and label of one of the dataset's
        super().__init__(dataset, bs=bs, **{"num_workers": 0, **options})

    def new(self, dataset: Any = None, cls: type | None = None, **options: Any) -> Any:
        ours = issubclass(cls or type(self), PhotoLoader)
        return super().new(dataset, cls, **({"workers": self.workers} if ours else {}) | options)

    def divide(self, rank: int, world: int) -> None:
        """From now on make only what the process `rank` of `world` learns from, in the batches of
        all of them: an equal part of each. Without shuffling, which is of validation, the same part
        of all items, so that together they are in order.

        Raises ValueError unless a shuffled batch can be divided."""
        self.share = (rank, world)
        if self.shuffle:
            if self.bs % world:
                raise ValueError(f"a batch of {self.bs} photos is no multiple of {world}")
            self.bs //= world

    def get_idxs(self) -> list[Any]:
        numbers: list[Any] = super().get_idxs()
        return [numbers[i] for i in own_places(len(numbers), self.bs, self.shuffle, *self.share)]

    def __len__(self) -> int:
        if self.share == (0, 1):
            return int(super().__len__())
        if self.shuffle:
            return int(self.n // (self.bs * self.share[1]))
        return int(-(-len(own_places(self.n, self.bs, False, *self.share)) // self.bs))

    def randomize(self) -> None:
        """fastai calls this before each pass; its random state is kept in checkpoints."""
        super().randomize()
        self.key = self.rng.getrandbits(64)

    def create_batches(self, samps: Iterable[Any]) -> Iterator[Any]:
        """samps: the numbers of the items, of this process."""
        if self.prebatched:
            yield from super().create_batches(samps)
            return
        jobs = ((self._number(place), sample) for place, sample in enumerate(samps))
        stream = _stream(self.device) if self._moves_ahead else None
        made = partial(self._batch, stream)
        for batch in batches_ahead(self.chunkify(jobs), self._item, made, self.workers):
            yield batch if stream is None else _received(batch)

    @property
    def _moves_ahead(self) -> bool:
        return bool(self.workers.ahead and self.device and self.device.type == "cuda")

    def _number(self, place: int) -> int:
        """Of an item in the whole pass, by its place in this process: worker processes of fastai's
        take the batches in turn, and other processes of a training have other parts of them."""
        (batch, rest), (rank, world) = divmod(place, self.bs), self.share
        batch = batch * self.num_workers + self.offs
        return int((batch * world + rank) * self.bs + rest)

    def _item(self, job: tuple[int, Any]) -> Any:
        number, sample = job
        with random_state_of(self.key, number):
            if self.direct is None:
                return self.do_item(sample)
            try:
                return self.direct(self.dataset.items[sample])
            except SkipItemException:
                return None

    def _batch(self, stream: torch.cuda.Stream | None, items: Sequence[Any]) -> Any:
        """None where no item could be read."""
        there = [item for item in items if item is not None]
        if self.share[1] > 1 and self.shuffle and len(there) < self.bs:
            raise TrainError(
                "NO_BATCH",
                "all photos of a class cannot be read any more, and processes that train together"
                " need full batches; put the files back, or train in one process",
            )
        batch = self.do_batch(there) if there else None
        return batch if batch is None or stream is None else _sent(batch, self.device, stream)


def own_places(n: int, own: int, divided: bool, rank: int, world: int) -> Sequence[int]:
    """Places of n items that a process makes. divided: `own` photos of each batch, which has that
    many of each process, and only whole batches; else a part of all items in a row."""
    if world == 1:
        return range(n)
    if not divided:
        return range(n * rank // world, n * (rank + 1) // world)
    whole = own * world
    starts = range(rank * own, n - n % whole, whole)
    return [place for start in starts for place in range(start, start + own)]


class WeightedPhotoLoader(PhotoLoader, WeightedDL):  # type: ignore[misc]
    """The same for fastai's WeightedDL, which draws photos with replacement."""


def batches_ahead(
    groups: Iterable[Sequence[_Job]],
    make_item: Callable[[_Job], _Item],
    make_batch: Callable[[Sequence[_Item]], Batch | None],
    workers: LoadingWorkers,
) -> Iterator[Batch]:
    """A batch of each group of jobs, in order, without those that are None.

    At most `workers.ahead` lie ready or are being made while one is used. An error is raised at
    the turn of its batch; what was begun is then ended and the rest forgotten."""
    if workers == _ALONE:
        for group in groups:
            batch = make_batch([make_item(job) for job in group])
            if batch is not None:
                yield batch
        return
    left, waiting = iter(groups), deque[Future[Batch | None]]()
    pool = ThreadPoolExecutor(workers.threads, "load")
    try:
        while True:
            while len(waiting) <= workers.ahead and (jobs := next(left, None)) is not None:
                items = [pool.submit(make_item, job) for job in jobs]
                # after its items in the pool's queue, so no thread waits for what none has begun
                waiting.append(pool.submit(_collected, make_batch, items))
            if not waiting:
                return
            batch = waiting.popleft().result()
            if batch is not None:
                yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _collected(
    make_batch: Callable[[Sequence[_Item]], Batch | None], items: Sequence[Future[_Item]]
) -> Batch | None:
    return make_batch([item.result() for item in items])


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _sent(batch: Any, device: torch.device, stream: torch.cuda.Stream) -> tuple[Any, ...]:
    """The batch on the GPU, copied from page-locked memory beside the computation. Waits for it."""
    with torch.cuda.stream(stream):
        moved = tuple(part.pin_memory().to(device, non_blocking=True) for part in batch)
    stream.synchronize()
    return moved


def _received(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same batch: its memory stays taken until what is computed with it now has ended."""
    for part in batch:
        part.record_stream(torch.cuda.current_stream(part.device))
    return batch
