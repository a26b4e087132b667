"""Changes of a photo folder: new files, files that left, and folders that are gone."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from bear_classifier.dataset.schema import CONFLICT, GONE, PENDING, Photo, Source
from bear_classifier.runtime.files import hash_of

_FOLDERS = ("folder", "unlabelled", "starter")  # kinds of sources
_LOOKED = 16  # files of a folder that are read, to know whether another one is a copy of it


def is_read(known: Source | None, listed: Source) -> bool:
    """Whether this very file was read before."""
    if known is None or known.code in (PENDING, GONE) or known.stamp != listed.stamp:
        return False
    named_twice = known.code == CONFLICT and known.sha256 is None  # so it was not read
    return (known.label, named_twice) == (listed.label, listed.code == CONFLICT)


def with_publication(known: Source, listed: Source) -> Source:
    """The row of a file that was read before, with what its source says of it by now."""
    names = (
        *("page", "title", "author", "licence", "licence_url", "final_url"),
        *("split", "expected", "decisions"),
    )
    said = {name: value for name in names if (value := getattr(listed, name))}
    return dataclasses.replace(known, **said)


def departed(known: Iterable[Source], listed: Sequence[Source], root: Path) -> list[Source]:
    """The rows of files that are not where they were, now with the code GONE: deleted, renamed,
    moved with their folder, or known by another path. A folder of which `root` is a copy counts as
    moved, too: what stands in the copy is newer, and its files would all be there twice.

    listed: the files of `root`. Files of other folders that are still there stay as they are, and
    those without a label that a listing by class passes over."""
    present = {source.origin for source in listed}
    by_class = any(source.label for source in listed)
    inside = within(str(root.resolve()))
    left, elsewhere = [], []
    for row in known:
        if row.kind not in _FOLDERS or row.code == GONE or row.origin in present:
            continue
        if by_class and not row.label and _is_there(row):
            continue
        if row.origin.startswith(inside):
            rest = " of a class" if _is_there(row) else ""
            left.append(gone(row, f"no longer in the folder{rest}"))
        elif _is_there(row):
            elsewhere.append(row)
        else:
            left.append(gone(row, "no longer where it was"))
    if not elsewhere:
        return left
    names = {os.path.realpath(source.origin): source.origin for source in listed}
    copied = _copied(elsewhere, listed, root.resolve())
    for row in elsewhere:
        if name := names.get(os.path.realpath(row.origin)):
            left.append(gone(row, f"the same file as {name}"))
        elif any(row.origin.startswith(within(place)) for place in copied):
            left.append(gone(row, f"its folder was copied to {root.resolve()}, which is used now"))
    return left


def unlisted(known: Iterable[Source], listed: Sequence[Source], place: Path) -> list[Source]:
    """The rows that a table or an archive does not name any more, and those of others that are no
    longer where they were, now with the code GONE. place: the table or archive."""
    present, name = {source.origin for source in listed}, name_of(place)
    left = []
    for row in known:
        if row.listed_in and row.code != GONE and row.origin not in present:
            if row.listed_in == name:
                left.append(gone(row, f"no longer in {place.name}"))
            elif not _is_there(row):
                left.append(gone(row, "no longer where it was"))
    return left


def name_of(place: Path) -> str:
    """A table, archive or dataset as rows have it in `listed_in`; what is no path of this computer
    is a name of Hugging Face."""
    return str(place.resolve()) if place.exists() else f"hf:{place.as_posix()}"


def within(folder: str, sep: str = os.sep) -> str:
    """What the paths of all in a folder begin with; a drive (C:\\) ends with it already."""
    return folder.rstrip(sep) + sep


def overwritten(photos: Iterable[Photo], sources: Iterable[Source]) -> list[Photo]:
    """The photos in use that no row names: under the path of each lies another file by now."""
    named = {source.sha256 for source in sources}
    return [photo for photo in photos if photo.status == "ok" and photo.sha256 not in named]


def without_file(photos: Iterable[Photo], sources: Iterable[Source]) -> list[Photo]:
    """The photos that stand in no file and at no address any more, copies set aside included:
    deleted, or replaced by another under the same name."""
    held = {source.sha256 for source in sources if source.code != GONE}
    return [p for p in photos if p.status in ("ok", "duplicate") and p.sha256 not in held]


def gone(source: Source, sentence: str) -> Source:
    """The row of a file or address that is no candidate any more."""
    return dataclasses.replace(source, code=GONE, sentence=sentence)


def _is_there(source: Source) -> bool:
    """Whether a file is there, or what holds it: an archive, or a dataset of another library."""
    holder = source.listed_in
    try:
        if holder and source.origin.startswith(within(holder, "/")):
            return holder.startswith("hf:") or Path(holder).exists()
        return Path(source.origin).is_file()
    except OSError:  # such as a folder that may not be opened: nobody can know
        return True


def _copied(rows: Sequence[Source], listed: Sequence[Source], root: Path) -> list[str]:
    """The folders of which `root` holds most files under the same class, path and size, and those
    that are read with the same content."""
    tails = {Path(source.origin).relative_to(root).parts: source for source in listed}
    twins: dict[str, list[tuple[Source, Source]]] = {}
    for row in rows:
        parts = Path(row.origin).parts
        for start in range(len(parts) - 2, 0, -1):
            other = tails.get(parts[start:])
            if other and (other.label, _size(other)) == (row.label, _size(row)):
                twins.setdefault(str(Path(*parts[:start])), []).append((row, other))
                break
    held = Counter(p for p in twins for row in rows if row.origin.startswith(within(p)))
    return [p for p, pairs in twins.items() if 2 * len(pairs) > held[p] and _are_equal(pairs)]


def _size(source: Source) -> str:
    return source.stamp.partition("-")[0]


def _are_equal(pairs: Sequence[tuple[Source, Source]]) -> bool:
    """Whether most of some pairs, taken evenly, hold the same bytes."""
    some = pairs[:: -(-len(pairs) // _LOOKED)]
    same = 0
    for row, other in some:
        with suppress(OSError):
            same += hash_of(Path(other.origin)) == row.sha256
    return 2 * same > len(some)
