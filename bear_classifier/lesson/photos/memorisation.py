"""Memorisation: traces of training photos in a published bundle."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from inspect import getsource
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder
from bear_classifier.ship import (
    example_pictures,
    golden,
    manifest,
    model_card,
    nearest_photos,
)

_CODES = ("utf-8", "utf-16-le", "utf-32-le")  # an array of numpy holds text in the last
_JPEG = b"\xff\xd8\xff"
_BEGINNINGS = (
    *(_JPEG, b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"WEBPVP8"),
    *(b"ftypavif", b"ftypheic", b"ftypmif1"),
)
_GOLDEN = re.compile(r"golden/(\d{2})\.(?!npz)")
_GPS = 0x8825  # EXIF tag: where the table of positions lies (CIPA DC-008, 4.6.3)
_SHORT = 6  # letters; shorter names are found anywhere
_BLOCK = 2**22


def bundle_contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and what is packed in those that are archives (.npz), unpacked."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, data = path.relative_to(folder).as_posix(), path.read_bytes()
        yield name, data
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                yield from ((f"{name}/{inner}", packed.read(inner)) for inner in packed.namelist())


def search_terms(photos: Sequence[Photo], harmless: str) -> dict[bytes, str]:
    """What would give a photo away, as it may be written, and what it is.

    harmless: text whose words a bundle holds anyway."""
    texts = {photo.origin: "the origin" for photo in photos}
    texts |= {re.split(r"[/\\]", p.origin)[-1].split("?")[0]: "the file name" for p in photos}
    texts = {t: k for t, k in texts.items() if len(t) >= _SHORT and re.search(r"[./\\]", t)}
    words = {t.encode(c): f"{k} {t}" for t, k in texts.items() if t not in harmless for c in _CODES}
    sums = {form: f"the checksum {p.sha256[:8]}…" for p in photos
            for form in (p.sha256.encode(), bytes.fromhex(p.sha256))}  # fmt: skip
    return words | sums


def occurrences(data: bytes, needles: Collection[bytes]) -> set[bytes]:
    """Those of the needles, 4 bytes or longer, that are in the data. In one pass: only places whose
    first two pairs of bytes begin some needle are looked at closely."""
    begins: dict[bytes, list[bytes]] = {}
    for needle in needles:
        begins.setdefault(needle[:4], []).append(needle)
    pairs = np.frombuffer(b"".join(begins), "<u2").reshape(-1, 2)
    first, second = (np.isin(np.arange(2**16), pairs[:, i]) for i in (0, 1))
    present = set()
    for start in range(0, len(data), _BLOCK):
        raw = np.frombuffer(data[start : start + _BLOCK + 3], np.uint8).astype(np.uint16)
        pair = raw[:-1] | raw[1:] << 8
        for place in (start + np.flatnonzero(first[pair[:-2]] & second[pair[2:]])).tolist():
            candidates = begins.get(data[place : place + 4], ())
            present |= {needle for needle in candidates if data.startswith(needle, place)}
    return present


def count_picture_files(data: bytes) -> int:
    """How many picture files begin in it. The three bytes of a JPEG come up by chance in a few
    million random ones, so that its first segments must follow one another too."""
    marks = re.finditer(b"|".join(map(re.escape, _BEGINNINGS)), data)
    return sum(mark[0] != _JPEG or _segments(data, mark.start() + 2) for mark in marks)


def _segments(data: bytes, at: int, many: int = 3) -> bool:
    for _ in range(many):
        if data[at : at + 1] != b"\xff" or data[at + 1 : at + 2] < b"\xc0":
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


def has_gps(data: bytes) -> bool:
    """Whether a position stands in EXIF, of whatever kind of picture, or in XMP."""
    headers = re.finditer(rb"II\*\0|MM\0\*", data)
    return b"GPSLatitude" in data or any(
        _GPS in _tags(data[h.start() : h.start() + 65536]) for h in headers
    )


def _tags(tiff: bytes) -> list[int]:
    """Of the first table of a TIFF header, as EXIF begins with one; none where it is no such."""
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (many,) = struct.unpack_from(f"{order}H", tiff, start)
        rows = range(start + 2, start + 2 + 12 * many, 12)
        return [struct.unpack_from(f"{order}H", tiff, row)[0] for row in rows]
    except struct.error:
        return []


def is_drawing(name: str, data: bytes) -> bool | None:
    """Whether a picture of the self-test or to try is one that this program draws, whatever its
    size and encoder; None for other files."""
    if drawing := _GOLDEN.match(name):
        return _is_same(golden.draw_picture(int(drawing[1]))[1], data)
    if not manifest.EXAMPLE_NAME.fullmatch(name):
        return None
    return any(_is_same(drawing, data) for drawing in example_pictures.all_drawn())


def _is_same(drawing: bytes, data: bytes) -> bool:
    try:
        two = [decoder.decode(file).resize((16, 16)) for file in (data, drawing)]
    except PhotoError:
        return False
    one, other = (np.asarray(image, dtype=float) for image in two)
    return bool(np.abs(one - other).mean() < 8)  # grey levels; other pictures differ by dozens


def traces(
    files: Mapping[str, bytes], needles: Mapping[bytes, str], sums: Collection[str], shown: bool
) -> list[str]:
    """What gives a photo away, and in which file. sums: SHA-256 of photos; shown: whether small
    copies were meant to be published."""
    found = []
    for name, data in files.items():
        found += [f"a GPS position in {name}"] * has_gps(data)
        found += [f"{name} is a photo"] * (sha256(data).hexdigest() in sums)
        if shown and name.startswith(nearest_photos.FILE):
            continue
        found += sorted(f"{needles[needle]} in {name}" for needle in occurrences(data, needles))
        if (drawn := is_drawing(name, data)) is not None:
            found += [f"{name} is not drawn"] * (not drawn)
        elif count := count_picture_files(data):
            found.append(f"{count} pictures in {name}")
    return found


def likeness(queries: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine (n,) of each feature vector to the nearest of the references.

    queries: (n, f); references: (m, f)."""
    one, other = (
        side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
        for side in (queries, references)
    )
    return np.asarray((one @ other.T).max(axis=1))


@dataclass(frozen=True)
class Search:
    """traces: what gives a photo away, and where; files, size (bytes) and unpacked (bytes, packed
    files opened): what was searched; texts: number of paths and names searched for."""

    traces: list[str]
    files: int
    size: int
    unpacked: int
    texts: int


def search_bundle(folder: Path, known: Sequence[Photo], shown: bool) -> Search:
    """A bundle, for traces of the photos of its dataset. shown: as in `traces`."""
    files = dict(bundle_contents(folder))
    needles = search_terms(known, "\n".join([getsource(model_card), *files]))
    found = traces(files, needles, {photo.sha256 for photo in known}, shown)
    whole = [len(data) for name, data in files.items() if ".npz/" not in name]
    texts = len(set(needles.values())) - len(known)
    return Search(found, len(whole), sum(whole), sum(map(len, files.values())), texts)
