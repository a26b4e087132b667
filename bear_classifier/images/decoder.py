"""The one image decoder, and the one resize for training, features and serving.

`decode` gives an upright sRGB picture without transparency, or a `PhotoError` with one of these:

EMPTY_FILE          0 bytes
NOT_AN_IMAGE        a web page, a text, an archive, a program, noise
UNSUPPORTED_FORMAT  a picture or video of a kind that is not read; the sentence names the way out
TRUNCATED           the end of the file is missing
TOO_LARGE           more bytes than the limit
TOO_MANY_PIXELS     more pixels, a longer side or more memory than the limit
TOO_SMALL           a side shorter than 16 pixels
ODD_SHAPE           more than 50 times as long as wide
TOO_COMPLEX         more scans, chunks or blocks than any camera writes: it would take too long
DAMAGED             the decoder cannot make sense of the content
UNREADABLE          the file cannot be opened: missing, a folder, no permission
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from bear_classifier.errors import PhotoError
from bear_classifier.images import formats, heic
from bear_classifier.images.formats import Inspected
from bear_classifier.images.formats import format_of as format_of
from bear_classifier.images.formats import format_of_stranger as format_of_stranger
from bear_classifier.runtime.files import printable

MAX_BYTES = 20_000_000
MEGAPIXELS = {"jpeg": 64, "png": 24, "gif": 24, "bmp": 24, "avif": 24, "webp": 16, "heic": 50}
DEEP_AVIF = 16  # megapixels: 10 and 12 bits take twice the memory
PIXEL_LIMITS = (16, 16_384)
MAX_ASPECT = 50
MAX_SCANS = 100
MAX_SCAN_MEGAPIXELS = 1_500  # scans x megapixels, about 2 s; a progressive photo of 64 has 640
MAX_COEFFICIENTS = 200_000_000  # bytes; a progressive photo of 64 megapixels (4:2:0) has 192
FULL_PIXELS = 16_000_000  # a JPEG with more is halved while it is decoded

# What Pillow raises for broken content: in our mutation tests (AttributeError in place of
# AssertionError under python -O), and by its source.
BROKEN = (
    *(OSError, ValueError, SyntaxError, RuntimeError, AssertionError, AttributeError),
    *(TypeError, LookupError, EOFError, ArithmeticError, struct.error, zlib.error),
)
_TOO_BIG = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_file(path: Path) -> bytes:
    """The bytes of a photo; never many more than the limit, whatever the path leads to."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise PhotoError("UNREADABLE", _no_file(path, facts.st_mode))
        check_bytes(facts.st_size)
        with io.BufferedReader(io.FileIO(path, opener=_at_once)) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        if path.as_posix().startswith(("http:/", "https:/")):
            taken = "files and folders of this computer are taken"
            advice = f"{taken}: save the picture, then name the file"
            raise PhotoError("UNREADABLE", f"{path} is an address; {advice}") from exc
        why = (isinstance(exc, OSError) and exc.strerror) or str(exc)
        raise PhotoError("UNREADABLE", f"{printable(path)} cannot be opened: {why}") from exc
    check_bytes(len(data))
    return data


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer: a pipe may have taken the place of the file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _no_file(path: Path, mode: int) -> str:
    name = printable(path)
    if not stat.S_ISDIR(mode):
        return f"{name} is not a file"
    try:
        os.scandir(path).close()
    except OSError as exc:
        return f"{name} is a folder that cannot be opened: {exc.strerror}"
    if path.is_symlink():
        return f"{name} is a link to a folder, which is not followed; name that folder"
    return f"{name} is a folder, not a file"


def check_bytes(size: int) -> None:
    """Raises PhotoError (TOO_LARGE)."""
    if size > MAX_BYTES:
        limit = f"the limit is {MAX_BYTES // 1_000_000} MB; save a smaller copy"
        raise PhotoError("TOO_LARGE", f"{size / 1e6:.1f} MB; {limit}")


def decode(source: bytes | Path) -> Image.Image:
    """RGB, upright, sRGB, no transparency, no metadata; of an animation the first frame.

    A JPEG of more than 16 megapixels comes at half its width and height. Content raises PhotoError
    only; at most 300 MB are held."""
    return decode_with_size(source)[0]


