"""Work ahead of its use: in order, by several threads, and not too far ahead."""

from __future__ import annotations

import threading
import time

import pytest
from waiting import STUCK

from bear_classifier.runtime.prefetch import ahead


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert list(ahead(slow_first, range(20), threads=3, room=6)) == [(i, i * i) for i in range(20)]
    assert list(ahead(slow_first, [], threads=3, room=6)) == []


def test_threads_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=STUCK)
    assert len(list(ahead(lambda _: both.wait(), range(4), threads=2, room=4))) == 4


def test_no_more_is_taken_than_there_is_room_for() -> None:
    taken = []

    def items() -> object:
        for item in range(50):
            taken.append(item)
            yield item

    found = ahead(lambda item: item, items(), threads=2, room=5)  # type: ignore[arg-type]
    for _ in range(3):
        next(found)
    assert len(taken) == 8


def test_an_error_comes_at_its_turn() -> None:
    def refuses(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    found = ahead(refuses, range(9), threads=2, room=4)
    assert [next(found), next(found)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="two"):
        next(found)
