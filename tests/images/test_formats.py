"""The walkers that look at a file before any decoder does: its kind, its end, its cost."""

from __future__ import annotations

import re
import struct
import time
import zlib
from io import BytesIO

import corpus
import pytest
from PIL import Image

from bear_classifier.errors import PhotoError
from bear_classifier.images import formats
from bear_classifier.images.formats import Inspected, format_of, inspect

N = 20_000_000  # the largest file that gets this far


def refusal(data: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        inspect(data)
    return caught.value


@pytest.mark.parametrize("name", corpus.good())
def test_good_files_are_known_by_content(name: str) -> None:
    found = inspect(corpus.good()[name])
    assert found.format == format_of(corpus.good()[name]) == name.split()[0]
    with Image.open(BytesIO(found.pixels)) as image:
        assert found.size == image.size


HEIC = (
    "HEIC photos are not supported; "
    "save as JPEG (iPhone: Settings > Camera > Formats > Most Compatible)"
)
REFUSED = {
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "UNSUPPORTED_FORMAT", "SVG.*export as PNG"),
    "SVG plain": (b"\xef\xbb\xbf \n<svg></svg>", "UNSUPPORTED_FORMAT", "SVG"),
    "TIFF": (corpus.saved(corpus.drawn(), "TIFF"), "UNSUPPORTED_FORMAT", "TIFF.*save as JPEG"),
    "PDF": (b"%PDF-1.7\n", "UNSUPPORTED_FORMAT", "PDF.*as JPEG"),
    "PSD": (b"8BPS\0\1", "UNSUPPORTED_FORMAT", "Photoshop.*export"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF", "UNSUPPORTED_FORMAT", "EPS.*export as PNG"),
    "JPEG 2000": (corpus.saved(corpus.drawn(), "JPEG2000"), "UNSUPPORTED_FORMAT", "JPEG 2000"),
    "JPEG XL": (b"\xff\x0a\0\0", "UNSUPPORTED_FORMAT", "JPEG XL"),
    "ICO": (corpus.saved(corpus.drawn(), "ICO"), "UNSUPPORTED_FORMAT", "Icons.*save as PNG"),
    "mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "UNSUPPORTED_FORMAT", "Videos.*one frame"),
    "webm": (b"\x1aE\xdf\xa3\1\0\0\0", "UNSUPPORTED_FORMAT", "Videos"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "UNSUPPORTED_FORMAT", "Videos"),
    "PNM": (corpus.saved(corpus.drawn(), "PPM"), "UNSUPPORTED_FORMAT", "PNM"),
    "0 bytes": (b"", "EMPTY_FILE", "0 bytes"),
    "Git LFS": (corpus.lfs_pointer(), "NOT_AN_IMAGE", "pointer of Git LFS .* git lfs pull"),
    "Git LFS, old": (
        b"version https://hawser.github.com/spec/v1\n",
        "NOT_AN_IMAGE",
        "git lfs pull",
    ),
    "Git LFS, in a text": (b"see version https://git-lfs.github.com/spec", "NOT_AN_IMAGE", "text"),
    "text": (b"please send the photo again", "NOT_AN_IMAGE", "text"),
    "web page": (b"\n<!DOCTYPE html><html>", "NOT_AN_IMAGE", "web page"),
    "ZIP": (corpus.zipped("a.jpg", b"x"), "NOT_AN_IMAGE", "archive"),
    "program": (b"MZ\x90\0", "NOT_AN_IMAGE", "program"),
    "zeros": (bytes(5000), "NOT_AN_IMAGE", "00 00 00 00"),
    "sound": (b"RIFF\0\0\0\0WAVEfmt ", "NOT_AN_IMAGE", "no known picture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_advice(name: str) -> None:
    data, code, sentence = REFUSED[name]
    error = refusal(data)
    assert error.code == code
    assert error.sentence == sentence or re.search(sentence, error.sentence)


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"msf1\0\0\0\0msf1hevc"])
def test_heic_of_strangers_is_refused_with_advice(brands: bytes) -> None:
    """From the web and from visitors; what is one's own is read: tests/test_heic.py."""
    with pytest.raises(PhotoError) as caught:
        formats.format_of_stranger(b"\0\0\0\x18ftyp" + brands)
    assert (caught.value.code, caught.value.sentence) == ("UNSUPPORTED_FORMAT", HEIC)


@pytest.mark.parametrize("name", [name for name in corpus.good() if "bmp" not in name])
def test_every_cut_is_noticed_without_decoding(name: str) -> None:
    data = corpus.good()[name]
    if name == "jpeg mpo":  # the first picture is whole, and the second one is never looked at
        data = data[: data.index(b"\xff\xd9") + 2]
    for at in [*range(24, len(data), 7), len(data) - 1]:
        assert refusal(data[:at]).code == "TRUNCATED", f"cut at {at} of {len(data)}"


def test_the_sentence_counts_the_bytes() -> None:
    data = corpus.good()["webp"]
    have, want = len(data) // 2, len(data)
    expected = f"its end is missing, {have} of {want} bytes; download or copy it again"
    assert refusal(data[: len(data) // 2]).sentence == expected


def test_bytes_behind_the_end_are_dropped() -> None:
    for name in ("jpeg", "png", "webp", "gif"):
        data = corpus.good()[name]
        assert inspect(data + b"PK\3\4 something else").pixels == inspect(data).pixels


def test_a_thumbnail_inside_exif_is_no_scan_and_no_end() -> None:
    photo = corpus.good()["jpeg"]
    thumbnail = corpus.saved(corpus.drawn(32, 32), "JPEG", progressive=True)
    both = corpus.with_segment(photo, corpus.app_segment(1, b"Exif\0\0" + thumbnail))
    assert inspect(both) == Inspected(
        "jpeg", (96, 64), inspect(photo).pixels, exif=thumbnail, scans=1
    )
    assert refusal(both[: len(thumbnail) + 200]).code == "TRUNCATED"


def test_scans_and_their_memory_are_counted() -> None:
    image = corpus.drawn(160, 96)
    assert inspect(corpus.saved(image, "JPEG")).coefficients == 0
    plain = inspect(corpus.saved(image, "JPEG", progressive=True))
    full = inspect(corpus.saved(image, "JPEG", progressive=True, subsampling=0))
    grey = inspect(corpus.saved(image.convert("L"), "JPEG", progressive=True))
    assert (plain.scans, full.scans, grey.scans) == (10, 10, 6)
    pixels = 160 * 96
    assert (plain.coefficients, full.coefficients) == (3 * pixels, 6 * pixels)
    assert grey.coefficients == 2 * pixels
    assert inspect(corpus.scan_bomb(image, 500)).scans == 510


def test_fill_and_restart_bytes_are_no_markers() -> None:
    image = corpus.drawn(160, 96)
    data = corpus.saved(image, "JPEG", restart_marker_blocks=2)
    assert data.count(b"\xff\xd3") >= 1
    padded = data[:2] + b"\xff\xff\xff" + data[2:-2] + b"\xff\xff\xff\xff" + data[-2:]
    assert inspect(padded).scans == 1


SECRET = b"visible to no decoder"


def test_only_what_the_pixels_need_is_passed_on() -> None:
    tags = Image.Exif()
    tags[0x010E] = SECRET.decode()
    files = [
        corpus.saved(corpus.drawn(), "JPEG", exif=tags.tobytes(), comment=SECRET),
        corpus.with_segment(corpus.good()["jpeg"], corpus.app_segment(13, SECRET)),
        corpus.saved(corpus.drawn(), "PNG", exif=tags.tobytes()),
        corpus.png(16, 16, before=[corpus.chunk(b"tEXt", b"a\0" + SECRET)]),
        corpus.saved(corpus.drawn().quantize(8), "GIF", comment=SECRET),
    ]
    for data in files:
        assert SECRET in data
        assert SECRET not in inspect(data).pixels
    avif = corpus.saved(corpus.drawn(), "AVIF", exif=tags.tobytes())
    assert b"Exif" in avif
    with Image.open(BytesIO(inspect(avif).pixels)) as image:
        assert "exif" not in image.info


@pytest.mark.parametrize("name", ["png animated", "gif animated"])
def test_later_frames_stay_behind(name: str) -> None:
    data = corpus.good()[name]
    with Image.open(BytesIO(data)) as before, Image.open(BytesIO(inspect(data).pixels)) as after:
        assert (before.n_frames, getattr(after, "n_frames", 1)) == (4, 1)


def test_a_large_profile_is_left_out() -> None:
    for size, kept in ((1000, True), (64_000_000, False)):
        packed = zlib.compress(bytes(size))
        data = corpus.png(16, 16, before=[corpus.chunk(b"iCCP", b"a\0\0" + packed)])
        assert (b"iCCP" in inspect(data).pixels) is kept


def test_avif_of_ten_bits_is_told_apart() -> None:
    data = corpus.good()["avif"]
    at = data.index(b"av1C") + 6
    assert inspect(data) == Inspected("avif", (96, 64), inspect(data).pixels)
    deep = data[:at] + bytes([data[at] | 0x40]) + data[at + 1 :]
    assert inspect(deep).deep


FRAME = b"\x2c\0\0\0\0\x20\0\x20\0\0\x08"
GIF = b"GIF89a" + b"\x20\0\x20\0\0\0\0"
JPEG = corpus.good()["jpeg"]
SCAN = JPEG.index(b"\xff\xda") + 14
WEBP = b"VP8X" + struct.pack("<I", 10) + bytes(10)
FTYP = b"\0\0\0\x10ftypavif\0\0\0\0"
IDAT = corpus.chunk(b"IDAT", b"")
ICCP = corpus.chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**20)))
HOSTILE = {
    "jpeg stuffing": (lambda: JPEG[:SCAN] + b"\xff\0" * (N // 2) + b"\xff\xd9", None),
    "jpeg fill bytes": (lambda: JPEG[:SCAN] + b"\xff" * N + b"\xd9", None),
    "jpeg restarts": (lambda: JPEG[:SCAN] + b"\xff\xd0" * (N // 2) + b"\xff\xd9", None),
    "jpeg markers": (lambda: JPEG[:SCAN] + b"\xff\x01" * (N // 2) + b"\xff\xd9", "TOO_COMPLEX"),
    "jpeg segments": (lambda: JPEG[:2] + b"\xff\xe5\0\2" * (N // 4) + JPEG[2:], "TOO_COMPLEX"),
    "gif large blocks": (lambda: GIF + FRAME + (b"\xff" + b"x" * 255) * (N // 256) + b"\0;", None),
    "gif tiny blocks": (lambda: GIF + FRAME + b"\1x" * (N // 2) + b"\0;", "TOO_COMPLEX"),
    "gif frames": (lambda: GIF + (FRAME + b"\1x\0") * (N // 14) + b";", "TOO_COMPLEX"),
    "gif zeros": (lambda: GIF + bytes(N), "TOO_COMPLEX"),
    "png 10^5 chunks": (lambda: corpus.png(16, 16, before=[IDAT] * 10**5), "TOO_COMPLEX"),
    "png profiles": (lambda: corpus.png(16, 16, before=[ICCP] * 15_000), None),
    "webp chunks": (
        lambda: b"RIFF" + struct.pack("<I", 22 + N) + b"WEBP" + WEBP + b"XXXX\0\0\0\0" * (N // 8),
        "TOO_COMPLEX",
    ),
    "avif boxes": (lambda: FTYP + b"\0\0\0\x08free" * (N // 8), "DAMAGED"),
    "avif sizes": (
        lambda: FTYP + struct.pack(">I", 8 + N) + b"meta" + b"ispe\0\0\0\0" * (N // 8),
        "TRUNCATED",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_and_bounded(name: str) -> None:
    built, code = HOSTILE[name]
    data = built()
    start = time.process_time()
    if code:
        assert refusal(data).code == code
    else:
        inspect(data)
    assert time.process_time() - start < 1.5  # 0.3 s alone on the machine


def test_large_run_length_bmp_is_refused() -> None:
    many_pixels = corpus.rle_bmp(6000, 4000, b"\1\5\0\0" * 4000 + b"\0\1")
    many_bytes = corpus.rle_bmp(1000, 1000, b"\1\5" * 600_000)
    assert refusal(many_pixels).code == refusal(many_bytes).code == "TOO_COMPLEX"
