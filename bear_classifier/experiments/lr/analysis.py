"""Suggestions of the learning-rate finder, doubts about them, and a comparison of short trainings
in which only significant differences count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.learn.lr_finder import WINDOW, falls_below_noise
from bear_classifier.stats.arrays import Floats
from bear_classifier.stats.paired import SURE, difference

ABOUT = {  # of fastai, in the order of its trust; the words follow its code
    "valley": "halfway along the longest stretch of steps over which the loss keeps falling",
    "slide": "coming from the right, where the final rise is left behind",
    "steep": "where the loss falls fastest",
    "minimum": "a tenth of the rate of the lowest point",
}
WHY_NOT_LOWEST = (
    "Why not the lowest point itself? There the loss has stopped falling: a step spoils as much as "
    "it gains, and a bit further right the weights are torn apart. What made the loss low were the "
    "smaller rates before. Take one where it still falls, three to ten times lower."
)
DISAGREE_FACTOR = 3.0  # times; suggestions further apart disagree
_ALIKE = 2.0  # times; rates nearer than that are not worth two trainings
_FLAT = 1.5  # standard deviations of a batch's loss; a smaller fall may be chance


def band(runs: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Mean, lowest and highest of the runs at each step, as far as most of them came."""
    table = np.full((len(runs), max(map(len, runs))), np.nan)
    for row, run in zip(table, runs, strict=True):
        row[: len(run)] = run
    table = table[:, np.isfinite(table).sum(0) * 2 > len(runs)]
    return np.nanmean(table, 0), np.nanmin(table, 0), np.nanmax(table, 0)


def lowest(rates: Floats, losses: Sequence[Floats]) -> float:
    """The rate of the lowest point of all runs together, smoothed to both sides. rates: (n,)."""
    mean, _, _ = band([smoothed(run, WINDOW) for run in losses])
    return float(rates[mean.argmin()])


