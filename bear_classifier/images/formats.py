"""Image formats: detection, truncation, and the part of a file that a decoder needs.

Runs before Pillow does and trusts nothing: every walk is linear and counts its steps. A decoder
gets only what the first picture needs, without EXIF, comments, texts and later frames: no pixel
depends on them, and some are bombs (60 KB of EXIF cost Pillow 200 MB, a GIF comment 3.5 s).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import Literal

from bear_classifier.errors import PhotoError
from bear_classifier.images import heif
from bear_classifier.images.heif import damaged, truncated
from bear_classifier.runtime import git_lfs

MAX_SEGMENTS = 5_000  # JPEG: 20 MB in segments of 64 KB are 320
MAX_CHUNKS = 50_000  # PNG, WebP: an animation of 10,000 frames has about 20,000
MAX_BLOCKS = 1_000_000  # GIF: 20 MB in sub-blocks of 255 bytes are 80,000
MAX_RLE_BYTES, MAX_RLE_PIXELS = 1_000_000, 4_000_000  # run-length encoded BMP

_MAGIC = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif", b"BM": "bmp"}


@dataclass(frozen=True)
class Inspected:
    """size: width and height by the header, (0, 0) where only the decoder knows."""

    format: str
    size: tuple[int, int]
    pixels: bytes  # a whole file of this format with the first picture and no more
    exif: bytes = b""
    scans: int = 1  # of a JPEG; each makes the decoder pass over the whole picture
    coefficients: int = 0  # bytes that a JPEG in several scans holds in memory all at once
    deep: bool = False  # an AVIF of 10 or 12 bits: planes of two bytes a value


_HEIC = rb".{4}ftyp.{0,40}?(hei[cxms]|hev[cxms]|mif1|msf1)"
_VIDEO = rb"\x1aE\xdf\xa3|FLV\x01|\0\0\x01[\xba\xb3]|0&\xb2u|\x8aMNG|.{4}(ftyp|moov|mdat)|.{8}AVI "
_UNSUPPORTED = (
    (rb"(II|MM)(\*\0|\0\*|\+\0|\0\+)", "TIFF and camera raw files", "save as JPEG"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000 files", "save as JPEG"),
    (rb"\0\0\0\x0cJXL |\xff\x0a|II\xbc", "JPEG XL and JPEG XR files", "save as JPEG"),
    (rb"8BPS|gimp xcf", "Photoshop and GIMP files (PSD, XCF)", "export as JPEG or PNG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS and PostScript files", "export as PNG"),
    (rb"%PDF", "PDF files", "export the page or the photo as JPEG"),
    (rb"\0\0[\x01\x02]\0|icns", "Icons (ICO, CUR, ICNS)", "save as PNG"),
    (rb"\xd7\xcd\xc6\x9a|.{40} EMF", "WMF and EMF drawings", "export as PNG"),
    (rb"v/1\x01|#\?RADIANCE|DDS |qoif|P[1-7]\s", "EXR, HDR, DDS, QOI and PNM files", "save as PNG"),
    (_VIDEO, "Videos", "save one frame as JPEG"),
)
_NO_IMAGES = (
    (rb"PK[\3\5][\4\6]|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive; take the photo out of it"),
    (rb"MZ|\x7fELF|#!|SQLite format 3", "a program or its data, not a picture"),
)


def format_of(data: bytes) -> str:
    """jpeg, png, webp, gif, bmp, avif or heic, by content; others are refused with advice."""
    if not data:
        raise PhotoError("EMPTY_FILE", "the file has 0 bytes; download or copy it again")
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if re.match(rb".{4}ftyp.{0,60}?avi[fs]", data, re.DOTALL):
        return "avif"
    if re.match(_HEIC, data, re.DOTALL):
        return "heic"
    raise _refusal(data)


def format_of_stranger(data: bytes) -> str:
    """As `format_of`, of a picture from the web or a visitor, which may not be HEIC: by faults of
    its decoder a photo took over the program. Raises PhotoError."""
    kind = format_of(data)
    if kind == "heic":
        advice = "save as JPEG (iPhone: Settings > Camera > Formats > Most Compatible)"
        raise PhotoError("UNSUPPORTED_FORMAT", f"HEIC photos are not supported; {advice}")
    return kind


def _refusal(data: bytes) -> PhotoError:
    for magic, name, advice in _UNSUPPORTED:
        if re.match(magic, data, re.DOTALL):
            return PhotoError("UNSUPPORTED_FORMAT", f"{name} are not supported; {advice}")
    for magic, name in _NO_IMAGES:
        if re.match(magic, data):
            return PhotoError("NOT_AN_IMAGE", f"the file is {name}")
    if git_lfs.is_pointer(data):
        return PhotoError("NOT_AN_IMAGE", f"the file is {git_lfs.ADVICE}")
    text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return PhotoError("UNSUPPORTED_FORMAT", "SVG drawings are not supported; export as PNG")
    if re.match(rb"<(!doctype html|html|head|body|script|\?xml|!--)", text):
        return PhotoError("NOT_AN_IMAGE", "the file is a web page; save the photo itself")
    if b"\0" not in text and text.isascii():
        return PhotoError("NOT_AN_IMAGE", "the file is text, not a picture")
    return PhotoError("NOT_AN_IMAGE", f"no known picture begins with the bytes {data[:4].hex(' ')}")


def inspect(data: bytes) -> Inspected:
    """Walk the whole file, so that a cut after the first frame is noticed too."""
    try:
        return _WALKERS[format_of(data)](data)
    except (IndexError, struct.error):  # it points behind its own end
        raise truncated(len(data)) from None


# Markers, also inside compressed data: no stuffing (00), restart (d0 to d7) or fill byte (ff).
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_KEPT_APPS = (0xE0, 0xEE)  # JFIF and Adobe, which define the colours


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of every segment, the last of them EOI; behind that of a scan lie its
    pixels. Raises PhotoError (TRUNCATED, TOO_COMPLEX)."""
    end = 2
    for _ in range(MAX_SEGMENTS):
        marker = _MARKER.search(data, end)
        if marker is None:
            raise truncated(len(data))
        start, kind = marker.start(), data[marker.start() + 1]
        if kind == _EOI:
            yield kind, start, start + 2
            return
        if kind in (0x01, _SOI):  # the two others without a length
            end = start + 2
            continue
        end = start + 2 + max(2, int.from_bytes(data[start + 2 : start + 4], "big"))
        yield kind, start, end
    raise PhotoError("TOO_COMPLEX", f"more than {MAX_SEGMENTS} parts; save it again as JPEG")


