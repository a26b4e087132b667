"""Small copies of stored photos for pages, the last ones kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from bear_classifier.images.decoder import decode_with_size, encode

THUMBNAIL_SIZES = (160, 400, 1000)  # pixels, longer side
_KEPT = 64_000_000  # bytes of shrunk photos kept in memory
_AT_ONCE = 3  # photos decoded


class ThumbnailCache:
    """Shrunk photos as new JPEG files, the last ones kept in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def get(self, path: Path, size: int) -> bytes:
        """Raises PhotoError, also for a photo that was removed since it was shown."""
        key = (path, size)
        with self._lock:
            if key in self._kept and path.exists():
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._turns:
            image, _ = decode_with_size(path, least=size)
            image.thumbnail((size, size))
            data = encode(image, quality=85)
        with self._lock:
            self._kept[key] = data
            while sum(map(len, self._kept.values())) > _KEPT:
                self._kept.popitem(last=False)
        return data
