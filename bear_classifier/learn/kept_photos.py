"""Decoded photos that are kept in memory from one epoch to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from PIL import Image

from bear_classifier.runtime.usable_memory import usable_memory

_FOR_TRAINING = 4_000_000_000  # bytes that network, batches and feature maps may need
_BYTES_PER_PIXEL = 4  # Pillow aligns RGB


class KeptPhotos:
    """Pictures by key, the first that are made until `room` bytes are full. Several threads may
    ask at once. Whether a picture is kept changes the time, and never the pixels."""

    def __init__(self, room: int) -> None:
        self._left = room
        self._kept: dict[Hashable, Image.Image] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def picture(self, key: Hashable, make: Callable[[], Image.Image]) -> Image.Image:
        """The kept picture, which must not be changed; else what `make` gives."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        made = make()
        size = _BYTES_PER_PIXEL * made.width * made.height
        with self._lock:
            if size <= self._left and key not in self._kept:
                self._kept[key] = made
                self._left -= size
        return made


def room_for_photos() -> int:
    """Bytes: half of the memory that is free beside what training itself may need; 0 for little."""
    return max(0, usable_memory() - _FOR_TRAINING) // 2
