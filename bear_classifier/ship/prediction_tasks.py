"""Predictions for many photos as tasks of an engine: workers read the bundle and the photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine.choice import each
from bear_classifier.errors import ModelError, PhotoError
from bear_classifier.ship.bundle import Bundle, load
from bear_classifier.ship.predict import Prediction, answers, answers_ahead

_PHOTOS = 256  # of a task: some seconds of a processor
AnswerStream = Iterator[tuple[Path, Prediction | PhotoError]]


@dataclass(frozen=True)
class PredictionTask:
    """number: of the task, from 0; model: folder of the bundle; checksum: of the bundle that was
    verified and tested; photos: as they were named."""

    number: int
    model: Path
    checksum: str
    photos: tuple[Path, ...]


def answer_photos(task: PredictionTask) -> list[Prediction | PhotoError]:
    """The answer to each photo. Raises ModelError as `load`, and MODEL_CHANGED."""
    bundle = _loaded(task.model, task.checksum)
    return [answer for _, answer in answers_ahead(bundle, task.photos)]


@lru_cache(maxsize=1)
def _loaded(model: Path, checksum: str) -> Bundle:
    bundle = load(model)
    if bundle.about["checksum"] != checksum:
        raise ModelError(
            "MODEL_CHANGED",
            f"{model} is not the bundle that this command began with; it was published anew, or"
            " other files lie there on another machine; run the same command again",
        )
    return bundle


def answers_on_engine(bundle: Bundle, files: Iterable[Path], engine: EngineConfig) -> AnswerStream:
    """As `predict.answers`, in the order of the files, by workers. Raises as `answer_photos` and
    `each`."""
    files = iter(files)
    first = list(islice(files, 2))
    if len(first) < 2:
        yield from answers(bundle, first)
        return
    waiting: dict[int, AnswerStream] = {}
    due = 0
    tasks = _tasks(bundle, chain(first, files))
    for task, found in each(answer_photos, tasks, engine):
        waiting[task.number] = zip(task.photos, found, strict=True)
        while due in waiting:
            yield from waiting.pop(due)
            due += 1


def _tasks(bundle: Bundle, files: Iterator[Path]) -> Iterator[PredictionTask]:
    model, checksum, number = bundle.path.absolute(), str(bundle.about["checksum"]), 0
    while photos := tuple(islice(files, _PHOTOS)):
        yield PredictionTask(number, model, checksum, photos)
        number += 1
