"""How work grows with the number of photos: exponents, rows of a table, goals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from versus import Goal, Told, at_most

SLACK = 1.3  # times n log n
NEAR = "near-duplicates"
MILLION, _POWER = 1_000_000, 1.15  # the exponent up to it, from 100,000
MINUTE = 100_000  # photos whose near-duplicates are to be found in a minute
_FAST = 0.02  # seconds; what takes less at the smaller size tells no exponent


def exponent(few: float, many: float, sizes: tuple[int, int]) -> float:
    """few, many: seconds at these two numbers of photos."""
    return math.log(many / few) / math.log(sizes[1] / sizes[0])


def allowed(sizes: tuple[int, int]) -> float:
    """The exponent of n log n between two sizes, with the slack."""
    few, many = sizes
    return exponent(few * math.log(few), many * math.log(many) * SLACK, sizes)


def judged(sizes: Sequence[int], found: dict[int, dict[str, float]], told: Told) -> None:
    """Rows and goals. found: seconds of each piece of work by size, and bytes."""
    steps = list(zip(sizes, sizes[1:], strict=False))
    bytes_of = ("memory", "written")
    for name in [name for name in found[sizes[0]] if not name.startswith(bytes_of)]:
        row = [name, *(f"{found[n][name]:.3g}" if name in found[n] else "" for n in sizes)]
        for few, many in steps:
            if name not in found[many]:
                row.append("")
                continue
            power = exponent(found[few][name], found[many][name], (few, many))
            row.append(f"{power:.2f}")
            if found[few][name] >= _FAST:
                limit = min(allowed((few, many)), _POWER if few >= MINUTE else math.inf)
                about = f"{name}, {few:,} to {many:,}, exponent"
                goal = f"<= {limit:.2f}" + (" (n log n)" if limit != _POWER else "")
                told.goals.append(Goal(about, goal, f"{power:.2f}", power <= limit))
        told.rows.append(row)
    for name in [name for name in found[sizes[0]] if name.startswith(bytes_of)]:
        held = [f"{found[n][name] / 1e6:.0f}" if name in found[n] else "" for n in sizes]
        told.rows.append([name.replace(":", ", MB:") if ":" in name else f"{name}, MB", *held,
                          *["" for _ in steps]])  # fmt: skip
    if MINUTE in found:
        seconds = round(found[MINUTE][NEAR], 1)
        told.goals.append(at_most(f"{NEAR} of {MINUTE:,} photos", seconds, 60, "s"))
    if MILLION in found:
        seconds = round(found[MILLION][NEAR], 1)
        told.goals.append(at_most(f"{NEAR} of {MILLION:,} photos", seconds, 300, "s"))
        memory = round(found[MILLION]["memory"] / 1e9, 1)
        told.goals.append(at_most(f"memory with {MILLION:,} photos", memory, 4, "GB"))
