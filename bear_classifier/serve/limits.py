"""Limits of HTTP requests: bytes, photos, seconds, and which of them holds for a path."""

from __future__ import annotations

from bear_classifier.images import decoder

MAX_PHOTO_BYTES = decoder.MAX_BYTES  # of any photo that is decoded
AROUND = 65_536  # bytes that a form may add to a photo
SMALL = 65_536  # bytes of a body that is no photo
MAX_BATCH_BYTES = 100_000_000  # of a request with many photos
MAX_BATCH_PHOTOS = 200
MAX_BATCHES = 2  # at once, of which each may take 100 MB
BODY_SECONDS = 30.0  # for a whole body
HEADER_SECONDS = 30.0  # for the first line and the headers of a request

CLASSIFY_MANY = "/api/v1/classify-many"
GRADIO = "/gradio"
ONE_PHOTO = ("/api/v1/classify", "/api/v1/corrections", f"{GRADIO}/gradio_api/upload")


def body_limit(path: str) -> int:
    """Bytes of the body of a request."""
    if path in ONE_PHOTO:
        return MAX_PHOTO_BYTES + AROUND
    return MAX_BATCH_BYTES if path == CLASSIFY_MANY else SMALL
