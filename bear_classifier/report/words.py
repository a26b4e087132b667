"""Words for figures that stand in sentences: shares with their intervals, numbers of photos."""

from __future__ import annotations

from collections.abc import Sequence

FEW_TEST_PHOTOS = 100  # below, the error is known to several points at best


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A share, with its interval if there is one."""
    if value is None:
        return "unknown"
    text = f"{value:.1%}"
    return text if interval is None else f"{text} ({interval[0]:.1%} to {interval[1]:.1%})"


def photos(n: int, kind: str = "") -> str:
    """The number with its noun. kind: an adjective before the noun."""
    return f"{n} {kind + ' ' if kind else ''}photo{'' if n == 1 else 's'}"


def cannot_judge(n: int, interval: Sequence[float]) -> str:
    """What so few test photos, below `FEW_TEST_PHOTOS`, say of an error with this interval."""
    return (
        f"{photos(n, 'test')} cannot measure the error well: it may be anything from"
        f" {percent(interval[0])} to {percent(interval[1])}."
    )
