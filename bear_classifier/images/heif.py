"""The box structure of HEIF files, checked before a decoder sees them.

ISO/IEC 14496-12 (boxes) and 23008-12 (items). The decoder applies the turn in the boxes irot and
imir; EXIF, which often has the same turn, and all texts are hidden from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from

from bear_classifier.errors import PhotoError

MAX_BOXES = 5_000  # on one level
MAX_ITEMS = 2_000  # a photo of 48 megapixels has about 300, most of them tiles
MAX_EXTENTS = 10_000  # pieces of items
MAX_ICC = 1 << 20  # bytes of a colour profile; a larger one is ignored
_PICTURES = (b"hvc1", b"grid", b"iden")  # kinds of items that are a photo
_TEXTS = (b"Exif", b"mime", b"uri ")  # kinds of items that no pixel depends on
Box = tuple[bytes, int, int]  # kind, where its content begins, where it ends
Extent = tuple[int, int, int]  # way of counting, offset, length


def walk(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Width and height of the largest picture by the boxes of the file, and the file without
    metadata. Raises PhotoError, and IndexError or struct.error for a box that points beyond it."""
    hidden = bytearray(data)
    top = list(_boxes(data, 0, len(data), inner=False))
    kinds = {kind for kind, _, _ in top}
    meta = next((box for box in top if box[0] == b"meta"), None)
    if meta is None:
        if b"moov" in kinds:
            advice = "HEIC sequences without a photo are not supported; save one frame as JPEG"
            raise PhotoError("UNSUPPORTED_FORMAT", advice)
        raise truncated(len(data))
    inside = {kind: (start, end) for kind, start, end in _boxes(data, meta[1] + 4, meta[2])}
    if missing := [k for k in (b"pitm", b"iinf", b"iloc", b"iprp") if k not in inside]:
        raise damaged(f"the box {missing[0].decode()} is missing in this HEIC file")
    if b"mdat" not in kinds and b"idat" not in inside:
        raise truncated(len(data))
    items = _items(data, *inside[b"iinf"])
    start = inside[b"pitm"][0]
    primary = unpack_from(">I" if data[start] else ">H", data, start + 4)[0]
    kind = data[items[primary] : items[primary] + 4] if primary in items else b""
    if kind not in _PICTURES:
        other = f"HEIC with a photo of the kind {kind.decode('ascii', 'backslashreplace')!r}"
        raise PhotoError("UNSUPPORTED_FORMAT", f"{other} is not supported; save as JPEG")
    places = _places(data, *inside[b"iloc"])
    if primary not in places:
        raise damaged("this HEIC file does not say where its photo is")
    _check_places(places, len(data), inside.get(b"idat"))
    for at in items.values():
        if data[at : at + 4] in _TEXTS:
            hidden[at : at + 4] = b"skip"
    sizes = [(0, 0), *_stated(data, hidden, *inside[b"iprp"])]
    idat = inside.get(b"idat", (0, 0))[0]
    for number, at in items.items():
        if data[at : at + 4] == b"grid":
            sizes += [_canvas(data, idat, extent) for extent in places.get(number, [])]
    return max(sizes, key=lambda size: size[0] * size[1]), bytes(hidden)


def without_texts(data: bytes) -> bytes:
    """The file with zeros in place of EXIF, XMP and other texts; every offset stays as it is.

    data: a HEIC or an AVIF. Raises as `walk`."""
    bare = bytearray(data)
    for kind, start, end in _boxes(data, 0, len(data), inner=False):
        if kind in (b"uuid", b"udta"):
            _blank(bare, start, end)
        elif kind == b"moov":
            for inner, at, after in _boxes(data, start, end):
                if inner in (b"udta", b"meta", b"uuid"):
                    _blank(bare, at, after)
        elif kind == b"meta":
            _blank_texts(data, bare, start, end)
    return bytes(bare)


def _blank(bare: bytearray, start: int, end: int) -> None:
    """A box becomes free space, zeros in it. start: of its content, behind a head of 8 bytes."""
    bare[start:end] = bytes(end - start)
    bare[start - 4 : start] = b"free"


def _blank_texts(data: bytes, bare: bytearray, start: int, end: int) -> None:
    """Items of the box meta that are no pictures get the kind skip, and zeros as their content."""
    inside = {kind: (at, after) for kind, at, after in _boxes(data, start + 4, end)}
    if b"iinf" not in inside or b"iloc" not in inside:
        return
    places = _places(data, *inside[b"iloc"])
    idat = inside.get(b"idat", (0, 0))
    _check_places(places, len(data), inside.get(b"idat"))
    for number, at in _items(data, *inside[b"iinf"]).items():
        if data[at : at + 4] not in _TEXTS:
            continue
        bare[at : at + 4] = b"skip"
        for way, offset, size in places.get(number, []):
            first = offset + (idat[0] if way == 1 else 0)
            last = first + size if size else (idat[1] if way == 1 else len(data))
            bare[first:last] = bytes(last - first)