def smoothed(losses: Floats, width: int) -> Floats:
    """Mean over `width` steps (odd) around each; fewer at the ends. losses: (n,)."""
    kernel = np.ones(width)
    sums, counts = (
        np.convolve(values, kernel)[width // 2 :][: len(losses)]
        for values in (losses, np.ones(len(losses)))
    )
    return np.asarray(sums / counts)


def summarise_suggestions(found: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    """Each suggestion over the seeds. rate: the middle (geometric); None where no run gave one."""
    rows: dict[str, dict[str, Any]] = {}
    for name, about in ABOUT.items():
        rates = [rate for run in found if (rate := run[name]) is not None]
        rows[name] = {
            "rate": float(np.exp(np.median(np.log(rates)))) if rates else None,
            "low": min(rates, default=None),
            "high": max(rates, default=None),
            "runs": len(rates),
            "about": about,
        }
    return rows


def doubts(rows: Mapping[str, Mapping[str, Any]], seeds: int) -> list[str]:
    """What speaks against relying on the suggestions. rows: of `summarise_suggestions`."""
    notes = []
    rates = {name: row["rate"] for name, row in rows.items() if row["rate"]}
    if rates and max(rates.values()) > DISAGREE_FACTOR * min(rates.values()):
        least, most = min(rates, key=lambda n: rates[n]), max(rates, key=lambda n: rates[n])
        notes.append(
            f"the suggestions disagree {rates[most] / rates[least]:.0f}-fold: {least} says"
            f" {rates[least]:.1e}, {most} {rates[most]:.1e}; to let them compete,"
            " run: bears lr --compare"
        )
    for name, row in rows.items():
        if row["rate"] and row["high"] > DISAGREE_FACTOR * row["low"]:
            notes.append(
                f"{name} differs {row['high'] / row['low']:.0f}-fold from seed to seed"
                f" ({row['low']:.1e} to {row['high']:.1e}): it follows chance, not the curve"
            )
        if row["runs"] < seeds:
            notes.append(f"{name} was given by {row['runs']} of {seeds} runs; try --steps 80")
    return notes


def flatness(runs: Sequence[Floats]) -> list[str]:
    """A warning if the loss never falls further than its own noise. runs: raw losses, (steps,)."""
    mean, _, _ = band(runs)
    if len(mean) <= 2 * WINDOW:
        few = f"most runs diverged after {len(mean)} steps, at the lowest rates"
        return [f"{few}; check weights and photos"]
    if falls_below_noise(mean, 2 * WINDOW, _FLAT):
        return []
    return [
        "the loss does not fall clearly before it rises: training begins from the probe, which is"
        " good already, so the noise of single batches hides what is left to gain. Do not rely on"
        " the suggestions"
    ]


@dataclass(frozen=True)
class Rival:
    """A rate to try, and whose it is."""

    rate: float
    names: list[str]


def rivals(rows: Mapping[str, Mapping[str, Any]], lowest: float) -> list[Rival]:
    """The suggestions, ten times less and more, and the lowest point; less than twofold apart they
    are one."""
    rates = {name: row["rate"] for name, row in rows.items() if row["rate"]}
    less = {f"{name} / 10": rate / 10 for name, rate in rates.items()}
    more = {f"{name} x 10": rate * 10 for name, rate in rates.items()}
    found: list[Rival] = []
    for name, rate in {**rates, "lowest point": lowest, **less, **more}.items():
        near = [r for r in found if max(r.rate / rate, rate / r.rate) < _ALIKE]
        if near:
            near[0].names.append(name)
        else:
            found.append(Rival(rate, [name]))
    return sorted(found, key=lambda rival: rival.rate)


def compare_rates(
    entries: Sequence[Rival],
    losses: Floats,
    wrong: NDArray[np.bool_],
    start: Floats,
    groups: Sequence[str],
) -> dict[str, Any]:
    """The best rate, and which of the others did significantly worse.

    losses, wrong: (rates, seeds, photos) on validation; start: (photos,) losses before training;
    groups: (photos,) of near-copies. The best is known only afterwards, so the intervals are
    widened for every pair (Bonferroni)."""
    means = losses.mean((1, 2))
    best = int(means.argmin())
    pairs = len(entries) * (len(entries) - 1) / 2

    def apart(other: Floats, sure: float) -> tuple[float, float | None, float | None]:
        targets = np.zeros(len(groups), dtype=np.int64)  # of a loss all photos count alike
        found = difference(losses[best], other, targets, np.asarray(groups), "loss")
        half = found.half(sure)
        ends = (None, None) if half is None else (found.mean - half, found.mean + half)
        return found.mean, *ends

    def row(i: int) -> dict[str, Any]:
        behind, low, high = apart(losses[i], SURE / max(pairs, 1))
        verdict = "worse" if low is not None and low > 0 else "no difference"
        return {
            "rate": entries[i].rate,
            "names": entries[i].names,
            "loss": float(means[i]),
            "wrong": float(wrong[i].sum(1).mean()),
            "behind": behind,
            "low": low,
            "high": high,
            "verdict": "best" if i == best else verdict,
        }

    rows = [row(i) for i in range(len(entries))]
    gained, low, high = apart(np.broadcast_to(start, losses[best].shape), SURE / len(entries))
    return {
        "rows": rows,
        "seeds": losses.shape[1],
        "photos": losses.shape[2],
        "best": entries[best].rate,
        "clear": all(row["verdict"] != "no difference" for row in rows) and len(rows) > 1,
        "start_loss": float(start.mean()),
        "gain": {"loss": gained, "low": low, "high": high, "sure": low is not None and low > 0},
    }


def comparison_verdict(result: Mapping[str, Any]) -> str:
    """One sentence or three on a comparison; nothing inside the noise is called better."""
    by: dict[str, list[Mapping[str, Any]]] = {"best": [], "worse": [], "no difference": []}
    for row in result["rows"]:
        by[row["verdict"]].append(row)
    name = _named(by["best"][0])
    if result["seeds"] < 2:
        text = f"{name} had the least loss, but with one seed that may be chance"
    elif result["clear"]:
        next_ = min(by["worse"], key=lambda row: row["behind"])
        text = f"{name} did best: the next, {_named(next_)}, lost {next_['behind']:.3f} more"
        text += f" ({next_['low']:.3f} to {next_['high']:.3f})"
    else:
        others = ", ".join(map(_named, by["no difference"]))
        text = f"{name} had the least loss, but this may be chance against {others}"
        if by["worse"]:
            text += f"; certainly worse: {', '.join(map(_named, by['worse']))}"
    if not result["gain"]["sure"]:
        text += ". None is shown to beat the probe that all began from"
    return f"{text}."


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['rate']:.1e} ({', '.join(row['names'])})"
