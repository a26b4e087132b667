"""The nearest training photos of a photo, where a bundle may show them: it holds small copies, each
with its author and licence, only with `export.pictures`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.schema import Source
from bear_classifier.errors import ModelError
from bear_classifier.images import decoder
from bear_classifier.runtime.npz import as_npz, products, read_npz
from bear_classifier.ship import bundle
from bear_classifier.ship.bundle import Bundle

FILE = "pictures.npz"
_LARGEST = 2**28  # bytes of all its arrays
MAX_PICTURES = 1000  # photos; about 6 MB
THUMBNAIL_PIXELS = 144  # pixels, longer side
_SHARED = re.compile(r"(cc0|cc by|cc-by|by|by-sa|public domain|pdm)\b(?!.*\bnd\b)", re.IGNORECASE)


@dataclass(frozen=True)
class SimilarPhoto:
    """jpeg: a small copy; about: author and licence, as far as known; page: its web page."""

    label: str
    jpeg: bytes
    about: str
    page: str


class SimilarPhotos:
    """features: (n, f) pooled, of the photos that are shown."""

    def __init__(self, features: NDArray[np.floating], shown: Sequence[SimilarPhoto]) -> None:
        self.shown = shown
        self._known = _unit(features)

    def nearest(self, pooled: NDArray[np.float32], n: int) -> list[SimilarPhoto]:
        """By the cosine of pooled features (f,), the most alike first."""
        order = np.argsort(-products(_unit(pooled[None]), self._known)[0], kind="stable")
        return [self.shown[row] for row in order[:n]]

    def as_bytes(self) -> bytes:
        """An .npz file of plain arrays."""
        return as_npz(
            features=self._known.astype(np.float16),
            jpegs=np.frombuffer(b"".join(photo.jpeg for photo in self.shown), dtype=np.uint8),
            sizes=np.array([len(photo.jpeg) for photo in self.shown], dtype=np.int64),
            labels=np.array([photo.label for photo in self.shown]),
            abouts=np.array([photo.about for photo in self.shown]),
            pages=np.array([photo.page for photo in self.shown]),
        )


def of(source: Bundle) -> SimilarPhotos | None:
    """Photos of a bundle. Raises ModelError (MODEL_CORRUPT, MODEL_INCOMPLETE, BAD_MODEL)."""
    if FILE not in source.about["files"]:
        return None
    try:
        file = read_npz(bundle.part(source, FILE), _LARGEST)
        ends = np.cumsum(file["sizes"])
        starts, data = ends - file["sizes"], file["jpegs"].tobytes()
        names = (file[key].astype(str).tolist() for key in ("labels", "abouts", "pages"))
        shown = [
            SimilarPhoto(label, data[start:end], about, page)
            for start, end, label, about, page in zip(starts, ends, *names, strict=True)
        ]
        features = file["features"]
        if features.shape[0] != len(shown) or len(data) != (ends[-1] if len(ends) else 0):
            raise ValueError("the arrays do not fit together")
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise ModelError("BAD_MODEL", f"{FILE} holds no pictures ({exc})") from exc
    return SimilarPhotos(features, shown)


def shareable(source: Source) -> bool:
    """Whether its licence, as far as the source itself names it, lets small copies be published."""
    return bool(_SHARED.match(source.licence.strip())) and "filter" not in source.licence


def credit_line(source: Source) -> str:
    """Author and licence; empty where neither is known."""
    author = f"by {source.author.strip()}" if source.author.strip() else ""
    return ", ".join(part for part in (author, source.licence.strip()) if part)


def thumbnail(file: bytes) -> bytes:
    """A small copy without metadata. Raises PhotoError."""
    image, _ = decoder.decode_with_size(file, least=THUMBNAIL_PIXELS)
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return decoder.encode(image, quality=75)


def _unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    plain = features.astype(np.float32)
    return np.asarray(plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12))
