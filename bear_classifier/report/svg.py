"""Small charts as SVG, coloured by the page's style, so that they are legible in the dark, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

_WIDTH, _HEIGHT = 360, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 12, 38
_STRIP = 44  # height of the counts below the reliability diagram


@dataclass(frozen=True)
class Series:
    """points: (x, y); intervals: (low, high) of each, or nothing. kind: its colour, a or b."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class _Frame:
    """Values to places in the picture."""

    x: tuple[float, float]
    y: tuple[float, float]
    bottom: float = _HEIGHT - _BOTTOM

    def across(self, value: float) -> float:
        low, high = self.x
        return _LEFT + (value - low) / ((high - low) or 1) * (_WIDTH - _RIGHT - _LEFT)

    def down(self, value: float) -> float:
        low, high = self.y
        return self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - _TOP)


def line_chart(
    series: Sequence[Series],
    x_name: str,
    y_name: str,
    percent: bool = False,
    at: Sequence[float] = (),
) -> Markup:
    """Series over whole numbers, such as epochs; dots, so that a single one is seen as well.

    at: the numbers that stand below, where they are not all."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    ys += [high for one in series for _, high in one.intervals]
    top = _round_up(max(ys, default=1.0))
    margin = 0.5 if len(set(xs)) < 2 else 0.0
    frame = _Frame((min(xs) - margin, max(xs) + margin), (0.0, min(top, 1.0) if percent else top))
    parts = [
        _y_axis(frame, y_name, percent),
        _x_axis(frame, at or _whole(min(xs), max(xs)), x_name),
    ]
    for one in series:
        places = [(frame.across(x), frame.down(y)) for x, y in one.points]
        for (x, _), (low, high) in zip(places, one.intervals, strict=False):
            parts.append(_line(x, frame.down(low), x, frame.down(high), f"{one.kind} faint"))
        parts.append(_path(places, one.kind))
        parts += [_dot(x, y, 3, one.kind) for x, y in places]
    return _svg(parts, f"{y_name} by {x_name}") + legend(
        [(one.kind, one.name) for one in series if one.name]
    )


def rates(
    tried: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], taken: float
) -> Markup:
    """Loss over learning rate (logarithmic), of single batches and smoothed, and the rate taken.

    What lies above three times the loss at the beginning, where it explodes, is left out."""
    start = float(np.mean(smoothed[: max(1, len(smoothed) // 4)]))
    top = _round_up(min(max(smoothed), 3 * start))
    places = [float(np.log10(rate)) for rate in tried]
    low, high = min([*places, np.log10(taken)]), max([*places, np.log10(taken)])
    frame = _Frame((float(low), float(high)), (0.0, top))
    powers = [float(n) for n in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    parts = [_y_axis(frame, "log loss"), _x_axis(frame, [], "learning rate")]
    parts += [_text(frame.across(n), frame.bottom + 14, f"1e{n:.0f}", "middle") for n in powers]
    for x, y in zip(places, losses, strict=True):
        if y <= top:
            parts.append(_dot(frame.across(x), frame.down(y), 2, "b faint"))
    kept = [(x, y) for x, y in zip(places, smoothed, strict=True) if y <= top]
    parts.append(_path([(frame.across(x), frame.down(y)) for x, y in kept], "a"))
    at = frame.across(float(np.log10(taken)))
    parts.append(_line(at, _TOP, at, frame.bottom, "limit"))
    return _svg(parts, "log loss by learning rate") + legend(
        [("a", "smoothed"), ("b", "single batches"), ("limit", "taken")]
    )


def reliability(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Share right over stated certainty, equal on the diagonal. Below: the photos of each bin."""
    frame = _Frame((0.0, 1.0), (0.0, 1.0), _HEIGHT - _BOTTOM - _STRIP)
    parts = [_y_axis(frame, "answers that are right", percent=True)]
    parts.append(_line(frame.across(0), frame.down(0), frame.across(1), frame.down(1), "ideal"))
    most = max((row["n"] for row in rows), default=1)
    floor = frame.bottom + _STRIP
    for row in rows:
        x = frame.across(row["confidence"])
        low, high = row["interval"]
        parts.append(_line(x, frame.down(low), x, frame.down(high), "a faint"))
        parts.append(_dot(x, frame.down(row["right"]), 4, "a"))
        left, right = frame.across(row["from"]) + 1, frame.across(row["to"]) - 1
        high_bar = max(1.0, (_STRIP - 20) * row["n"] / most)
        parts.append(_bar(left, floor - high_bar, right - left, high_bar, "count"))
        middle = (left + right) / 2
        parts.append(_text(middle, floor - high_bar - 3, str(row["n"]), "middle small"))
    low_frame = _Frame(frame.x, frame.y, floor)
    parts.append(_x_axis(low_frame, [0, 0.2, 0.4, 0.6, 0.8, 1.0], "stated certainty", percent=True))
    return _svg(parts, "share of right answers by stated certainty")


