"""Prefetch: results of a function over a sequence, computed ahead by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, room: int
) -> Iterator[tuple[Item, Result]]:
    """Each item and what `work` makes of it, in order; at most `room` results lie ready. What
    `work` raises comes at its item's turn, and ends it."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > room:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
