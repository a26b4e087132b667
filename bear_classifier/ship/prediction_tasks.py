"""Predictions for many photos as tasks of an engine: workers read the bundle and the photos, and
leave their answers in files where they are kept."""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine.choice import in_order
from bear_classifier.engine.storage import Storage
from bear_classifier.errors import ModelError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.ship.bundle import Bundle, load
from bear_classifier.ship.predict import Prediction, answers, answers_ahead

_PHOTOS = 256  # of a task: some seconds of a processor
PhotoAnswers = list[Prediction | PhotoError]
AnswerStream = Iterator[tuple[Path, Prediction | PhotoError]]


@dataclass(frozen=True)
class Kept:
    """Where answers are kept until a table holds all of them: name, a folder below an address."""

    address: str
    name: str

    def storage(self) -> Storage:
        return Storage(self.address, f"the place of the table, {self.address!r},")


@dataclass(frozen=True)
class PredictionTask:
    """number: of the task, from 0; model: folder of the bundle; checksum: of the bundle that was
    verified and tested; photos: as they were named; kept: where the answers are; storage: address
    through which bundle and photos come, or "": they lie here, too."""

    number: int
    model: Path
    checksum: str
    photos: tuple[Path, ...]
    kept: Kept | None = None
    storage: str = ""

    @property
    def digest(self) -> str:
        """Of bundle and photos."""
        names = "\n".join([self.checksum, *map(str, self.photos)])
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:32]

    @property
    def file(self) -> str:
        """Of the answers."""
        return f"{self.kept.name if self.kept else ''}/{self.digest}.json"


Results = Iterator[tuple[PredictionTask, PhotoAnswers]]


@dataclass(frozen=True)
class StoredPhotos:
    """A task for a worker that does not see the photos. folder: of the storage, with a file for
    each of them, called by its number; unread: number -> code and sentence, of those that cannot be
    read."""

    task: PredictionTask
    folder: str
    unread: tuple[tuple[int, str, str], ...] = ()


def answer_photos(task: PredictionTask) -> PhotoAnswers:
    """The answer to each photo; those that are kept already are not made again. Raises ModelError
    as `load`, and MODEL_CHANGED."""
    return _kept(task, lambda: _answered(_loaded(task.model, task.checksum), task.photos))


def answer_stored_photos(stored: StoredPhotos) -> PhotoAnswers:
    """As `answer_photos`; bundle and photos are fetched."""
    task, storage = stored.task, Storage(stored.task.storage)

    def make() -> PhotoAnswers:
        found: dict[int, Prediction | PhotoError] = {
            number: PhotoError(code, sentence) for number, code, sentence in stored.unread
        }
        there = [number for number in range(len(task.photos)) if number not in found]
        bundle = _loaded(_fetched(task.storage, task.model), task.checksum)
        with TemporaryDirectory() as folder:
            names = [f"{stored.folder}/{number}" for number in there]
            storage.fetch(Path(folder), names)
            photos = [Path(folder) / name for name in names]
            found |= zip(there, _answered(bundle, photos), strict=True)
        return [found[number] for number in range(len(task.photos))]

    return _kept(task, make)


def _answered(bundle: Bundle, photos: Iterable[Path]) -> PhotoAnswers:
    return [answer for _, answer in answers_ahead(bundle, photos)]


def _kept(task: PredictionTask, make: Callable[[], PhotoAnswers]) -> PhotoAnswers:
    """The answers that are kept, or that are made and kept now."""
    if task.kept is None:
        return make()
    storage = task.kept.storage()
    if storage.has(task.file):
        return [_answer(row) for row in json.loads(storage.read(task.file))]
    found = make()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "answers"
        file.write_bytes(json.dumps([_row(answer) for answer in found]).encode())
        storage.publish(file, task.file)
    return found


def _row(answer: Prediction | PhotoError) -> object:
    if isinstance(answer, PhotoError):
        return [answer.code, answer.sentence]
    return dataclasses.asdict(answer)


def _answer(row: object) -> Prediction | PhotoError:
    return Prediction(**row) if isinstance(row, dict) else PhotoError(*row)  # type: ignore[misc]


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


@lru_cache(maxsize=1)
def _fetched(storage: str, model: Path) -> Path:
    """A folder with the bundle, for as long as this process lives."""
    place, there = TemporaryDirectory(), Storage(storage)
    atexit.register(place.cleanup)
    there.fetch(Path(place.name), there.names(str(model)))
    return Path(place.name) / model


def answers_on_engine(
    bundle: Bundle,
    files: Iterable[Path],
    engine: EngineConfig,
    wanted: Callable[[Path], bool] = lambda path: True,
    kept: Kept | None = None,
) -> AnswerStream:
    """As `predict.answers` for the wanted files, in their order, by workers. kept: where they leave
    answers, so that a command that is repeated with the same files has them again; they stay until
    `forget`. Raises as `answer_photos` and `each`."""
    files = iter(files)
    first = list(islice(files, 2))
    if len(first) < 2:
        yield from answers(bundle, filter(wanted, first))
        return
    every = _tasks(bundle, chain(first, files), engine.storage, kept)
    tasks = (task for task in every if any(map(wanted, task.photos)))
    results = _by_storage if engine.storage else _by_paths
    for task, found in results(bundle, tasks, engine):
        pairs = zip(task.photos, found, strict=True)
        yield from ((path, answer) for path, answer in pairs if wanted(path))


def forget(kept: Kept) -> None:
    """Remove what workers left."""
    kept.storage().remove(kept.name)


def _tasks(
    bundle: Bundle, files: Iterator[Path], storage: str, kept: Kept | None
) -> Iterator[PredictionTask]:
    model, checksum, number = bundle.path.absolute(), str(bundle.about["checksum"]), 0
    if storage:
        model = Path(f"bundle-{checksum[:32]}")
    while photos := tuple(islice(files, _PHOTOS)):
        yield PredictionTask(number, model, checksum, photos, kept, storage)
        number += 1


def _by_paths(bundle: Bundle, tasks: Iterable[PredictionTask], engine: EngineConfig) -> Results:
    return in_order(answer_photos, tasks, engine)


def _by_storage(bundle: Bundle, tasks: Iterable[PredictionTask], engine: EngineConfig) -> Results:
    """The photos of a task are in the storage from when it begins until it ends."""
    storage = Storage(engine.storage)

    def sent() -> Iterator[StoredPhotos]:
        for number, task in enumerate(tasks):
            if not number:
                storage.send_as(_files_of(bundle, task.model))
            yield _sent(storage, task)

    for stored, found in in_order(answer_stored_photos, sent(), engine):
        storage.remove(stored.folder)
        yield stored.task, found


def _files_of(bundle: Bundle, folder: Path) -> dict[str, Path]:
    """Name below a folder -> file."""
    files = [path for path in bundle.path.rglob("*") if path.is_file()]
    return {(folder / path.relative_to(bundle.path)).as_posix(): path for path in files}


def _sent(storage: Storage, task: PredictionTask) -> StoredPhotos:
    folder = f"photos-of-{task.digest}"
    if task.kept and task.kept.storage().has(task.file):
        return StoredPhotos(task, folder)
    files, unread = {}, []
    for number, path in enumerate(task.photos):
        try:
            decoder.read_file(path)
        except PhotoError as exc:
            unread.append((number, exc.code, exc.sentence))
        else:
            files[f"{folder}/{number}"] = path
    storage.send_as(files)
    return StoredPhotos(task, folder, tuple(unread))
