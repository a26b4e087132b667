"""Photos without their metadata, losslessly: what is shown stays, byte for byte.

Removed are EXIF (place, time, camera), XMP, IPTC, comments, texts, previews, and what lies behind
the end of the picture. Kept are the colour profile, the pixel density, further frames, and the
orientation, as the only tag of an EXIF of its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from struct import pack, unpack_from

from bear_classifier.images import formats, heif

_KEPT_CHUNKS = frozenset(  # of a PNG, beside the critical ones: what decides how it is shown
    {
        *(b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT"),
        *(b"bKGD", b"hIST", b"sPLT", b"pHYs", b"acTL", b"fcTL", b"fdAT"),
    }
)
_KEPT_RIFF = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")  # applications of a GIF that say how often it repeats
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04  # of the first chunk of a WebP


def without_metadata(data: bytes) -> bytes:
    """The file without metadata; the same bytes where it has none.

    data: a JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC. Raises PhotoError for a damaged one."""
    file = formats.inspect(data)
    turn = formats.orientation(file.exif)
    exif = _exif(turn) if 2 <= turn <= 8 else b""
    try:
        bare = _REMOVERS[file.format](data, exif)
    except (IndexError, struct.error):  # it points behind its own end
        raise heif.truncated(len(data)) from None
    return data if bare == data else bare


def _exif(turn: int) -> bytes:
    """TIFF with the one tag 274 (EXIF 2.32, section 4.6.4): SHORT, one value."""
    return b"MM\0*" + pack(">IHHHIHHI", 8, 1, 274, 3, 1, turn, 0, 0)


def _jpeg(data: bytes, exif: bytes) -> bytes:
    own = b"Exif\0\0" + exif
    segment = b"\xff\xe1" + pack(">H", len(own) + 2) + own if exif else b""
    parts, scan = [data[:2]], 0  # where the pixels of a scan begin, 0 before the first
    for kind, start, end in formats.jpeg_segments(data):
        body = data[start + 4 : end]
        is_jfif = kind == 0xE0 and body.startswith(b"JFIF\0")
        if scan:
            parts.append(data[scan:start])
        if segment and not is_jfif:
            parts.append(segment)  # behind the header of JFIF, which has to be the first
            segment = b""
        if is_jfif:
            parts.append(data[start : start + 2] + b"\0\x10" + body[:12] + b"\0\0")  # no preview
        elif kind < 0xE0 or kind == 0xEE or (kind == 0xE2 and body.startswith(b"ICC_PROFILE\0")):
            parts.append(data[start:end])
        if kind == 0xDA or scan:
            scan = end
    return b"".join(parts)


def _png(data: bytes, exif: bytes) -> bytes:
    parts, pos = [data[:8]], 8
    while pos < len(data):
        length, kind = unpack_from(">I4s", data, pos)
        end = pos + 12 + length
        if kind == b"IDAT" and exif:  # which stands before the pixels
            crc = zlib.crc32(b"eXIf" + exif)
            parts.append(pack(">I4s", len(exif), b"eXIf") + exif + pack(">I", crc))
            exif = b""
        if kind[:1].isupper() or kind in _KEPT_CHUNKS:  # a capital: critical (PNG, section 5.4)
            parts.append(data[pos:end])
        if kind == b"IEND":
            break
        pos = end
    return b"".join(parts)


def _webp(data: bytes, exif: bytes) -> bytes:
    parts, pos, end = [], 12, 8 + int.from_bytes(data[4:8], "little")
    while pos + 8 <= end:
        kind, length = unpack_from("<4sI", data, pos)
        after = pos + 8 + length + (length & 1)
        if kind == b"VP8X":
            flags = data[pos + 8] & ~(_EXIF_FLAG | _XMP_FLAG) | (_EXIF_FLAG if exif else 0)
            parts.append(data[pos : pos + 8] + bytes([flags]) + data[pos + 9 : after])
        elif kind in _KEPT_RIFF:
            parts.append(data[pos:after])
        pos = after
    if exif:
        parts.append(pack("<4sI", b"EXIF", len(exif)) + exif)
    body = b"WEBP" + b"".join(parts)
    return pack("<4sI", b"RIFF", len(body)) + body


def _gif(data: bytes, _: bytes) -> bytes:
    flags = data[10]
    pos = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    parts = [data[:pos]]
    for start, end in _gif_blocks(data, pos):
        kind, label = data[start], data[start + 1 : start + 2]
        loops = label == b"\xff" and data[start + 3 : start + 14] in _LOOPS
        if kind == 0x2C or (kind == 0x21 and (label == b"\xf9" or loops)):
            parts.append(data[start:end])
    return b"".join([*parts, b";"])


def _gif_blocks(data: bytes, pos: int) -> Iterator[tuple[int, int]]:
    """Start and end of every extension and every frame."""
    while pos < len(data) and data[pos] in (0x21, 0x2C):
        start = pos
        if data[pos] == 0x21:
            pos += 2
        else:
            flags = data[pos + 9]
            pos += 11 + (3 << (flags & 7) + 1 if flags & 128 else 0)
        while data[pos]:
            pos += data[pos] + 1
        pos += 1
        yield start, pos


def _heif(data: bytes, _: bytes) -> bytes:
    """The orientation stands in boxes of their own; what EXIF says of it does not count."""
    return heif.without_texts(data)


_REMOVERS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "jpeg": _jpeg, "png": _png, "webp": _webp, "gif": _gif, "avif": _heif, "heic": _heif,
    "bmp": lambda data, _: data,
}  # fmt: skip
