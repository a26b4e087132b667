"""The one decoder, the one resize, the hash: promises I1 to I9."""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import corpus
import numpy as np
import PIL
import pytest
from corpus import drawn, exif, good, in_child, saved
from PIL import Image, ImageFile

from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder, formats, heif
from bear_classifier.images.decoder import decode, encode, fit_square, read_file
from bear_classifier.images.dhash import dhash, hash_bits, mirrored

NEAR = 32  # bits: in 1,400 photos from the web, pairs this close were copies

BROKEN = corpus.ROOT.parent / "shared" / "broken"
MB = 1_000_000


def refusal(source: bytes | Path) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decode(source)
    return caught.value


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute error, of 255."""
    assert one.size == other.size
    assert one.mode == other.mode == "RGB"
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


# I1: no input crashes the process


@pytest.mark.parametrize("count", [4_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_mutations_raise_nothing_but_listed_errors(count: int) -> None:
    answer = in_child("mutate", str(count), "20260801")
    assert sum(answer["codes"].values()) == count
    assert set(answer["codes"]) <= {"ok", *documented_codes()}
    assert min(answer["codes"][code] for code in ("ok", "TRUNCATED", "DAMAGED")) > count / 100
    assert answer["extra"] <= 300 * MB
    assert answer["slowest"] < 5


@pytest.mark.real
def test_broken_files_of_others() -> None:
    answer = in_child("folder", str(BROKEN))
    assert answer["codes"]["ok"] >= 500
    assert set(answer["codes"]) <= {"ok", *documented_codes()}
    assert answer["extra"] <= 150 * MB
    assert answer["slowest"] < 5


def documented_codes() -> set[str]:
    return set(re.findall(r"^([A-Z_]{5,})  ", decoder.__doc__ or "", re.MULTILINE))


def test_every_code_is_documented() -> None:
    files = (decoder.__file__, formats.__file__, heif.__file__)
    sources = "".join(Path(file).read_text(encoding="utf-8") for file in files)
    raised = set(re.findall(r'PhotoError\(\s*"([A-Z_]+)"', sources))
    assert raised == documented_codes()


# I2: bounded memory


def _clear(width: int, height: int) -> Image.Image:
    return Image.new("RGBA", (width, height), (200, 100, 50, 128))


def _fast(image: Image.Image, format: str) -> bytes:
    quick = {
        "WEBP": {"method": 0, "quality": 50},
        "AVIF": {"speed": 10},
        "PNG": {"compress_level": 1},
    }
    return saved(image, format, **quick.get(format, {}))


def _plain(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.new(
        mode, (width, height), 77 if mode in ("L", "P") else (200, 100, 50, 0)[: len(mode)]
    )


ACCEPTED = {
    "jpeg 64 progressive": lambda: saved(
        _plain(8000, 8000), "JPEG", progressive=True, exif=exif(6)
    ),
    "jpeg 16 cmyk": lambda: saved(_plain(4000, 4000, "CMYK"), "JPEG", exif=exif(6)),
    "png 24 rgb, turned, profile": lambda: saved(
        _plain(6000, 4000), "PNG", compress_level=1, exif=exif(5), icc_profile=corpus.profile(True)
    ),
    "png 24 rgba": lambda: _fast(_clear(6000, 4000), "PNG"),
    "png 24 grey and alpha": lambda: _fast(_clear(6000, 4000).convert("LA"), "PNG"),
    "png 24 one colour clear": lambda: saved(
        _plain(6000, 4000), "PNG", compress_level=1, transparency=(200, 100, 50)
    ),
    "png 24 of 16 bits": lambda: corpus.png_16(np.zeros((4000, 6000), np.uint16)),
    "gif 24": lambda: saved(_plain(6000, 4000, "P"), "GIF", transparency=3),
    "webp 16 rgba": lambda: _fast(_clear(4000, 4000), "WEBP"),
    "avif 24 rgba": lambda: _fast(_clear(6000, 4000), "AVIF"),
    "exif bomb": lambda: corpus.with_segment(
        good()["jpeg"][:2] + good()["jpeg"][20:], corpus.app_segment(1, corpus.exif_bomb())
    ),
    "avif exif bomb": lambda: saved(drawn(), "AVIF", exif=corpus.exif_bomb()[6:]),
}
SMALL = {"exif bomb": 20 * MB, "avif exif bomb": 20 * MB}


@pytest.mark.series
@pytest.mark.parametrize("name", ACCEPTED)
def test_memory_of_the_largest_that_are_accepted(name: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(ACCEPTED[name]())
    answer = in_child("files", str(path))
    assert answer["codes"] == {"ok": 1}
    assert answer["extra"] <= SMALL.get(name, 300 * MB)


REJECTED = {
    "9 KB png bomb": (lambda: corpus.png_bomb(9000), "is 81 megapixels; the limit is 24"),
    "20 KB png bomb": (
        lambda: corpus.png_bomb(13_000),
        "13000 x 13000 is 169 megapixels; the limit is 24",
    ),
    "png of 49": (lambda: corpus.png_bomb(7000), "is 49 megapixels; the limit is 24"),
    "jpeg of 81": (
        lambda: saved(_plain(9000, 9000, "L"), "JPEG"),
        "81 megapixels; the limit is 64",
    ),
    "jpeg with large tables": (
        lambda: saved(_plain(7000, 7000), "JPEG", progressive=True, subsampling=0),
        "progressive JPEG that takes 294 MB",
    ),
    "webp of 49": (lambda: _fast(_plain(7000, 7000), "WEBP"), "the limit is 16 for WebP"),
    "avif of 49": (lambda: _fast(_plain(7000, 7000), "AVIF"), "49 megapixels; the limit is 24"),
    "gif of 49": (lambda: saved(_plain(7000, 7000, "P"), "GIF"), "49 megapixels; the limit is 24"),
    "bmp of 49": (lambda: saved(Image.new("1", (7000, 7000)), "BMP"), "the limit is 24"),
    "webp canvas": (
        lambda: good()["webp animated"].replace(b"\x2f\0\0\x1f\0\0", b"\xff\x3f\0\xff\x3f\0", 1),
        "16384 x 16384 is 268.5 megapixels; the limit is 16",
    ),
    "long side": (lambda: saved(Image.new("L", (17_000, 900)), "JPEG"), "limit for a side"),
}


@pytest.mark.series
@pytest.mark.parametrize("name", REJECTED)
def test_too_many_pixels_are_refused_by_the_header(name: str, tmp_path: Path) -> None:
    made, sentence = REJECTED[name]
    data = made()
    error = refusal(data)
    assert error.code == "TOO_MANY_PIXELS"
    assert sentence in error.sentence
    path = tmp_path / "bomb"
    path.write_bytes(data)
    assert in_child("files", str(path))["extra"] <= 30 * MB


def test_no_warning_and_no_changed_global() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(corpus.png_bomb(13_000)).code == "TOO_MANY_PIXELS"
        decode(good()["webp"])
    assert before == Image.MAX_IMAGE_PIXELS
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# I3: bounded time


@pytest.mark.parametrize("extra", [91, 500, 2_000])
def test_scan_bombs(extra: int) -> None:
    data = corpus.scan_bomb(drawn(500, 400, detail=100), extra)
    start = time.process_time()
    error = refusal(data)
    assert error.sentence == f"{extra + 10} scans; the limit is 100"
    assert error.code == "TOO_COMPLEX"
    assert time.process_time() - start < 0.5  # 0.01 alone on the machine


def test_fewer_scans_of_more_pixels() -> None:
    data = corpus.scan_bomb(_plain(7000, 7000, "L"), 30)
    assert "36 scans of 49 megapixels" in refusal(data).sentence
    assert decode(corpus.scan_bomb(drawn(500, 400), 90)).size == (500, 400)


PACKED = corpus.chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * MB)))
QUICK = {
    "64 MB of text": lambda: corpus.png(64, 64, before=[PACKED]),
    "64 MB of profile": lambda: corpus.png(64, 64, before=[PACKED.replace(b"zTXt", b"iCCP")]),
    "5 MB of comment": lambda: corpus.gif_comment(good()["gif"], 20_000),
    "19 MB of exif": lambda: corpus.with_segment(
        good()["jpeg"], corpus.app_segment(1, b"Exif\0\0" + bytes(65_000)) * 290
    ),
    "40,000 chunks": lambda: corpus.png(64, 64, before=[corpus.chunk(b"tEXt", b"a\0b")] * 40_000),
    "19 MB behind the pixels": lambda: corpus.png(
        64, 64, pixels=zlib.compress(bytes(13_000)) + bytes(19 * MB)
    ),
}


@pytest.mark.parametrize("name", QUICK)
def test_what_no_pixel_needs_costs_no_time(name: str) -> None:
    data = QUICK[name]()
    start = time.process_time()
    assert min(decode(data).size) >= 64
    assert time.process_time() - start < 1


# I4: the same picture however it is stored

STORED = {  # how a camera stores an upright picture under each orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(format: str, orientation: int) -> None:
    upright = drawn(96, 64, detail=32)
    turn = STORED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    data = saved(stored, format, exif=exif(orientation), quality=95)
    assert difference(decode(data), upright) <= 3


def test_orientation_is_what_exif_says() -> None:
    """Six is the camera turned to the left: what was at the left edge belongs at the top."""
    stored = Image.new("RGB", (64, 32), "black")
    stored.paste("white", (0, 0, 16, 32))
    upright = decode(saved(stored, "PNG", exif=exif(6)))
    assert upright.size == (32, 64)
    assert upright.getpixel((16, 2)) == (255, 255, 255)


@pytest.mark.parametrize(
    "tags", [b"", b"junk", b"II*\0\xff\xff\xff\xff", exif(99), exif(0), exif(6)[:20]]
)
def test_broken_exif_is_ignored(tags: bytes) -> None:
    data = corpus.with_segment(good()["jpeg"], corpus.app_segment(1, b"Exif\0\0" + tags))
    assert difference(decode(data), decode(good()["jpeg"])) == 0


def _smooth() -> Image.Image:
    return drawn(96, 64, detail=32)


def _half_clear() -> tuple[Image.Image, Image.Image]:
    """A picture whose left half is clear, and what it looks like on white paper."""
    photo, alpha = _smooth(), Image.new("L", (96, 64), 255)
    alpha.paste(0, (0, 0, 48, 64))
    clear, white = photo.copy(), photo.copy()
    clear.putalpha(alpha)
    white.paste("white", (0, 0, 48, 64))
    return clear, white


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF"])
def test_alpha_goes_over_white(format: str) -> None:
    clear, white = _half_clear()
    how = {"lossless": True} if format == "WEBP" else {}
    assert difference(decode(saved(clear, format, **how)), white) <= 3


def test_half_transparent_is_halfway_to_white() -> None:
    data = saved(Image.new("RGBA", (32, 32), (100, 0, 200, 128)), "PNG")
    assert decode(data).getpixel((5, 300 % 32)) == (177, 127, 227)


def test_grey_and_alpha() -> None:
    clear, white = _half_clear()
    image = decode(saved(clear.convert("LA"), "PNG"))
    assert difference(image, white.convert("L").convert("RGB")) <= 1


def test_palette_and_one_clear_entry() -> None:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(0, (0, 0, 16, 32))
    for format in ("PNG", "GIF"):
        image = decode(saved(picture, format, transparency=0))
        assert image.getpixel((3, 3)) == (255, 255, 255)
        assert image.getpixel((30, 3)) == (200, 100, 50)
        assert decode(saved(picture, format)).getpixel((3, 3)) == (10, 20, 30)


def test_one_clear_colour_of_a_picture_without_alpha() -> None:
    picture = Image.new("RGB", (32, 32), (1, 2, 3))
    picture.paste((9, 9, 9), (0, 0, 16, 32))
    image = decode(saved(picture, "PNG", transparency=(9, 9, 9)))
    assert (image.getpixel((3, 3)), image.getpixel((30, 3))) == ((255, 255, 255), (1, 2, 3))
    grey = decode(saved(picture.convert("L"), "PNG", transparency=9))
    assert (grey.getpixel((3, 3)), grey.getpixel((30, 3))) == ((255, 255, 255), (2, 2, 2))


def test_one_bit() -> None:
    picture = Image.new("1", (32, 32), 1)
    picture.paste(0, (0, 0, 16, 32))
    for format in ("PNG", "BMP", "GIF"):
        image = decode(saved(picture, format))
        assert (image.getpixel((3, 3)), image.getpixel((30, 3))) == ((0, 0, 0), (255, 255, 255))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65_535, 64 * 64).astype(np.uint16).reshape(64, 64)
    expected = (values / 257).astype(np.int16)
    grey = np.asarray(decode(corpus.png_16(values)), np.int16)
    colour = np.asarray(
        decode(corpus.png_16(np.stack([values, values[::-1], values.T], 2))), np.int16
    )
    assert np.abs(grey - expected[..., None]).max() <= 1
    assert np.abs(colour - np.stack([expected, expected[::-1], expected.T], 2)).max() <= 1


def test_sixteen_bits_with_a_clear_value() -> None:
    values = np.full((32, 32), 30_000, np.uint16)
    values[:16] = 40_000
    clear = corpus.chunk(b"tRNS", (40_000).to_bytes(2, "big"))
    image = decode(corpus.png_16(values, [clear]))
    assert (image.getpixel((3, 3)), image.getpixel((3, 30))) == ((255, 255, 255), (117, 117, 117))
    three = np.stack([values] * 3, 2)
    image = decode(corpus.png_16(three, [corpus.chunk(b"tRNS", (40_000).to_bytes(2, "big") * 3)]))
    assert (image.getpixel((3, 3)), image.getpixel((3, 30))) == ((255, 255, 255), (117, 117, 117))


def test_cmyk_with_and_without_the_mark_of_adobe() -> None:
    """Adobe stores inks inverted; as browsers do, a file without the mark is read the same way."""
    photo = _smooth()
    marked = saved(photo.convert("CMYK"), "JPEG", quality=95)
    at = marked.index(b"\xff\xee")
    unmarked = marked[:at] + marked[at + 2 + int.from_bytes(marked[at + 2 : at + 4], "big") :]
    assert difference(decode(marked), photo) <= 3
    assert difference(decode(unmarked), photo) <= 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_colour_profile_to_srgb(format: str) -> None:
    photo = _smooth()
    settings = {"quality": 95} if format != "PNG" else {}
    plain = decode(saved(photo, format, **settings))
    red, green, blue = plain.split()
    swapped = decode(saved(photo, format, icc_profile=corpus.profile(True), **settings))
    assert difference(swapped, Image.merge("RGB", (blue, green, red))) <= 3
    for harmless in (
        corpus.profile(),
        b"junk",
        corpus.profile(True)[:200],
        corpus.linear_grey_profile(),
    ):
        image = decode(saved(photo, format, icc_profile=harmless, **settings))
        assert difference(image, plain) == 0


def test_grey_profile() -> None:
    grey = Image.new("L", (32, 32), 55)
    data = saved(grey, "PNG", icc_profile=corpus.linear_grey_profile())
    assert decode(data).getpixel((3, 3)) == pytest.approx((128, 128, 128), abs=2)


def test_large_jpeg_comes_at_half_its_size() -> None:
    small = drawn(40, 50, detail=10)
    large = small.resize((4000, 5000), Image.Resampling.BICUBIC)
    data = saved(large, "JPEG", quality=90)
    image = decode(data)
    assert image.size == (2000, 2500)
    assert difference(image, large.resize((2000, 2500))) <= 3
    assert image.tobytes() == decode(data).tobytes()
    assert decode(saved(large.crop((0, 0, 4000, 4000)), "JPEG")).size == (4000, 4000)


# I5: the first frame, and no work for the others


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "AVIF"])
def test_animation_gives_its_first_frame(format: str) -> None:
    settings = {"PNG": 0, "GIF": 10, "WEBP": 10, "AVIF": 10}
    assert difference(decode(corpus.animation(format)), drawn(48, 32)) <= settings[format]


def test_ten_thousand_frames() -> None:
    gif = saved(drawn(48, 32).quantize(4), "GIF")
    frame = gif[gif.index(b",\0\0\0\0") : -1]
    long = gif[:-1] + frame * 9_999 + b";"
    assert formats.inspect(long).pixels == formats.inspect(gif).pixels
    start = time.process_time()
    assert difference(decode(long), decode(gif)) == 0
    assert time.process_time() - start < 2


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_damage_in_a_later_frame_is_never_met(format: str) -> None:
    data = bytearray(corpus.animation(format))
    data[-60:-30] = bytes(30)
    if format == "GIF":  # the lengths of its blocks must stay
        data = bytearray(corpus.animation(format))
        data[-40:-10] = bytes([data[-41]]) * 30
    assert difference(decode(bytes(data)), decode(corpus.animation(format))) == 0


# I6: refused with a helpful sentence (other formats: test_formats)

SHAPES = {
    (1, 1): ("TOO_SMALL", "1 x 1; each side needs at least 16 pixels"),
    (15, 16): ("TOO_SMALL", "15 x 16; each side needs at least 16 pixels"),
    (1, 10_000): ("TOO_SMALL", "1 x 10000; each side needs at least 16 pixels"),
    (16, 801): ("ODD_SHAPE", "16 x 801; the limit is 50 times as long as wide; crop it"),
}


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_shapes(format: str, size: tuple[int, int]) -> None:
    error = refusal(saved(Image.new("RGB", size), format))
    assert (error.code, error.sentence) == SHAPES[size]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_smallest_and_longest_that_are_accepted(format: str) -> None:
    assert decode(saved(Image.new("RGB", (16, 16)), format)).size == (16, 16)
    assert decode(saved(Image.new("RGB", (800, 16)), format)).size == (800, 16)


def test_damage_is_named() -> None:
    data = bytearray(good()["png alpha"])
    data[1000:1010] = bytes(10)
    error = refusal(bytes(data))
    assert error.code == "DAMAGED"
    assert "0x" not in error.sentence


def test_a_palette_that_is_missing() -> None:
    """Pillow loads it, and fails an assertion of its own when asked about transparency."""
    data = corpus.png(16, 16, colour=3, pixels=zlib.compress(bytes(17 * 16)))
    assert refusal(data).code == "DAMAGED"


def test_read(tmp_path: Path) -> None:
    photo = tmp_path / "photo.txt"  # the name says nothing
    photo.write_bytes(good()["jpeg"])
    assert read_file(photo) == good()["jpeg"]
    assert difference(decode(photo), decode(good()["jpeg"])) == 0
    for path in (tmp_path, tmp_path / "none.jpg", tmp_path / "a\0b.jpg"):
        assert refusal(path).code == "UNREADABLE"


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(20_000_001)
    assert refusal(large).code == "TOO_LARGE"
    with large.open("wb") as file:
        file.truncate(2**40)  # a sparse terabyte
    assert refusal(large).sentence == "1099511.6 MB; the limit is 20 MB; save a smaller copy"
    assert refusal(good()["jpeg"] + bytes(20_000_000)).code == "TOO_LARGE"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this file system")
def test_a_pipe_or_device_is_no_photo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        assert refusal(path).sentence == f"{path} is not a file"


# I7: cut files


@pytest.mark.parametrize("name", good())
def test_no_cut_is_accepted(name: str) -> None:
    data = good()[name]
    if name == "jpeg mpo":  # the second picture may be missing: the first one is whole
        data = data[: data.index(b"\xff\xd9") + 2]
    for percent in range(1, 100):
        error = refusal(data[: len(data) * percent // 100])
        tiny = len(data) * percent // 100 < 16
        allowed = {"TRUNCATED"}
        if tiny:  # the first bytes of a format alone, or of a box that a video begins with, too
            allowed |= {"NOT_AN_IMAGE", "UNSUPPORTED_FORMAT"}
        assert error.code in allowed, f"{percent} %: {error}"


def test_only_the_decoder_of_that_format_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, plain_open = [], Image.open
    monkeypatch.setattr(
        Image, "open", lambda file, **how: tried.append(how["formats"]) or plain_open(file, **how)
    )
    for name, data in good().items():
        decode(data)
        assert tried.pop() == (name.split()[0],)


def test_truncated_images_of_pillow_stay_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        decode(good()["jpeg"])


# I8: two files in one


def _located() -> bytes:
    tags = Image.Exif()
    tags[0x010F] = "camera of <script"
    tags.get_ifd(0x8825)[1] = "N"
    return tags.tobytes()


POLYGLOTS = {
    "html in a comment": lambda: saved(drawn(), "JPEG", comment=b"<script>alert(1)</script>"),
    "php in a comment": lambda: saved(drawn(), "JPEG", comment=b"<?php system($_GET[0]); ?>"),
    "zip behind a png": lambda: good()["png"] + corpus.zipped("a.html", b"<script"),
    "jar behind a gif": lambda: good()["gif"] + corpus.zipped("A.class", b"%PDF"),
    "pdf in a png": lambda: corpus.png(
        64, 64, before=[corpus.chunk(b"tEXt", b"%PDF-1.7\0<script")]
    ),
    "place in exif": lambda: saved(drawn(), "JPEG", exif=_located()),
    "profile": lambda: saved(drawn(), "PNG", icc_profile=corpus.profile(True) + b"<script"),
}
FORBIDDEN = (
    b"<script",
    b"<?php",
    b"PK\x03\x04",
    b"%PDF",
    b"Exif",
    b"eXIf",
    b"ICC_PROFILE",
    b"iCCP",
)


@pytest.mark.parametrize("name", POLYGLOTS)
def test_polyglots_are_accepted_and_come_out_clean(name: str) -> None:
    data = POLYGLOTS[name]()
    assert any(word in data for word in FORBIDDEN)
    image = decode(data)
    assert image.info == {}
    with Image.open(BytesIO(data)) as loaded:
        for source in (image, loaded):
            for format in ("jpeg", "png"):
                out = encode(source, format)
                assert not [word for word in FORBIDDEN if word in out]


def test_encode_keeps_the_pixels() -> None:
    photo = drawn(200, 120)
    assert difference(decode(encode(photo, "png")), photo) == 0
    assert difference(decode(encode(photo, quality=95)), photo) <= 5
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8))
    assert decode(encode(noise)).size == (500, 500)


# I9: the decoder's own faults


def test_pillow_is_not_older_than_its_last_repairs() -> None:
    assert tuple(int(part) for part in PIL.__version__.split(".")[:2]) >= (12, 3)


# The one resize


def test_fit_is_what_fastai_does_to_validate() -> None:
    from fastai.vision.augment import Resize
    from fastai.vision.core import PILImage

    sizes = [
        (96, 64),
        (64, 96),
        (224, 224),
        (225, 300),
        (499, 333),
        (49, 98),
        (16, 800),
        (1023, 767),
    ]
    rng = np.random.default_rng(0)
    sizes += [(int(w), int(h)) for w, h in rng.integers(16, 700, (40, 2))]
    for width, height in sizes:
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        for size in (224, 49, 128):
            theirs = Resize(size)(PILImage.create(pixels), split_idx=1)
            ours = fit_square(Image.fromarray(pixels), size)
            assert ours.size == (size, size)
            assert np.array_equal(np.asarray(theirs), np.asarray(ours)), (width, height, size)


def test_fit_takes_the_middle() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    assert fit_square(wide, 50).getcolors() == [(2500, (0, 0, 255))]


def test_fit_takes_a_share_of_the_middle() -> None:
    framed = Image.new("RGB", (300, 100), "red")
    framed.paste("blue", (110, 10, 190, 90))
    assert fit_square(framed, 40, 0.8).getcolors() == [(1600, (0, 0, 255))]
    assert len(fit_square(framed, 40, 0.9).getcolors()) > 1
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8))
    smooth, sharp = (np.asarray(fit_square(grey, 32, 1.0, way)) for way in ("bilinear", "bicubic"))
    assert sharp.std() > smooth.std() + 1  # of noise cubic weights keep more


# The hash


def distance(one: str, other: str) -> int:
    first, second = hash_bits([one, other])
    return int(np.bitwise_count(first ^ second).sum())


def test_copies_are_near_and_others_far() -> None:
    for seed in range(20):
        photo = drawn(400, 300, seed, detail=50)
        mine = dhash(photo)
        copies = [
            decode(encode(photo, quality=30)),
            photo.resize((180, 140)),
            photo.crop((2, 2, 398, 297)),
            photo.point([min(255, int(value * 1.1)) for value in range(256)] * 3),
        ]
        assert len(mine) == 100
        assert max(distance(mine, dhash(copy)) for copy in copies) <= NEAR
        assert distance(mine, dhash(drawn(400, 300, seed + 100, detail=50))) > 2 * NEAR


def test_hash_by_hand() -> None:
    """Brighter to the right, no change downwards: one full plane of four."""
    ramp = np.tile(np.linspace(0, 255, 110).astype(np.uint8), (100, 1))
    bits = np.unpackbits(hash_bits([dhash(Image.fromarray(ramp))])).reshape(4, 100)
    assert bits.sum(axis=1).tolist() == [100, 0, 0, 0]
    bits = np.unpackbits(hash_bits([dhash(Image.fromarray(ramp.T[::-1].copy()))])).reshape(4, 100)
    assert bits.sum(axis=1).tolist() == [0, 0, 0, 100]


def test_faint_noise_on_paper_is_no_difference() -> None:
    noise = np.random.default_rng(0).integers(250, 256, (300, 300, 3), np.uint8)
    assert dhash(Image.fromarray(noise)) == "0" * 100


def test_mirrored_hashes_are_those_of_mirrored_pictures() -> None:
    pictures = [drawn(300, 200, seed, detail=40) for seed in range(30)]
    flipped = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
    expected = hash_bits([dhash(picture) for picture in flipped])
    found = mirrored(hash_bits([dhash(picture) for picture in pictures]))
    assert found.shape == expected.shape == (30, 50)
    assert np.bitwise_count(found ^ expected).sum(axis=1).max() <= 4
    assert (mirrored(found) == hash_bits([dhash(picture) for picture in pictures])).all()


def test_hash_bits_of_nothing() -> None:
    assert hash_bits([]).shape == (0, 50)
    assert mirrored(hash_bits([])).shape == (0, 50)


def test_threads_give_the_same_pictures() -> None:
    expected = {name: decode(data).tobytes() for name, data in good().items()}
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(
                name for name, data in good().items() if decode(data).tobytes() != expected[name]
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
