"""Prefetch: results of a function over a sequence, computed ahead by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from bear_classifier.runtime.processors import processors

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], room: int, threads: int = 0
) -> Iterator[tuple[Item, Result]]:
    """Each item with the result of `work`, in order; at most `room` results lie ready. An error of
    `work` is raised at its item's turn; what nobody asks for any more is not begun.

    threads: 0: as many as the process may use processors."""
    pool = ThreadPoolExecutor(threads or processors())
    try:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > room:
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