def decode_with_size(
    source: bytes | Path, least: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """As `decode`, and the width and height of the upright picture in the file.

    least: pixels that suffice for the shorter side: a JPEG may come at 1/2, 1/4 or 1/8 if so many
    remain, which is quicker; all of its data is read all the same."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES lets cut photos pass as whole")
    data = read_file(source) if isinstance(source, Path) else source
    check_bytes(len(data))
    file = formats.inspect(data)
    del data
    if file.size != (0, 0):
        check_size(file.format, *file.size, file.deep)
    _check_scans(file)
    if file.format == "heic":
        return heic.decode(file.pixels, least)
    try:
        return _upright_rgb(file, least)
    except _TOO_BIG as exc:
        limit = MEGAPIXELS[file.format]
        raise PhotoError("TOO_MANY_PIXELS", f"the limit is {limit} megapixels") from exc
    except MemoryError as exc:
        raise PhotoError("TOO_MANY_PIXELS", "there is not enough memory to decode it") from exc
    except BROKEN as exc:
        if re.search("truncated|not enough image data", str(exc), re.IGNORECASE):
            raise PhotoError("TRUNCATED", "its end is missing; download or copy it again") from exc
        why = "its header" if isinstance(exc, UnidentifiedImageError) else f"its content: {exc}"
        raise PhotoError("DAMAGED", f"{file.format} with an error in {why}") from exc


def opened(source: Any, least: int | None = None) -> Image.Image:
    """A picture as `decode` returns it, from any source that a program may hold.

    source: the name of a file (str or PathLike), its content (bytes), a PIL image, or an array
    (height, width) or (height, width, 3 or 4) of uint8, red first. Raises PhotoError
    (NOT_AN_IMAGE for another type). least: as `decode_with_size`."""
    if isinstance(source, (str, os.PathLike)):
        return decode_with_size(Path(os.fsdecode(source)), least)[0]
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode_with_size(bytes(source), least)[0]
    if isinstance(source, np.ndarray):
        source = _of_array(source)
    if not isinstance(source, Image.Image) or source.mode == "F":
        mode = f" of mode {source.mode}" if isinstance(source, Image.Image) else ""
        kind = f"a value of type {type(source).__name__}{mode} is no picture"
        give = "the name of a file, its bytes, a PIL image, or an array (height, width, 3) of uint8"
        raise PhotoError("NOT_AN_IMAGE", f"{kind}; give {give}")
    check_size("jpeg", *source.size)
    try:
        image = to_srgb(flat(source.copy()), source.info.get("icc_profile"))
        turn = _TURNS.get(source.getexif().get(274, 1))
    except BROKEN as exc:
        raise PhotoError("DAMAGED", f"the PIL image cannot be read: {exc}") from exc
    return _turned(image, turn)


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    image = image.transpose(turn) if turn is not None else image
    image.info = {}
    return image


def _of_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not fits or not pixels.size:
        kind = f"an array {pixels.shape} of {pixels.dtype} is no picture"
        give = "(height, width, 3) of uint8, 0 to 255, red first"
        raise PhotoError("NOT_AN_IMAGE", f"{kind}; give {give}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def check_size(format: str, width: int, height: int, deep: bool = False) -> None:
    """Raises PhotoError (TOO_MANY_PIXELS, TOO_SMALL, ODD_SHAPE). deep: as in `Inspected`."""
    limit, (least, most) = DEEP_AVIF if deep else MEGAPIXELS[format], PIXEL_LIMITS
    size = f"{width} x {height}"
    if width * height > limit * 1_000_000:
        why = " for AVIF of 10 or 12 bits; save as JPEG" if deep else ""
        if format == "webp":
            why = " for WebP, whose decoder takes 16 bytes a pixel; save as JPEG"
        amount = f"{math.ceil(width * height / 1e5) / 10:.1f}".removesuffix(".0")
        too_many = f"{size} is {amount} megapixels; the limit is {limit}{why}"
        raise PhotoError("TOO_MANY_PIXELS", too_many)
    if max(width, height) > most:
        raise PhotoError("TOO_MANY_PIXELS", f"{size}; the limit for a side is {most} pixels")
    if min(width, height) < least:
        raise PhotoError("TOO_SMALL", f"{size}; each side needs at least {least} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        rule = f"the limit is {MAX_ASPECT} times as long as wide; crop it"
        raise PhotoError("ODD_SHAPE", f"{size}; {rule}")


def _check_scans(file: Inspected) -> None:
    if file.scans > MAX_SCANS:
        raise PhotoError("TOO_COMPLEX", f"{file.scans} scans; the limit is {MAX_SCANS}")
    megapixels = file.size[0] * file.size[1] / 1e6
    if file.scans * megapixels > MAX_SCAN_MEGAPIXELS:
        many = f"{file.scans} scans of {megapixels:.0f} megapixels"
        limit = f"the limit for scans x megapixels is {MAX_SCAN_MEGAPIXELS}"
        raise PhotoError("TOO_COMPLEX", f"{many}; {limit}; save it again as an ordinary JPEG")
    if file.coefficients > MAX_COEFFICIENTS:
        needed = f"a progressive JPEG that takes {file.coefficients / 1e6:.0f} MB to decode"
        limit = f"the limit is {MAX_COEFFICIENTS // 1_000_000}; save it as baseline JPEG or smaller"
        raise PhotoError("TOO_MANY_PIXELS", f"{needed}; {limit}")


# EXIF orientation: what makes the stored picture upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = [_TURNS[tag] for tag in (5, 6, 7, 8)]


def _upright_rgb(file: Inspected, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    opened = Image.open(BytesIO(file.pixels), formats=(file.format,))
    check_size(file.format, *opened.size, file.deep)
    width, height = opened.size
    if file.format == "jpeg":
        opened.draft(None, smaller(*opened.size, least))
    opened.load()
    turn = _TURNS.get(formats.orientation(file.exif or opened.info.get("exif", b"")))
    icc, image = opened.info.get("icc_profile"), flat(opened)
    del opened  # and its memory, before the next copy
    image = _turned(to_srgb(image, icc), turn)
    return image, (height, width) if turn in _SIDEWAYS else (width, height)


def smaller(width: int, height: int, least: int | None) -> tuple[int, int]:
    """The size to ask the decoder for, which divides by 1, 2, 4 or 8 and returns no less."""
    halves = 1 if width * height > FULL_PIXELS else 0
    while least is not None and halves < 3 and min(width, height) >> (halves + 1) >= least:
        halves += 1
    return width >> halves, height >> halves


_BAND = 256  # rows


def flat(image: Image.Image) -> Image.Image:
    """The picture as L, RGB or CMYK: 16 bits scaled, not clipped; transparency over white."""
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.mode == "CMYK":
        return image
    plain = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if not image.has_transparency_data:
        return image.convert(plain)
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of a 16-bit RGB PNG, which Pillow has scaled
        image.info["transparency"] = tuple(value >> 8 for value in key)
    white = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _BAND):  # by bands: a second whole copy would be too much
        band = image.crop((0, top, image.width, min(top + _BAND, image.height))).convert("RGBA")
        white.paste(band, (0, top), band)
    return white if plain == "RGB" else white.convert(plain)


def _eight_bits(image: Image.Image) -> Image.Image:
    wide = np.asarray(image)
    key = image.info.get("transparency")
    small = (wide >> 8).astype(np.uint8)
    if key is not None:
        small[wide == key] = 255
    return Image.fromarray(small)


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Converted by the colour profile, where it is usable and fits the picture."""
    if not icc:
        return image if image.mode == "RGB" else image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        fits = _SPACES.get(profile.profile.xcolor_space) == image.mode
        if fits and not (profile.profile.profile_description or "").startswith("sRGB"):
            transform = ImageCms.buildTransform(profile, _SRGB, image.mode, "RGB")
            return transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return image.convert("RGB")


def fit_square(
    image: Image.Image, size: int, crop: float = 1.0, interpolation: str = "bilinear"
) -> Image.Image:
    """The middle square, then resized to size x size. With all of the shorter side (crop 1.0), and
    bilinear, as fastai's Resize does to validate: with the division before the multiplication,
    which can cost a pixel to rounding. crop, interpolation: as of `Preprocessing`."""
    width, height = image.size
    side = max(1, int(min(width / size, height / size) * size * crop))
    left, top = int(0.5 * (width - side)), int(0.5 * (height - side))
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling[interpolation.upper()])


def largest() -> bytes:
    """The most expensive picture within the limits: a PNG of as many pixels, half clear."""
    image = Image.new("P", (6000, MEGAPIXELS["png"] * 1_000_000 // 6000))
    file = BytesIO()
    image.save(file, "png", transparency=b"\x80", bits=8, compress_level=1)
    return file.getvalue()


def encode(image: Image.Image, format: Literal["jpeg", "png"] = "jpeg", quality: int = 90) -> bytes:
    """The pixels as a new file, without EXIF, comments, profile or other metadata."""
    bare = image.convert("RGB")
    bare.info = {}
    file = BytesIO()
    bare.save(file, format, quality=quality)
    return file.getvalue()
