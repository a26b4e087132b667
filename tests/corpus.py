"""Pictures that the tests draw themselves: good, odd, cut, malicious; and decoding in a child.

`python tests/corpus.py mutate N SEED | folder PATH | files PATH...` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 1_500_000_000  # bytes of address space of a child
SHIFT = int(os.environ.get("BEARS_TEST_SEED") or 0)  # 0 or more


def seeded(seed: int) -> int:
    """That seed of drawn photos or of a training, shifted by BEARS_TEST_SEED: what a test asserts
    may not depend on one draw."""
    return seed + 1_000 * SHIFT


def drawn(width: int = 96, height: int = 64, seed: int = 0, detail: int = 8) -> Image.Image:
    """A smooth colour picture without any symmetry, so that each of the eight turns shows."""
    rng = np.random.default_rng(seeded(seed))
    small = rng.integers(0, 256, (max(2, height // detail), max(2, width // detail), 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, format: str, **settings: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def animation(format: str, frames: int = 4) -> bytes:
    first, *rest = (drawn(48, 32, seed) for seed in range(frames))
    return saved(first, format, save_all=True, append_images=rest, duration=50)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes = b"",
        before: Iterable[bytes] = ()) -> bytes:  # fmt: skip
    """A PNG put together by hand: its header may promise more than its data holds."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", pixels or zlib.compress(b"\0" * ((width * 3 + 1) * height)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + data + chunk(b"IEND", b"")


def png_bomb(side: int) -> bytes:
    """One bit a pixel, all white, true to its header: some kilobytes that unpack to side x side."""
    row = b"\0" + b"\xff" * ((side + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, 1, 0, packed)


def png_16(values: np.ndarray, before: Iterable[bytes] = ()) -> bytes:
    """values: (h, w) or (h, w, 3) of uint16."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    height, width = values.shape[:2]
    return png(width, height, 16, 0 if values.ndim == 2 else 2, zlib.compress(rows), before)


def lfs_pointer() -> bytes:
    """What a clone without git-lfs holds in place of a file."""
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 9012345\n" % 7


def zipped(name: str, content: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def app_segment(number: int, body: bytes) -> bytes:
    return bytes((0xFF, 0xE0 + number)) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, segment: bytes) -> bytes:
    return jpeg[:2] + segment + jpeg[2:]


def scan_bomb(image: Image.Image, extra: int) -> bytes:
    """A progressive JPEG whose last scan comes extra times more, with all its cost."""
    data = saved(image, "JPEG", progressive=True, quality=40)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * extra + b"\xff\xd9"


def exif_bomb() -> bytes:
    """60 KB of EXIF in which 5,000 tags all point to the same 50 KB."""
    tags = b"".join(struct.pack("<HHII", 1000 + n, 7, 50_000, 8) for n in range(5_000))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5_000) + tags + b"\0\0\0\0"


def gif_comment(gif: bytes, blocks: int) -> bytes:
    """A comment of blocks x 255 bytes in front of the first frame."""
    start = 13 + (3 << (gif[10] & 7) + 1 if gif[10] & 128 else 0)
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * blocks + b"\0"
    return gif[:start] + comment + gif[start:]


def rle_bmp(width: int, height: int, data: bytes) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    grey = b"".join(bytes((n, 255 - n, n, 0)) for n in range(256))
    offset = 14 + 40 + len(grey)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + grey + data


def profile(swapped: bool = False) -> bytes:
    """sRGB as a colour profile; swapped: red and blue change places, which nobody can overlook."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if not swapped:
        return data
    data = data.replace(b"rXYZ", b"?XYZ", 1).replace(b"bXYZ", b"rXYZ", 1)
    data = data.replace(b"?XYZ", b"bXYZ", 1)
    return data.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def linear_grey_profile() -> bytes:
    """A profile in which the values of a grey picture are amounts of light: gamma 1."""
    curve = b"curv\0\0\0\0\0\0\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    header = bytearray(128)
    header[:44] = struct.pack(
        ">I4sI4s4s4s12s4s4s", 0, b"test", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"", b"acsp", b""
    )
    header[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", start, 20, b"kTRC", start + 20, len(curve))
    header[:4] = struct.pack(">I", start + 20 + len(curve))
    return bytes(header) + tags + white + curve


@cache
def good() -> dict[str, bytes]:
    """One small file of each kind that decode accepts, by name; the first word is its format."""
    photo = drawn()
    clear = photo.copy()
    clear.putalpha(photo.getchannel(0))
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 400, zip=True)
    return {
        "jpeg": saved(photo, "JPEG"),
        "jpeg progressive": saved(photo, "JPEG", progressive=True),
        "jpeg grey": saved(photo.convert("L"), "JPEG"),
        "jpeg cmyk": saved(photo.convert("CMYK"), "JPEG"),
        "jpeg exif icc": saved(photo, "JPEG", exif=exif(6), icc_profile=profile(True)),
        "jpeg mpo": saved(photo, "MPO", save_all=True, append_images=[drawn(seed=1)]),
        "png": saved(photo, "PNG", pnginfo=text),
        "png alpha": saved(clear, "PNG", exif=exif(5)),
        "png palette": saved(photo.quantize(16), "PNG", transparency=3),
        "png 16": png_16(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20),
        "png icc": saved(photo, "PNG", icc_profile=profile(True)),
        "png animated": animation("PNG"),
        "webp": saved(photo, "WEBP", exif=exif(3)),
        "webp alpha icc": saved(clear, "WEBP", lossless=True, icc_profile=profile(True)),
        "webp animated": animation("WEBP"),
        "gif": saved(photo.quantize(32), "GIF", transparency=1),
        "gif animated": animation("GIF"),
        "bmp": saved(photo, "BMP"),
        "bmp palette": saved(photo.quantize(16), "BMP"),
        "bmp rle": rle_bmp(40, 20, b"\x14\x05\x14\xf0\0\0" * 20 + b"\0\1"),
        "avif": saved(photo, "AVIF", exif=exif(8)),
        "avif alpha": saved(clear, "AVIF"),
        "avif animated": animation("AVIF"),
    }


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Bytes changed, cut, inserted, repeated, or the header overwritten."""
    out = bytearray(data)
    kind = dice.randrange(7)
    at = dice.randrange(len(out))
    if kind == 0:
        for _ in range(dice.randint(1, 8)):
            out[dice.randrange(len(out))] = dice.randrange(256)
    elif kind == 1:
        for _ in range(dice.randint(1, 4)):
            out[dice.randrange(min(len(out), 200))] = dice.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
    elif kind == 2:
        del out[at:]
    elif kind == 3:
        out[at:at] = dice.randbytes(dice.randint(1, 32))
    elif kind == 4:
        out[at : at + 4] = dice.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
    elif kind == 5:
        out[at:at] = out[at : at + dice.randint(1, 200)]
    else:
        del out[at : at + dice.randint(1, 64)]
    return bytes(out)


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """AVIF and colour profiles take long, so they come less often."""
    dice = random.Random(seed)
    seeds = [
        data
        for name, data in good().items()
        for _ in range(1 if "avif" in name or "icc" in name else 6)
    ]
    return (mutated(dice.choice(seeds), dice) for _ in range(count))


def peak() -> int:
    """Bytes, the most that this process held. On Linux ru_maxrss would count the parent too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _decode_all(sources: Iterable[bytes | Path]) -> dict[str, Any]:
    from bear_classifier.errors import PhotoError
    from bear_classifier.images.decoder import decode

    for data in good().values():  # what is loaded once is not counted
        decode(data)
    codes: Counter[str] = Counter()
    before, slowest = peak(), 0.0
    for source in sources:
        start = time.perf_counter()
        try:
            image = decode(source)
            codes["ok" if image.mode == "RGB" else image.mode] += 1
        except PhotoError as exc:
            codes[exc.code] += 1
        slowest = max(slowest, time.perf_counter() - start)
    return {"codes": codes, "slowest": slowest, "extra": peak() - before, "peak": peak()}


def in_child(*arguments: str, timeout: float = 120) -> dict[str, Any]:
    """Run this module in its own process; a crash or an unlisted exception fails the test."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=timeout, cwd=ROOT)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-3000:]}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main(verb: str, *arguments: str) -> None:
    sys.path.insert(0, str(ROOT))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sources: Iterable[bytes | Path]
    if verb == "mutate":
        sources = mutations(int(arguments[0]), int(arguments[1]))
    elif verb == "folder":
        sources = sorted(path for path in Path(arguments[0]).rglob("*") if path.is_file())
    else:
        sources = [Path(name) for name in arguments]
    print(json.dumps(_decode_all(sources)))


if __name__ == "__main__":
    main(*sys.argv[1:])
