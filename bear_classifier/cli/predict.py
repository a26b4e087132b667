"""`bears predict`: classify photos and folders of photos."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier.cli.options import add_engine_option, add_path, add_shard
from bear_classifier.cli.output import print_json
from bear_classifier.errors import PhotoError
from bear_classifier.runtime.files import printable, writable
from bear_classifier.runtime.growing_table import GrowingTable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import complain, count, one_line, tell

if TYPE_CHECKING:
    from bear_classifier.ship.bundle import Bundle
    from bear_classifier.ship.predict import Prediction

_COLUMNS = ["path", "label", "confidence", "accepted", "reason"]


def add_options(parser: argparse.ArgumentParser) -> None:
    about = "a photo, a folder, the address of a photo (https://...), or - for standard input"
    parser.add_argument("paths", metavar="PATH", type=_place, help=about, nargs="*")
    about = "a picture of camera N of this computer as well (default: 0, the first one)"
    parser.add_argument("--camera", metavar="N", type=int, nargs="?", const=0, help=about)
    add_path(parser, "--model", "DIR", "a bundle (default: the project's)")
    about = "write a table as well; stopped, the same command goes on with it"
    add_path(parser, "--csv", "FILE", about)
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

    if options.csv:
        writable(table_path(options))
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
        for path, answer in _answers(options, bundle, _wanted(options, table)):
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


def _answers(
    options: argparse.Namespace, bundle: Bundle, wanted: Callable[[Path | str], bool]
) -> Iterator[tuple[Path | str, Prediction | PhotoError]]:
    """Files first in their order, then what is named otherwise."""
    from bear_classifier.images.camera import frame
    from bear_classifier.ship.predict import Model, answer_of, answers, files_of

    paths = [place for place in options.paths if isinstance(place, Path)]
    others = [place for place in options.paths if isinstance(place, str)]
    seen = f"camera {options.camera}"
    others += [seen] if options.camera is not None else []
    if options.engine == "ray":
        from bear_classifier.cli import project
        from bear_classifier.ship.prediction_tasks import answers_on_engine

        files = filter(wanted, files_of(paths))
        yield from answers_on_engine(bundle, files, project.engine_of(options))
    else:
        yield from answers(bundle, paths, wanted)
    if others := [place for place in others if wanted(place)]:
        model = Model(bundle)
        for place in others:
            try:
                yield (
                    place,
                    answer_of(model, frame(options.camera) if place is seen else _content(place)),
                )
            except PhotoError as exc:
                yield place, exc


def _content(place: str) -> bytes:
    """Of an address, or of standard input. Raises PhotoError."""
    if place == "-":
        from bear_classifier.images.decoder import MAX_BYTES

        return sys.stdin.buffer.read(MAX_BYTES + 1)
    from bear_classifier.collect.http.fetch_photo import fetch_photo

    return fetch_photo(place)


def table_path(options: argparse.Namespace) -> Path:
    """Of a part a name of its own, so that all parts may be given the same one."""
    if options.shard is None:
        return Path(options.csv)
    part = "{:05}-of-{:05}".format(*options.shard)
    return Path(options.csv.with_name(f"{options.csv.stem}-{part}{options.csv.suffix}"))


def _table(options: argparse.Namespace, bundle: Bundle) -> GrowingTable:
    columns, made_by = prediction_columns(bundle.labels), bundle.about["checksum"][:8]
    table = GrowingTable(table_path(options), columns, made_by)
    if table.done:
        rows = f"{count(len(table.done), 'photo')} of a run that was stopped"
        complain(options, f"going on after {rows}; to begin anew, remove {table.begun}")
    return table


def _wanted(
    options: argparse.Namespace, table: GrowingTable | None
) -> Callable[[Path | str], bool]:
    """Whether a photo is of this part, by the hash of its path, and not in the table yet."""
    done = table.done if table else ()
    number, of = options.shard or (1, 1)
    own = {table.begun.absolute(), table_path(options).absolute()} if table else ()

    def wanted(path: Path | str) -> bool:
        if isinstance(path, Path) and path.absolute() in own:  # in a folder of photos
            return False
        name = printable(path)
        return (
            name not in done and int(sha256(name.encode()).hexdigest()[:8], 16) % of == number - 1
        )

    return wanted


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
