"""Tables, page and marker of an export: what stands in it beside the photos."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from bear_classifier.dataset.formats.metadata import METADATA, MetadataRow, values, write_rows
from bear_classifier.runtime.files import move, write_atomic, write_partial
from bear_classifier.runtime.terminal import one_line

README, CLASSES, LINES = "README.md", "classes.txt", "metadata.jsonl"
_TOP = 12  # licences on the page


def write_tables(folder: Path, rows: Sequence[MetadataRow], per_split: bool) -> list[str]:
    """metadata.csv and, per_split, metadata.jsonl in the folder of each split, whose rows name
    files from there. Returns the names of the tables.

    Lines of JSON, because the Hugging Face library guesses the type of each column of a CSV from
    one split: one that is empty there would be numbers, and texts in the others an error."""
    with _new_text(folder / METADATA) as file:
        write_rows(file, rows)
    tables = [METADATA]
    for top in sorted({row.file_name.partition("/")[0] for row in rows}) if per_split else ():
        tables.append(f"{top}/{LINES}")
        with _new_text(folder / tables[-1]) as file:
            _write_lines(file, (row for row in rows if row.file_name.startswith(f"{top}/")))
    return tables


@contextmanager
def _new_text(path: Path) -> Iterator[TextIO]:
    """A file that is there, whole and on the disk, at the end of the block."""
    partial = write_partial(path, b"")
    with partial.open("w", encoding="utf-8", errors="replace", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    move(partial, path)


def _write_lines(file: TextIO, rows: Iterable[MetadataRow]) -> None:
    for row in rows:
        inside = replace(row, file_name=row.file_name.partition("/")[2])
        file.write(json.dumps(values(inside), ensure_ascii=False) + "\n")


def write_classes(folder: Path, labels: Sequence[str]) -> None:
    """A class a line; the number of a class is that of its line, from 0."""
    write_atomic(folder / CLASSES, "".join(f"{label}\n" for label in labels).encode())


def write_readme(
    folder: Path,
    name: str,
    format: str,
    photos: Mapping[str, Mapping[str, int]],
    splits: Mapping[str, str],
    rows: Sequence[MetadataRow],
) -> None:
    """A page for people, whose front matter tells the Hugging Face library where the splits lie.

    photos: label -> split -> number; splits: split -> its name here."""
    pattern = {"webdataset": "{}-*.tar", "parquet": "{}-*.parquet"}.get(format, "{}/**")
    there = [split for split in splits if any(row[split] for row in photos.values())]
    front = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in there:
        front += [
            f"  - split: {'validation' if split == 'valid' else split}",
            f'    path: "{pattern.format(splits[split])}"',
        ]
    table = [
        f"| class | {' | '.join(splits[split] for split in there)} |",
        f"|---|{'---|' * len(there)}",
        *(
            f"| {label} | {' | '.join(str(row[split]) for split in there)} |"
            for label, row in photos.items()
        ),
    ]
    licences = Counter(row.licence or row.licence_url or "unknown" for row in rows)
    known = [f"* {_code(text)}: {n}" for text, n in licences.most_common(_TOP)]
    if len(licences) > _TOP:
        known.append(f"* and {len(licences) - _TOP} more, see `{METADATA}`")
    text = [
        *front, "---", "", f"# {name}", "",
        f"{len(rows)} photos, written by `bears dataset export --format {format}`.", "",
        *table, "", "## Load it", "", *_loading(format, splits), "",
        "## Licences", "", *known, "",
        f"The photos belong to their authors. `{METADATA}` names author, page and licence of each,"
        " as far as they are known, and who decided what about it.", "",
    ]  # fmt: skip
    write_atomic(folder / README, "\n".join(text).encode(errors="replace"))


def _code(text: str) -> str:
    """Text from the web as Markdown that means nothing else."""
    return f"`{one_line(text)[:120].replace('`', ' ')}`"


def _loading(format: str, splits: Mapping[str, str]) -> list[str]:
    """Lines of Markdown: how other libraries take it."""
    hub = ["```python", "from datasets import load_dataset", 'load_dataset("THIS_FOLDER")', "```"]
    valid = splits["valid"]
    code: dict[str, list[str]] = {
        "folders": [
            "```python",
            "from torchvision.datasets import ImageFolder",
            'ImageFolder("THIS_FOLDER/train", allow_empty=True)',
            "",
            "from fastai.vision.data import ImageDataLoaders",
            f'ImageDataLoaders.from_folder("THIS_FOLDER", valid="{valid}")',
            "```",
        ],
        "webdataset": [
            *hub,
            f"Numbers of classes (`.cls`) are lines of `{CLASSES}`, from 0.",
        ],
    }
    return code.get(format, hub)
