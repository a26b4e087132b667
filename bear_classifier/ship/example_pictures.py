"""Drawn pictures that a model answers rightly, so that visitors can try a page without a photo."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from bear_classifier.collect.starter.drawing import LABELS, draw_bear
from bear_classifier.ship.predict import Prediction

DRAWN = 8  # pictures of a class, of which at least half have to be answered rightly
_STREAM = 25  # of random numbers, which those of the starter set are not
_LONGEST = 480  # pixels


def examples(
    labels: Sequence[str], answer: Callable[[bytes], Prediction]
) -> Iterator[tuple[str, bytes]]:
    """Of each class that is drawn, the first JPEG that is answered rightly and accepted; none of a
    class of which fewer than half are: one that is right by chance would promise too much."""
    for label in (name for name in labels if name in LABELS):
        drawn = [drawn_picture(label, number) for number in range(DRAWN)]
        right = [picture for picture in drawn if _is_right(answer(picture), label)]
        if 2 * len(right) >= DRAWN:
            yield label, right[0]


def _is_right(answer: Prediction, label: str) -> bool:
    return answer.accepted and answer.label == label


def all_drawn() -> Iterator[bytes]:
    """Every picture of which examples are chosen."""
    yield from (drawn_picture(label, number) for label in LABELS for number in range(DRAWN))


@lru_cache(maxsize=DRAWN * len(LABELS))
def drawn_picture(label: str, number: int) -> bytes:
    """JPEG. label: of those that are drawn."""
    rng = np.random.default_rng([_STREAM, LABELS.index(label), number])
    picture = draw_bear(label, rng)
    picture.thumbnail((_LONGEST, _LONGEST))
    picture.save(buffer := io.BytesIO(), "jpeg", quality=90)
    return buffer.getvalue()
