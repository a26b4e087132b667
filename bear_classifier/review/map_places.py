"""Where each photo lies on the map: at once by principal components, then by t-SNE."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz, read_npz
from bear_classifier.stats.arrays import Floats, Rows, in_blocks
from bear_classifier.stats.projections import embedding_map, flat_map

_MOST = 64_000_000  # bytes of a map, unpacked


class MapPlaces:
    """The map of n photos. folder: where its file is kept; features: (n, f).

    t-SNE is made by a thread of its own from the first time that places are asked for."""

    def __init__(self, folder: Path, hashes: Sequence[str], features: Rows) -> None:
        sha = hashlib.sha256("".join(hashes).encode())
        for some in in_blocks(np.arange(len(features))):
            sha.update(features[some].tobytes())
        self._path = folder / f"map-{sha.hexdigest()[:16]}.npz"
        self._features = features
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._made = self._read()
        self._first: Floats | None = None

    @property
    def making(self) -> bool:
        """Whether t-SNE is still under way."""
        return self._made is None and self._thread is not None and self._thread.is_alive()

    def now(self) -> tuple[str, Floats]:
        """The method and the places (n, 2), from -1 to 1."""
        with self._lock:
            if self._made is not None:
                return "t-SNE", self._made
            if self._first is None:
                self._first = flat_map(self._features)
                self._thread = threading.Thread(target=self._make, daemon=True)
                self._thread.start()
            return "PCA", self._first

    def wait(self) -> None:
        """Until the map is made."""
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        made = embedding_map(self._features)
        self._made = made
        with suppress(OSError, DataError):  # no room: it is made again next time
            write_atomic(self._path, as_npz(at=made.astype(np.float32)))

    def _read(self) -> Floats | None:
        try:
            at = read_npz(self._path.read_bytes(), _MOST)["at"].astype(np.float64)
        except (OSError, ValueError, KeyError):
            return None  # missing or damaged: it is a cache
        return at if at.shape == (len(self._features), 2) else None