def _jpeg(data: bytes) -> Inspected:
    kept, exif, size, scans, held, start = [b"\xff\xd8"], b"", (0, 0), 0, 0, 2
    progressive, first_scan = False, 0
    for kind, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        if kind == _SOS:
            scans += 1
            first_scan = first_scan or start
        elif kind in _FRAMES and len(body) >= 6:
            size = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
            held, progressive = _coefficients(size, body[6:]), kind in (0xC2, 0xC6, 0xCA, 0xCE)
        elif kind == 0xE1 and not exif and body.startswith(b"Exif\0\0"):
            exif = body[6:]
        described = kind < 0xE0 or kind in _KEPT_APPS or body.startswith(b"ICC_PROFILE\0")
        if described and not first_scan and kind != _EOI:
            kept.append(data[start:end])
    if not first_scan or size == (0, 0):
        raise damaged("there is no picture in this JPEG file")
    pixels = b"".join([*kept, data[first_scan : start + 2]])
    return Inspected("jpeg", size, pixels, exif, scans, held if progressive or scans > 1 else 0)


def _coefficients(size: tuple[int, int], components: bytes) -> int:
    """Bytes: two for each value of each component, at that component's own resolution."""
    factors = [(byte >> 4, byte & 15) for byte in components[1::3]]
    widest = max((across for across, _ in factors), default=0)
    highest = max((down for _, down in factors), default=0)
    shares = sum(across * down for across, down in factors) / max(1, widest * highest)
    return int(2 * size[0] * size[1] * shares)


