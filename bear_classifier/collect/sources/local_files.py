"""Candidates from local files: a folder per class, or a list with a line each."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bear_classifier.collect.sources.files_below import (
    METADATA_TABLES,
    Node,
    change_stamp,
    files_below,
    readable_name,
    visible,
)
from bear_classifier.collect.sources.search_engine import LONGEST_URL, http_url
from bear_classifier.collect.sources.split_folders import split_folders
from bear_classifier.config.project_file import folded
from bear_classifier.dataset.schema import CONFLICT, PENDING, SPLIT_NAMES, Source
from bear_classifier.errors import DataError

_SHOWN = 60  # characters of a line in a message about it


@dataclass(frozen=True)
class Listing:
    """What a source holds. ignored: path, or FILE:LINE -> why it is no candidate; unknown: the
    names of folders, or in the first column of a list, that are no class."""

    candidates: list[Source]
    ignored: dict[str, str]
    unknown: list[str] = field(default_factory=list)


def list_folder(root: Path, labels: Sequence[str], kind: str = "folder") -> Listing:
    """Every file below `root/<label>/`, sorted; folder names match labels in any case. Where the
    folders are splits (`split_folders`), every file below `root/<split>/<label>/`, with its split.
    What systems leave in folders (`system_files`) is passed over without a word.

    A source's stamp is size and time of change, so that an edited file is read again.
    Raises DataError (NO_FOLDER, NO_CLASS_FOLDERS, CLASS_CLASH, AMBIGUOUS_FOLDERS, SPLIT_CLASH)."""
    if not root.is_dir():
        raise DataError("NO_FOLDER", f"{root} is not a folder; {_expected(labels)}")
    return list_class_folders(root.resolve(), labels, kind)


def list_class_folders(root: Node, labels: Sequence[str], kind: str) -> Listing:
    """As `list_folder`, of a folder that is there; also of one in an archive."""
    ignored: dict[str, str] = {}
    unknown: list[str] = []
    splits = split_folders(root, labels)
    for entry in visible(sorted(root.iterdir()), ignored) if splits else ():
        if entry not in splits.values():
            is_folder = "no split with class folders in it" if entry.is_dir() else ""
            ignored[str(entry)] = is_folder or _loose(entry)
    candidates = [
        Source(str(path), label, kind, change_stamp(path), split=split)
        for split, place in (splits or {"": root}).items()
        for label, folder in sorted(_class_folders(place, labels, ignored, unknown).items())
        for path in files_below(folder, ignored)
    ]
    unknown = list(dict.fromkeys(unknown))
    return Listing(candidates, {readable_name(p): why for p, why in ignored.items()}, unknown)


def _class_folders(
    root: Node, labels: Sequence[str], ignored: dict[str, str], unknown: list[str]
) -> dict[str, Node]:
    by_name = {folded(label): label for label in labels}
    folders: dict[str, Node] = {}
    names: list[Node] = []
    for entry in visible(sorted(root.iterdir()), ignored):
        if not entry.is_dir():
            ignored[str(entry)] = _loose(entry)
        elif (label := by_name.get(folded(entry.name))) is None:
            ignored[str(entry)] = "not a class of this project"
            names.append(entry)
        elif label in folders:
            raise DataError(
                "CLASS_CLASH", f"{folders[label]} and {entry} are both class {label!r}; join them"
            )
        else:
            folders[label] = entry
    if not folders:
        words = ", ".join(map(_with_content, names))[:200]
        content = f"its folders are {words}" if names else "it has no folders"
        raise DataError("NO_CLASS_FOLDERS", f"{root}: {content}; {_expected(labels)}")
    unknown += [readable_name(path.name) for path in names]
    return folders


def _loose(file: Node) -> str:
    """Why a file beside the class folders is no candidate."""
    if file.name in METADATA_TABLES:
        return "read with --source imagefolder:PATH only"
    return "not in a class folder"


def _with_content(folder: Node) -> str:
    """The name of a folder; of a split with the names in it, which ought to be classes."""
    if folded(folder.name) not in SPLIT_NAMES:
        return folder.name
    try:
        inside = [path.name for path in visible(sorted(folder.iterdir()), {}) if path.is_dir()]
    except OSError:
        return folder.name
    return f"{folder.name} (in it: {', '.join(inside)[:60]})" if inside else folder.name


def list_unlabelled(root: Path) -> Listing:
    """Every file below `root`, in whatever folders, as a candidate without a label.

    Raises DataError (NO_FOLDER)."""
    if not root.is_dir():
        raise DataError("NO_FOLDER", f"{root} is not a folder; expected one with photos in it")
    ignored: dict[str, str] = {}
    candidates = [
        Source(str(path), "", "unlabelled", change_stamp(path))
        for path in files_below(root.resolve(), ignored)
    ]
    return Listing(candidates, {readable_name(p): why for p, why in ignored.items()})


def _expected(labels: Sequence[str]) -> str:
    return (
        f"expected one folder per class ({', '.join(labels)}); for other classes make a project; "
        "run: bears new mine --class first --class second"
    )


def list_urls(path: Path, labels: Sequence[str]) -> Listing:
    """A line for each picture: class, tab, address; or class, comma, address as spreadsheets write
    it, with quotes where a cell holds a comma. More columns, blank lines, lines that begin with #
    and a heading are passed over. UTF-8. A source's stamp is the file that lists it.

    An address under two classes is a LABEL_CONFLICT. Raises DataError (NO_FILE, NO_ADDRESSES)."""
    example = f"expected lines such as: {labels[0]}<TAB>https://example.org/photo.jpg"
    rows = list(_rows(path, example))
    name, stamp = readable_name(path.name), readable_name(str(path.resolve()))
    by_name = {folded(label): label for label in labels}
    sources: dict[str, Source] = {}
    ignored: dict[str, str] = {}
    unknown: dict[str, None] = {}
    for number, cells in rows:
        where = f"{readable_name(str(path))}:{number}"
        if why := _flaw(cells, by_name):
            ignored[where] = why
            if len(cells) > 1 and cells[0] and folded(cells[0]) not in by_name:
                unknown[cells[0][:_SHOWN]] = None
            continue
        source = Source(http_url(cells[1]), by_name[folded(cells[0])], "urls", stamp)
        first = sources.setdefault(source.origin, source)
        if first.label != source.label:
            ignored[where] = f"listed under {first.label}, too; keep it under one of them"
            sentence = f"{name} lists it under {first.label} and {source.label}; keep it under one"
            sources[source.origin] = dataclasses.replace(first, code=CONFLICT, sentence=sentence)
    if not any(source.code == PENDING for source in sources.values()):
        first_flaw = next((f"; {where}: {why}" for where, why in ignored.items()), "")
        raise DataError("NO_ADDRESSES", f"{path} lists no usable address{first_flaw}; {example}")
    return Listing(list(sources.values()), ignored, list(unknown))


def _rows(path: Path, example: str) -> Iterator[tuple[int, list[str]]]:
    """Number and columns of every line that is meant to be a picture."""
    if not path.is_file():
        raise DataError("NO_FILE", f"{path} is not a file; {example}")
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as exc:
        raise DataError("NO_FILE", f"{path} cannot be read ({exc.strerror}); {example}") from exc
    is_first = True
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        cells = [cell.strip() for cell in _cells(line.decode(errors="replace"))]
        is_heading = is_first and [cell.casefold() for cell in cells[:2]] == ["class", "url"]
        is_first = False
        if not is_heading:
            yield number, cells


def _cells(line: str) -> list[str]:
    """The columns of a line, divided by tabs, or as spreadsheets write it by commas or semicolons,
    with quotes around cells that hold them: by the first of these that leaves an address second."""
    dividers = [divider for divider in "\t,;" if divider in line]
    ways = [_divided(line, divider) for divider in dividers] or [[line]]
    return next((cells for cells in ways if len(cells) > 1 and http_url(cells[1])), ways[0])


def _divided(line: str, divider: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=divider, skipinitialspace=True, strict=True))
    except csv.Error:  # such as a quote that does not end: it is a part of the text
        return line.split(divider)


def _flaw(cells: Sequence[str], by_name: Mapping[str, str]) -> str:
    """Why a line cannot be used, or nothing. cells: its columns."""
    if any("\ufffd" in cell for cell in cells[:2]):
        return "not UTF-8 text"
    if len(cells) < 2:
        return f"no tab or comma between class and address: {cells[0][:_SHOWN]!r}"
    label, url = cells[:2]
    if folded(label) not in by_name:
        return f"{label[:_SHOWN]!r} is not a class of this project"
    if not url:
        return "no address"
    if len(url) > LONGEST_URL:
        return f"an address of {len(url):,} characters; the limit is {LONGEST_URL:,}"
    return "" if http_url(url) else f"not an http or https address: {url[:_SHOWN]!r}"
