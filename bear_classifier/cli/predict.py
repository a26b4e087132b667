"""`bears predict`: classify photos and folders of photos."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bear_classifier.cli.options import add_engine_option, add_path, add_shard
from bear_classifier.cli.output import print_json
from bear_classifier.errors import PhotoError
from bear_classifier.runtime.files import printable, writable
from bear_classifier.runtime.growing_table import GrowingTable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import complain, count, one_line, tell

if TYPE_CHECKING:
    from bear_classifier.engine.stored_table import StoredTable
    from bear_classifier.ship.bundle import Bundle
    from bear_classifier.ship.predict import Prediction

_COLUMNS = ["path", "label", "confidence", "accepted", "reason"]


def add_options(parser: argparse.ArgumentParser) -> None:
    about = "a photo, a folder, the address of a photo (https://...), or - for standard input"
    parser.add_argument("paths", metavar="PATH", type=_place, help=about, nargs="*")
    about = "a picture of camera N of this computer as well (default: 0, the first one)"
    parser.add_argument("--camera", metavar="N", type=int, nargs="?", const=0, help=about)
    add_path(parser, "--model", "DIR", "a bundle (default: the project's)")
    about = "write a table as well, also below an address of fsspec such as s3://bucket/folder;"
    about += " stopped, the same command goes on with it"
    parser.add_argument("--csv", metavar="FILE", type=_table_place, help=about)
    add_shard(parser, "only the photos of part K")
    add_engine_option(parser)


def run(options: argparse.Namespace) -> int:
    if not options.paths and options.camera is None:
        options.parser.error("name a photo, a folder or an address, or give --camera")
    with heartbeat("predict"):  # a large HEIC takes seconds; each line takes the clock's place
        return _predictions(options)


def _predictions(options: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from bear_classifier.ship.bundle import load

    if isinstance(options.csv, Path):
        writable(Path(table_path(options)))
    with ThreadPoolExecutor(1) as pool:  # files are verified while libraries are imported
        model = options.model
        if model is None:
            from bear_classifier.cli import project

            model = project.bundle_folder(options)
        loading = pool.submit(load, model)
        from bear_classifier.ship.sandbox import trust

        bundle = loading.result()
    trust(bundle)
    with _table(options, bundle) if options.csv else nullcontext() as table:
        failed = sum(map(bool, table.done.values())) if table else 0  # the last cell is the error
        for path, answer in _answers(options, bundle, table):
            row = answer_row(path, answer)
            failed += "error" in row
            if table:
                table.add(prediction_cells(row, bundle.labels))
            if options.json:
                print_json(row)
            else:
                tell(options, line(row))
    return int(failed > 0)


def _place(word: str) -> Path | str:
    """A path, or as it stands the address of a photo, or - for standard input."""
    is_address = word.lower().startswith(("http://", "https://"))
    return word if is_address or word == "-" else Path(word)


def _table_place(word: str) -> Path | str:
    """A path, or an address of fsspec as it stands."""
    return word if "://" in word else Path(word)


def _answers(
    options: argparse.Namespace, bundle: Bundle, table: GrowingTable | StoredTable | None
) -> Iterator[tuple[Path | str, Prediction | PhotoError]]:
    """Files first in their order, then what is named otherwise."""
    from bear_classifier.images.camera import camera_frame
    from bear_classifier.ship.predict import Model, answer_of, answers, files_of

    is_ours, done = _ours(options, bundle), table.done if table else ()

    def is_left(path: Path | str) -> bool:
        return printable(path) not in done

    paths = [place for place in options.paths if isinstance(place, Path)]
    others = [place for place in options.paths if isinstance(place, str)]
    seen = f"camera {options.camera}"
    others += [seen] if options.camera is not None else []
    if options.engine == "ray":
        from bear_classifier.cli import project
        from bear_classifier.ship.prediction_tasks import Kept, answers_on_engine, forget

        files, engine = filter(is_ours, files_of(paths)), project.engine_of(options)
        kept = Kept(*_kept(options, bundle)) if table else None
        yield from answers_on_engine(bundle, files, engine, is_left, kept)
        if kept:
            forget(kept)
    else:
        yield from answers(bundle, paths, lambda path: is_ours(path) and is_left(path))
    if others := [place for place in others if is_ours(place) and is_left(place)]:
        model = Model(bundle)
        for place in others:
            try:
                by_camera = place is seen
                photo = camera_frame(options.camera) if by_camera else _content(place)
                yield place, answer_of(model, photo)
            except PhotoError as exc:
                yield place, exc


def _content(place: str) -> bytes:
    """Of an address, or of standard input. Raises PhotoError."""
    if place == "-":
        from bear_classifier.images.decoder import MAX_BYTES

        return sys.stdin.buffer.read(MAX_BYTES + 1)
    from bear_classifier.collect.http.fetch_photo import fetch_photo

    return fetch_photo(place)


def table_path(options: argparse.Namespace) -> Path | str:
    """Of a part a name of its own, so that all parts may be given the same one."""
    place: Path | str = options.csv
    if options.shard is None:
        return place
    whole = PurePath(place)
    part = "{:05}-of-{:05}".format(*options.shard)
    name = f"{whole.stem}-{part}{whole.suffix}"
    return place.with_name(name) if isinstance(place, Path) else f"{_folder(place)[0]}/{name}"


def _folder(address: str) -> tuple[str, str]:
    """Folder and name."""
    folder, _, name = address.rpartition("/")
    return folder or "/", name


def _made_by(bundle: Bundle) -> str:
    return str(bundle.about["checksum"][:8])


def _table(options: argparse.Namespace, bundle: Bundle) -> GrowingTable | StoredTable:
    place, columns = table_path(options), prediction_columns(bundle.labels)
    table: GrowingTable | StoredTable
    if isinstance(place, Path):
        table = GrowingTable(place, columns, _made_by(bundle))
    else:
        from bear_classifier.engine.stored_table import StoredTable

        table = StoredTable(*_folder(place), columns, _made_by(bundle))
    if table.done:
        rows = f"{count(len(table.done), 'photo')} of a run that was stopped"
        complain(options, f"going on after {rows}; to begin anew, remove {table.begun}")
    return table


def _kept(options: argparse.Namespace, bundle: Bundle) -> tuple[str, str]:
    """A folder beside the table, in which workers keep answers meanwhile: its folder and name."""
    place = table_path(options)
    folder, name = _folder(place if isinstance(place, str) else place.absolute().as_posix())
    return folder, f"{name}.{_made_by(bundle)}.answers"


def _ours(options: argparse.Namespace, bundle: Bundle) -> Callable[[Path | str], bool]:
    """Whether a photo is of this part, by the hash of its path."""
    number, of = options.shard or (1, 1)
    own: set[Path] = set()
    if isinstance(options.csv, Path):  # what we write may be in a folder of photos
        place, name = Path(table_path(options)).absolute(), _kept(options, bundle)[1]
        own = {
            place,
            place.with_name(name),
            place.with_name(f"{name.removesuffix('answers')}begun"),
        }

    def is_ours(path: Path | str) -> bool:
        if isinstance(path, Path) and own and {path.absolute(), path.absolute().parent} & own:
            return False
        return int(sha256(printable(path).encode()).hexdigest()[:8], 16) % of == number - 1

    return is_ours


def answer_row(path: Path | str, answer: Prediction | PhotoError) -> dict[str, Any]:
    """What `--json` prints of one photo."""
    row: dict[str, Any] = {"path": printable(path)}
    if isinstance(answer, PhotoError):
        return row | {"error": {"code": answer.code, "message": answer.sentence}}
    return row | dataclasses.asdict(answer)


def line(row: Mapping[str, Any]) -> str:
    return one_line(f"{row['path']}: {_answer(row)}")


def _answer(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['error']['code']}: {row['error']['message']}"
    if row["reason"] == "unlike_training":
        return "no answer: unlike the photos that the model learned from"
    if row["reason"] == "too_close":
        first, second = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])[:2]
        return f"too close to call: {first[0]} {first[1]:.1%} or {second[0]} {second[1]:.1%}"
    return f"{row['label']} {row['confidence']:.1%}"


def prediction_columns(labels: Sequence[str]) -> list[str]:
    return [*_COLUMNS, *labels, "error"]


def prediction_cells(row: Mapping[str, Any], labels: Sequence[str]) -> list[object]:
    """The cells of one row, as `--json` prints it."""
    p, error = row.get("probabilities", {}), row.get("error", {})
    values = [row.get(column, "") for column in _COLUMNS]
    return [*values, *(p.get(label, "") for label in labels), error.get("code", "")]
