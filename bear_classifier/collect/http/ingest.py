"""Facts about a new picture from one decode; in a worker process for photos of other people."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bear_classifier.images import decoder
from bear_classifier.images.dhash import dhash
from bear_classifier.runtime.files import write_partial
from bear_classifier.runtime.process_worker import serve_requests

_ENOUGH = 192  # pixels of the shorter side; see docs/LOG.md for what that does to hashes


@dataclass(frozen=True)
class PhotoFacts:
    """Of a picture that decodes. format: as in `decoder.format_of`; contrast: see there."""

    sha256: str
    format: str
    width: int
    height: int
    bytes: int
    dhash: str
    contrast: float


def examine(data: bytes) -> PhotoFacts:
    """One decode for all that is asked of a new picture. Raises PhotoError."""
    image, size = decoder.decode_with_size(data, least=_ENOUGH)
    grey = image.convert("L")
    digest, kind = hashlib.sha256(data).hexdigest(), decoder.format_of(data)
    return PhotoFacts(digest, kind, *size, len(data), dhash(grey), contrast(grey))


def contrast(grey: Image.Image) -> float:
    """Standard deviation of grey levels (0 to 127.5) over a thumbnail of 64 to 127 pixels."""
    small = grey.reduce((max(1, grey.width // 64), max(1, grey.height // 64)))
    return float(np.asarray(small, dtype=np.float32).std())


def main() -> None:
    """Examine pictures from standard input; write each beside its future place, still hidden. A
    picture that the user put in (`own`) may be HEIC, which has its own process again."""
    written: list[Path] = []

    def take_in(header: dict[str, Any], body: bytes) -> dict[str, Any]:
        if not header.get("own"):
            decoder.format_of_stranger(body)
        facts = examine(body)
        written[:] = [write_partial(Path(header["folder"]) / facts.sha256, body)]
        return dataclasses.asdict(facts) | {"partial": str(written[0])}

    try:
        serve_requests(take_in)
    except BrokenPipeError:  # nobody is left to take the last one
        for partial in written:
            partial.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