def _boxes(data: bytes, pos: int, end: int, inner: bool = True) -> Iterator[Box]:
    for _ in range(MAX_BOXES):
        if pos >= end:
            return
        length, kind = unpack_from(">I4s", data, pos)
        head = 8
        if length == 1:
            length, head = unpack_from(">Q", data, pos + 8)[0], 16
        after = pos + length if length else end
        if after > end and not inner:
            raise truncated(end, after)
        if after > end or after < pos + head:
            raise damaged("the boxes of this HEIC file make no sense")
        yield kind, pos + head, after
        pos = after
    raise _too_complex(f"more than {MAX_BOXES} boxes")


def _items(data: bytes, start: int, end: int) -> dict[int, int]:
    """Number of each item -> position of its kind, four letters."""
    items: dict[int, int] = {}
    for kind, at, _ in _boxes(data, start + (8 if data[start] else 6), end):
        version = data[at]
        if kind != b"infe" or version not in (2, 3):
            continue
        wide = version == 3
        items[unpack_from(">I" if wide else ">H", data, at + 4)[0]] = at + (10 if wide else 8)
        if len(items) > MAX_ITEMS:
            raise _too_complex(f"more than {MAX_ITEMS} items")
    return items


def _places(data: bytes, start: int, end: int) -> dict[int, list[Extent]]:
    """Number of each item -> its extents."""
    version, sizes, bases = data[start], data[start + 4], data[start + 5]
    pos, number = start + 6, 4 if version == 2 else 2

    def read(bytes_: int) -> int:
        nonlocal pos
        if pos + bytes_ > end:
            raise damaged("the places in this HEIC file make no sense")
        pos += bytes_
        return int.from_bytes(data[pos - bytes_ : pos], "big")

    places: dict[int, list[Extent]] = {}
    pieces, index = 0, bases & 15 if version else 0
    for _ in range(read(number)):
        item = read(number)
        way = read(2) & 15 if version else 0
        read(2)  # of this file
        base, count = read(bases >> 4), read(2)
        pieces += max(1, count)
        if pieces > MAX_EXTENTS:
            raise _too_complex(f"items in more than {MAX_EXTENTS} pieces")
        places[item] = []
        for _ in range(count):
            read(index)
            places[item].append((way, base + read(sizes >> 4), read(sizes & 15)))
    return places


def _check_places(
    places: dict[int, list[Extent]], length: int, idat: tuple[int, int] | None
) -> None:
    """No extent may lie beyond the end, and none may be read over and over."""
    read = 0
    for way, offset, size in (extent for extents in places.values() for extent in extents):
        if way == 0 and offset + size > length:
            raise truncated(length, offset + size)
        if way == 1 and (idat is None or idat[0] + offset + size > idat[1]):
            raise damaged("an item of this HEIC file lies outside of its data")
        read += size or length - offset
    if read > 2 * length + MAX_ICC:
        raise _too_complex("items that share their data")


def _stated(data: bytes, hidden: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sizes of all pictures; colour profiles that are too large become free space."""
    for kind, at, after in _boxes(data, start, end):
        for what, where, upto in _boxes(data, at, after) if kind == b"ipco" else ():
            if what == b"ispe":
                yield unpack_from(">II", data, where + 4)
            elif what == b"colr" and upto - where > MAX_ICC:
                hidden[where - 4 : where] = b"free"


def _canvas(data: bytes, idat: int, extent: Extent) -> tuple[int, int]:
    """The size of the picture that tiles make up."""
    way, offset, _ = extent
    at = offset + (idat if way == 1 else 0)
    width, height = unpack_from(">II" if data[at + 1] & 1 else ">HH", data, at + 4)
    return width, height


def truncated(have: int, want: int | None = None) -> PhotoError:
    amount = f"{have} of {want} bytes" if want else f"{have} bytes are there"
    return PhotoError("TRUNCATED", f"its end is missing, {amount}; download or copy it again")


def damaged(what: str) -> PhotoError:
    return PhotoError("DAMAGED", f"{what}; open it in a photo program and save it again")


def _too_complex(what: str) -> PhotoError:
    return PhotoError("TOO_COMPLEX", f"a HEIC file with {what}; save as JPEG")
