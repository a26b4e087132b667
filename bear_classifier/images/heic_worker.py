"""The worker process that decodes HEIC photos for `heic`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any, cast

from PIL import Image

from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.process_worker import serve_requests

# Before these, photos could run code: see the releases of libheif and libde265 of 2026.
SAFE = {"libheif": (1, 23, 4), "libde265": (1, 1, 3)}
_INSTALL = 'run: pip install "bear-classifier[heic]"'


def unsafe(versions: Mapping[str, Any]) -> str:
    """The first library that is too old, with its version, or "".

    versions: as `pillow_heif.libheif_info()`."""
    libraries = {"libheif": str(versions["libheif"]), **versions.get("decoders", {})}
    for name, least in SAFE.items():
        if name in libraries:
            version = re.search(r"(\d+)\.(\d+)\.(\d+)", libraries[name])
            if version is None or tuple(map(int, version.groups())) < least:
                return f"{name} {version.group() if version else 'of an unknown version'}"
    return ""


def refusal() -> PhotoError | None:
    """Why no HEIC photo can be read here, if so."""
    try:
        import pillow_heif
    except ImportError:
        words = f"HEIC photos need another package; {_INSTALL}, or save as JPEG"
        return PhotoError("UNSUPPORTED_FORMAT", words)
    if old := unsafe(pillow_heif.libheif_info()):
        words = f"HEIC photos are not read with {old}, which photos can attack; {_INSTALL}"
        return PhotoError("UNSUPPORTED_FORMAT", words)
    options = pillow_heif.options
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.AUX_IMAGES = options.DEPTH_IMAGES = False
    return None


def decode(data: bytes, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """As `heic.decode`, in this process. The decoder applies the container's turn."""
    import pillow_heif

    try:
        file = pillow_heif.open_heif(BytesIO(data), convert_hdr_to_8bit=True)
        first = file[file.primary_index]
        decoder.check_size("heic", *first.size)
        image = first.to_pillow()
    except decoder.BROKEN as exc:
        raise PhotoError("DAMAGED", f"heic with an error in its content: {exc}") from exc
    whole, icc = image.size, cast("bytes | None", first.info.get("icc_profile"))
    width, height = decoder.smaller(*whole, least)
    if (width, height) != whole:
        image = image.reduce((whole[0] // width, whole[1] // height))
    return decoder.to_srgb(decoder.flat(image), icc), whole


def main() -> None:
    """Decode photos from standard input until it ends; pixels go to standard output."""
    refused = refusal()

    def work(header: dict[str, Any], data: bytes) -> dict[str, Any]:
        if refused:
            raise refused
        image, whole = decode(data, header["least"])
        return {"size": image.size, "whole": whole, "body": image.tobytes()}

    serve_requests(work)


if __name__ == "__main__":
    main()