def orientation(exif: bytes) -> int:
    """Tag 274 of the first directory, 1 without it. Pillow would load all other tags too."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    start = int.from_bytes(tiff[4:8], order)
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(tiff[start : start + 2], order), 12):
        if int.from_bytes(tiff[at : at + 2], order) == 274:
            return int.from_bytes(tiff[at + 8 : at + 10], order)
        if at > len(tiff):
            break
    return 1


def _png(data: bytes) -> Inspected:
    if len(data) > 16 and data[12:16] != b"IHDR":
        raise damaged("this PNG file does not begin with its header")
    kept, exif, profile, pos = [data[:8]], b"", b"", 8
    for _ in range(MAX_CHUNKS):
        length, kind = unpack_from(">I4s", data, pos)
        end = pos + 12 + length
        if end > len(data):
            raise truncated(len(data), end)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[pos:end])
        elif kind == b"eXIf":
            exif = data[pos + 8 : end - 4]
        elif kind == b"iCCP" and not profile:
            profile = data[pos:end]
            kept += [profile] if _small_profile(profile[8:-4]) else []
        if kind == b"IEND":
            return Inspected("png", unpack_from(">II", data, 16), b"".join(kept), exif)
        pos = end
    raise PhotoError("TOO_COMPLEX", f"more than {MAX_CHUNKS} chunks; save it again as PNG")


def _small_profile(body: bytes) -> bool:
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(body[body.find(b"\0") + 2 :], heif.MAX_ICC)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail


def _gif(data: bytes) -> Inspected:
    width, height, flags = unpack_from("<HHB", data, 6)
    pos = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    head, control, first = data[:pos], b"", b""
    steps = iter(range(MAX_BLOCKS))
    for _ in steps:
        start, kind = pos, data[pos]
        if kind == 0x21:
            pos = _after_blocks(data, pos + 2, steps)
            if data[start + 1] == 0xF9 and not first:
                control = data[start:pos]
        elif kind == 0x2C:
            left, top, across, down, flags = unpack_from("<HHHHB", data, pos + 1)
            palette = 3 << (flags & 7) + 1 if flags & 128 else 0
            pos = _after_blocks(data, pos + 11 + palette, steps)
            if not first:
                first = data[start:pos]
                width, height = max(width, left + across), max(height, top + down)
        elif kind == 0x3B or first:  # the end; or padding, where browsers stop as well
            break
        else:
            pos += 1
    else:
        raise PhotoError("TOO_COMPLEX", f"more than {MAX_BLOCKS} blocks; save it again as PNG")
    if not first:
        raise damaged("there is no picture in this GIF file")
    return Inspected("gif", (width, height), head + control + first + b";")


def _after_blocks(data: bytes, pos: int, steps: Iterator[int]) -> int:
    """Where a chain of sub-blocks ends; steps is the budget that all chains of the file share."""
    for _ in steps:
        length = data[pos]
        pos += length + 1
        if not length:
            break
    return pos


def _webp(data: bytes) -> Inspected:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated(len(data), end)
    size = _webp_size(data[12:16], data[20:30])
    if size == (0, 0):
        raise damaged("this WebP file does not begin with a picture")
    exif, pos = b"", 12
    for _ in range(MAX_CHUNKS):
        if pos + 8 > end:
            return Inspected("webp", size, data[:end], exif)
        kind, length = unpack_from("<4sI", data, pos)
        if kind == b"EXIF":
            exif = data[pos + 8 : pos + 8 + length]
        pos += 8 + length + (length & 1)
    raise PhotoError("TOO_COMPLEX", f"more than {MAX_CHUNKS} chunks; save it again as JPEG")


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = unpack_from("<HH", body, 6) if kind == b"VP8 " else (0, 0)
    return width & 0x3FFF, height & 0x3FFF


_ISPE = re.compile(rb"ispe\0\0\0\0(?=.{8})", re.DOTALL)
_AV1C = re.compile(rb"av1C\x81.(.)", re.DOTALL)


def _avif(data: bytes) -> Inspected:
    """Without EXIF: in an AVIF only the irot and imir boxes turn the picture."""
    parts: list[bytes] = []
    pos, sizes, deep = 0, [(0, 0)], False
    while pos < len(data):
        length, kind = unpack_from(">I4s", data, pos)
        if length == 1:
            length = int.from_bytes(data[pos + 8 : pos + 16], "big")
        end = pos + length if length else len(data)
        if end > len(data):
            raise truncated(len(data), end)
        if end < pos + 8 or len(parts) > MAX_SEGMENTS:
            raise damaged("the boxes of this AVIF file make no sense")
        box = data[pos:end]
        if kind in (b"meta", b"moov"):
            box = box.replace(b"Exif", b"skip")
            states = _ISPE.finditer(box, 0, heif.MAX_ICC)
            sizes += [unpack_from(">II", box, stated.end()) for stated in states]
            deep = deep or any(flags[0] & 0x40 for flags in _AV1C.findall(box, 0, heif.MAX_ICC))
        parts.append(box)
        pos = end
    whole = b"".join(parts)
    if b"mdat" not in whole and b"idat" not in whole:  # cut just before the pixels
        raise truncated(len(data))
    return Inspected("avif", max(sizes, key=lambda size: size[0] * size[1]), whole, deep=deep)


def _bmp(data: bytes) -> Inspected:
    if data[14:18] == b"\x0c\0\0\0":
        return Inspected("bmp", unpack_from("<HH", data, 18), data)
    width, height, _, _, compression = unpack_from("<IiHHI", data, 18)
    large = len(data) > MAX_RLE_BYTES or width * abs(height) > MAX_RLE_PIXELS
    if compression in (1, 2) and large:  # Pillow unpacks these in Python
        raise PhotoError("TOO_COMPLEX", "a run-length encoded BMP this large; save it as PNG")
    return Inspected("bmp", (width, abs(height)), data)


_WALKERS: dict[str, Callable[[bytes], Inspected]]
_WALKERS = {"jpeg": _jpeg, "png": _png, "gif": _gif, "webp": _webp, "avif": _avif, "bmp": _bmp}
_WALKERS["heic"] = lambda data: Inspected("heic", *heif.walk(data))
