"""`bears dataset export`: the cleaned photos as folders or shards that other programs read."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import islice

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import CommandParser, add_flag, add_path
from bear_classifier.cli.output import print_outcome
from bear_classifier.dataset.formats.choices import (
    FORMATS,
    VALID_NAMES,
    ExportChoice,
    Exported,
    Handling,
)
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import count, one_line

_SHOWN, _NAMED = 20, 5  # classes in a table, and in a sentence
_UNREAD = ("gif", "avif", "heic")  # formats that torchvision's ImageFolder passes over


def add_options(parser: CommandParser) -> None:
    add = parser.add_argument
    add("what", choices=["export"], help="write the photos in use, with labels and splits")
    add_path(parser, "out", "OUT", "a new folder, an empty one, or an earlier export")
    about = "a folder per split and class; what Hugging Face reads; tar shards; Parquet shards"
    add("--format", choices=FORMATS, default="folders", help=f"{about} (default: folders)")
    about = "what the validation split is called (default: valid)"
    add("--split-names", choices=VALID_NAMES, default="valid", help=about)
    about = "only photos whose author allows to share, to use commercially, or gave them away"
    add("--licence", choices=["any", "share", "commercial", "public"], default="any",
        dest="allowed", help=about)  # fmt: skip
    add_flag(parser, "--keep-metadata", "keep EXIF (place, time, camera), left out otherwise")
    add_flag(parser, "--link", "hard links where possible; the stored photos become read-only")


def run(options: argparse.Namespace) -> None:
    from bear_classifier.dataset.formats.export import export_dataset
    from bear_classifier.dataset.formats.parts import LINKS_NEED

    opened = project.named_project(options)
    handling = Handling(options.keep_metadata, options.link)
    choice = ExportChoice(options.format, options.split_names, options.allowed, handling)
    with pipeline.existing(opened) as catalog, heartbeat("export"):
        done = export_dataset(catalog, opened.config.labels, options.out, choice)
    plain = json.loads(json.dumps(dataclasses.asdict(done), default=str))
    lines = [*_lines(done)]
    if options.link and not done.linked:
        why = "shards hold copies" if done.format in ("webdataset", "parquet") else LINKS_NEED
        lines.append(f"note: no photo could be a hard link: {why}")
    print_outcome(options, plain, "\n".join(map(one_line, lines)))


def _lines(done: Exported) -> Iterator[str]:
    size = f"{done.bytes / 1e6:.1f} MB"
    yield f"wrote {done.path}: {count(done.files, 'photo')}, {size}, format {done.format}"
    width = max(map(len, done.photos))
    for label, row in islice(done.photos.items(), _SHOWN):
        words = ", ".join(f"{split} {n}" for split, n in row.items())
        yield f"  {label:<{width}}  {words}"
    if len(done.photos) > _SHOWN:
        yield f"  ... and {len(done.photos) - _SHOWN} more classes; all of them with --json"
    if done.stripped:
        yield f"without their EXIF and other metadata: {count(done.stripped, 'photo')}"
    if done.linked:
        yield f"hard links, now read-only: {count(done.linked, 'photo')}"
    if left := done.unknown_licence + done.other_licence:
        why = f"{done.unknown_licence} without a known licence, {done.other_licence} with another"
        yield f"left out by --licence: {count(left, 'photo')} ({why})"
    if done.left_out:
        yield "not in use, and not exported: " + ", ".join(
            f"{n} {status}" for status, n in sorted(done.left_out.items())
        )
    if done.empty:
        verb = "has" if len(done.empty) == 1 else "have"
        yield f"warning: {_some(done.empty)} {verb} no photo, and no folder"
    for split, labels in done.missing.items():
        yield f"warning: {split} has no photo of {_some(labels)}" + _of_missing(done)
    if done.format == "folders" and (odd := {f: done.formats.get(f) for f in _UNREAD}):
        few = ", ".join(f"{n} {name.upper()}" for name, n in odd.items() if n)
        if few:
            yield f"note: torchvision's ImageFolder passes over {few}"


def _some(labels: Sequence[str]) -> str:
    """The first of them in quotes, and how many more there are."""
    rest = [f"{len(labels) - _NAMED} more"] if len(labels) > _NAMED else []
    return ", ".join([*map(repr, labels[:_NAMED]), *rest])


def _of_missing(done: Exported) -> str:
    if done.format != "folders":
        return ""
    return (
        "; its folder is empty, so that classes keep their numbers (ImageFolder: allow_empty=True)"
    )
