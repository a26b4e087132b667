"""Loops that must not end: what goes wrong in one turn is logged, and the next turn comes."""

from __future__ import annotations

import logging
from types import TracebackType

from bear_classifier.errors import BearsError

_LOG = logging.getLogger("bears")


class Surviving:
    """What a loop does in each turn, as a context that can be entered again and again.

    It lets no fault out. One with a sentence of ours, such as a full disk, is seen elsewhere; any
    other is logged, once until another one comes or a turn goes well. what: the loop does."""

    def __init__(self, what: str) -> None:
        self.what, self._last = what, ""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> bool:
        if exc is not None and not isinstance(exc, Exception):
            return False  # the loop is cancelled, or Ctrl-C
        said = "" if exc is None or isinstance(exc, BearsError) else repr(exc)
        if said and said != self._last:
            _LOG.error("%s failed, and is tried again: %s", self.what, said, exc_info=exc)
        self._last = said
        return True
