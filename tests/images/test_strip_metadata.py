"""Photos without metadata: what they show stays, in every format, and nothing else of it does."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import ROOT, animation, app_segment, chunk, drawn, mutations, saved, with_segment
from PIL import Image, ImageCms, ImageSequence, PngImagePlugin

from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder, formats
from bear_classifier.images.strip_metadata import without_metadata

SECRET = b"SECRET of the photographer"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def tagged(turn: int = 1) -> bytes:
    """EXIF with a place, a comment, and an orientation."""
    tags = Image.Exif()
    tags[0x0112] = turn
    tags[0x010E] = SECRET.decode()
    tags.get_ifd(0x8825)[1] = "N"
    tags.get_ifd(0x8825)[2] = (47.0, 22.0, 7.0)
    return tags.tobytes()


def frames(data: bytes) -> list[tuple[Any, ...]]:
    """What Pillow shows of every frame: pixels as stored, how long, with which profile."""
    image = Image.open(BytesIO(data))
    return [
        (np.asarray(frame.convert("RGBA")).tobytes(), frame.size, frame.info.get("duration"),
         frame.info.get("loop"), frame.info.get("icc_profile"), frame.info.get("gamma"))
        for frame in ImageSequence.Iterator(image)
    ]  # fmt: skip


def checked(data: bytes) -> bytes:
    """Without metadata, after everything that holds of every photo was looked at."""
    bare = without_metadata(data)
    assert SECRET not in bare
    assert b"GPS" not in bare
    assert frames(bare) == frames(data)
    before, after = decoder.decode(data), decoder.decode(bare)
    assert (after.size, after.tobytes()) == (before.size, before.tobytes())
    assert without_metadata(bare) == bare
    return bare


TEXTS = PngImagePlugin.PngInfo()
TEXTS.add_text("Comment", SECRET.decode())
TEXTS.add_itxt("XML:com.adobe.xmp", SECRET.decode(), zip=True)
XMP = b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"comment": SECRET, "xmp": XMP, "icc_profile": PROFILE, "dpi": (300, 300)},
    "PNG": {"pnginfo": TEXTS, "icc_profile": PROFILE, "dpi": (300, 300)},
    "WEBP": {"xmp": XMP, "icc_profile": PROFILE},
    "AVIF": {"xmp": XMP, "icc_profile": PROFILE},
}


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", list(SETTINGS))
def test_the_orientation_is_the_only_tag_that_stays(format: str, turn: int) -> None:
    photo = saved(drawn(48, 32, seed=turn), format, exif=tagged(turn), **SETTINGS[format])
    bare = checked(photo)
    opened = Image.open(BytesIO(bare))
    assert opened.info.get("icc_profile") == PROFILE
    if format in ("JPEG", "PNG"):
        assert opened.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    tags = dict(opened.getexif())
    if format == "AVIF":  # where boxes turn the picture, as Pillow writes them
        assert tags.keys() <= {0x0112}
    else:
        assert tags == ({0x0112: turn} if turn > 1 else {})


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_photo_without_metadata_is_the_same_file(format: str) -> None:
    photo = saved(drawn(48, 32), format)
    assert without_metadata(photo) is photo
    if format == "JPEG":
        plain = saved(drawn(48, 32), format, exif=without_other_tags())
        bare = without_metadata(plain)
        assert without_metadata(bare) is bare


def without_other_tags() -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags.tobytes()


def test_jpeg_what_no_library_writes() -> None:
    plain = saved(drawn(64, 48), "JPEG")
    preview = plain[:4] + struct.pack(">H", 16 + 3) + plain[6:18] + b"\1\1" + b"\x11\x22\x33"
    assert plain[4:11] == b"\0\x10JFIF\0"
    for photo in (
        plain + SECRET,  # behind the end, where phones keep a film
        with_segment(plain, app_segment(13, b"Photoshop 3.0\0" + SECRET)),
        with_segment(plain, app_segment(2, b"MPF\0" + SECRET)),
        with_segment(plain, app_segment(0, b"JFXX\0" + SECRET)),
        preview + plain[20:],
    ):
        assert checked(photo) == plain


def test_jpeg_comments_between_scans() -> None:
    plain = saved(drawn(64, 48), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    comment = b"\xff\xfe" + struct.pack(">H", len(SECRET) + 2) + SECRET
    assert checked(plain[:last] + comment + plain[last:]) == plain


def test_cmyk_keeps_the_mark_of_adobe() -> None:
    photo = saved(drawn(48, 32).convert("CMYK"), "JPEG", exif=tagged(6))
    assert b"Adobe\0" in checked(photo)


def test_png_keeps_what_decides_on_colours() -> None:
    plain = saved(drawn(48, 32), "PNG")
    gamma, own = chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"prVt", SECRET)
    when = chunk(b"tIME", struct.pack(">HBBBBB", 2026, 11, 30, 1, 2, 3))
    head = plain[:33]
    assert checked(head + gamma + own + when + plain[33:] + SECRET) == head + gamma + plain[33:]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_animations_keep_their_frames(format: str) -> None:
    more = {"loop": 3, "save_all": True, "duration": 50}
    images = [drawn(48, 32, seed) for seed in range(4)]
    comment = {"comment": SECRET} if format == "GIF" else {"exif": tagged()}
    photo = saved(images[0], format, append_images=images[1:], **more, **comment)
    assert SECRET in photo
    bare = checked(photo)
    assert len(frames(bare)) == 4
    assert Image.open(BytesIO(bare)).info["loop"] == 3


def test_gif_applications_and_trailing_bytes() -> None:
    photo = animation("GIF")
    xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\0"
    start = photo.index(b"\x21\xf9")
    assert without_metadata(photo) == photo
    assert checked(photo[:start] + xmp + photo[start:] + SECRET) == photo


def test_avif_keeps_every_offset() -> None:
    photo = saved(drawn(48, 32), "AVIF", exif=tagged(1), xmp=XMP)
    bare = checked(photo)
    assert len(bare) == len(photo)
    box = struct.pack(">I4s", 8 + len(SECRET), b"uuid") + SECRET
    assert len(checked(photo + box)) == len(photo + box)
    moving = animation("AVIF")
    assert checked(moving)


def test_heic() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="photos in HEIC: the extra [heic]")
    file = BytesIO()
    image = pillow_heif.from_pillow(drawn(64, 48))
    image.info["exif"], image.info["xmp"] = tagged(1), XMP
    image.save(file, format="HEIF", quality=90)
    photo = file.getvalue()
    assert formats.format_of(photo) == "heic"
    assert SECRET in photo
    bare = without_metadata(photo)
    assert SECRET not in bare
    assert len(bare) == len(photo)
    before, after = decoder.decode(photo), decoder.decode(bare)
    assert (after.size, after.tobytes()) == (before.size, before.tobytes())
    assert without_metadata(bare) == bare


@pytest.mark.parametrize(
    "cut", [lambda d: d[: len(d) // 2], lambda d: d[:40], lambda d: b"<html>" + d, lambda d: b""]
)
def test_a_damaged_photo_is_refused(cut: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PhotoError):
        without_metadata(cut(saved(drawn(48, 32), "JPEG", exif=tagged())))


def test_whatever_a_file_holds_it_is_a_photo_or_an_error() -> None:
    for data in mutations(400, 11):
        with suppress(PhotoError):
            bare = without_metadata(data)
            assert len(bare) <= len(data) + 100


@pytest.mark.real
def test_real_photos_are_shown_as_before() -> None:
    paths = sorted((ROOT.parent / "shared" / "photos" / "bears").rglob("*.*"))[::29]
    changed = 0
    for path in paths:
        data = Path(path).read_bytes()
        try:
            before = decoder.decode(data)
        except PhotoError:
            continue
        bare = without_metadata(data)
        assert decoder.decode(bare).tobytes() == before.tobytes(), path
        assert not dict(Image.open(BytesIO(bare)).getexif()).keys() - {0x0112}, path
        assert len(bare) <= len(data) + 40
        changed += bare != data
    assert 0 < changed < len(paths)