def histogram(found: Mapping[str, Sequence[float]], least: float | None) -> Markup:
    """Counts of right and wrong answers by familiarity, and the limit below which none is given."""
    edges, right, wrong = found["edges"], found["right"], found["wrong"]
    ends = [edges[0], edges[-1], *([] if least is None else [least])]
    pad = (max(ends) - min(ends)) * 0.02
    heights = [a + b for a, b in zip(right, wrong, strict=True)]
    frame = _Frame((min(ends) - pad, max(ends) + pad), (0.0, _round_up(max(heights, default=1))))
    parts = [_y_axis(frame, "photos"), _x_axis(frame, _ticks(*frame.x), "familiarity")]
    for low, high, good, bad in zip(edges[:-1], edges[1:], right, wrong, strict=True):
        left, width = frame.across(low) + 0.5, frame.across(high) - frame.across(low) - 1
        for kind, under, n in (("a", 0.0, good), ("b", good, bad)):
            if n:
                tall = frame.down(under) - frame.down(under + n)
                parts.append(_bar(left, frame.down(under + n), width, tall, kind))
    names = [("a", "right"), ("b", "wrong")]
    if least is not None:
        x = frame.across(least)
        parts.append(_line(x, _TOP, x, frame.bottom, "limit"))
        names.append(("limit", "no answer to the left of it"))
    return _svg(parts, "photos by how much they are like the training photos") + legend(names)


def legend(names: Sequence[tuple[str, str]]) -> Markup:
    items = Markup().join(Markup('<li class="{}">{}</li>').format(*name) for name in names)
    return Markup('<ul class="legend">{}</ul>').format(items) if items else Markup()


def span(
    value: float | None,
    interval: Sequence[float] | None,
    top: float = 1.0,
    mark: float | None = None,
) -> Markup:
    """A share as a dot in its interval, on a rail from nought to `top`; mark: a share to compare
    with, such as that of all."""
    if value is None or interval is None:
        return Markup('<svg class="span" aria-hidden="true"></svg>')
    low, high, at = (100 * min(1.0, part / top) for part in (*interval, value))
    tick = Markup()
    if mark is not None:
        place = 100 * min(1.0, mark / top)
        tick = Markup('<line class="mark" x1="{0:.2f}%" x2="{0:.2f}%" y1="8%" y2="92%"/>')
        tick = tick.format(place)
    return Markup(
        '<svg class="span" aria-hidden="true">'
        '<line class="rail" x1="0" x2="100%" y1="50%" y2="50%"/>{}'
        '<line class="a" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>'
        '<circle class="a" cx="{:.2f}%" cy="50%" r="4.5"/></svg>'
    ).format(tick, low, high, at)


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, _HEIGHT, title, Markup().join(parts))


def _y_axis(frame: _Frame, name: str, percent: bool = False) -> Markup:
    parts = []
    for value in _ticks(*frame.y):
        y = frame.down(value)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "grid"))
        parts.append(_text(_LEFT - 6, y + 3.5, _number(value, percent), "end"))
    turned = '<text class="middle soft" transform="translate(11 {:.1f}) rotate(-90)">{}</text>'
    return Markup().join([*parts, Markup(turned).format((frame.bottom + _TOP) / 2, name)])


def _x_axis(frame: _Frame, ticks: Sequence[float], name: str, percent: bool = False) -> Markup:
    texts = [
        _text(frame.across(value), frame.bottom + 14, _number(value, percent), "middle")
        for value in ticks
    ]
    base = _line(_LEFT, frame.bottom, _WIDTH - _RIGHT, frame.bottom, "axis")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return Markup().join([base, *texts, _text(middle, frame.bottom + 31, name, "middle soft")])


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    line = '<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'
    return Markup(line).format(kind, x1, y1, x2, y2)


def _path(places: Sequence[tuple[float, float]], kind: str) -> Markup:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, points)


def _dot(x: float, y: float, radius: int, kind: str) -> Markup:
    dot = '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>'
    return Markup(dot).format(kind, x, y, radius)


def _bar(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    bar = '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
    return Markup(bar).format(kind, x, y, max(width, 1), height)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _number(value: float, percent: bool) -> str:
    return f"{value:.3g}" if not percent else f"{100 * value:.3g}%"


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return float(next(step for step in steps if step * power >= value * (1 - 1e-9)) * power)


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high."""
    raw = (high - low) / about or 1.0
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(min((1, 2, 5, 10), key=lambda k: abs(np.log(k * power / raw))) * power)
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor(high / step + 1e-9) - first) + 1
    return [round(float((first + n) * step), 12) + 0.0 for n in range(max(count, 0))]


def _whole(low: float, high: float) -> list[float]:
    """At most eight whole numbers from low to high, the last one among them."""
    step = max(1, int(np.ceil((high - low + 1) / 8)))
    return [float(n) for n in range(int(high), int(low) - 1, -step)][::-1]
