"""Find a learning rate over several seeds, and say how far it may be believed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.errors import ConfigError
from bear_classifier.experiments.preconditions import require_current_probe, require_seeds
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import count, one_line

_LEAST_STEPS = 25  # fewer, and slide has no room for its window of 15


def find_rates(
    project: pipeline.Project, n_seeds: int = 3, steps: int = 40, compare: bool = False
) -> dict[str, Any]:
    """Run the finder and summarise its runs; `figure` is the path of the picture.

    Leaves `lr/lr.png` and `lr/lr.json` in the dataset, and changes nothing else. compare: train
    briefly at each suggestion, too. Raises ConfigError (BAD_SETTING), DataError (STAGE_MISSING)."""
    require_seeds(n_seeds)
    if steps < _LEAST_STEPS:
        raise ConfigError("BAD_SETTING", f"--steps {steps}: give {_LEAST_STEPS} or more")
    from bear_classifier.experiments.lr import analysis, plot
    from bear_classifier.experiments.lr import runs as finder

    began = time.monotonic()
    with pipeline.existing(project) as catalog:
        require_current_probe(project, catalog, "lr")
        setup = finder.finder_setup(catalog, project.config)
    seeds = [project.config.train.seed + i for i in range(n_seeds)]
    runs = finder.run_finder(setup, seeds, steps)
    suggestions = [run.suggestions() for run in runs]
    rows = analysis.summarise_suggestions(suggestions)
    losses = [run.losses for run in runs]
    notes = analysis.doubts(rows, len(seeds)) + analysis.flatness(losses)
    lowest = analysis.lowest(max((run.rates for run in runs), key=len), losses)
    folder = project.data / "lr"
    write_atomic(folder / "lr.png", plot.draw(runs, rows, notes))
    result: dict[str, Any] = {
        "figure": str(folder / "lr.png"),
        "steps": steps,
        "batch_size": setup.config.train.batch_size,
        "suggestions": rows,
        "lowest": lowest,
        "why_not_lowest": analysis.WHY_NOT_LOWEST,
        "warnings": notes,
        "trained_with": _trained_with(project.data),
        "runs": [
            {"seed": seed, "suggestions": found, **run.plain()}
            for seed, found, run in zip(seeds, suggestions, runs, strict=True)
        ],
        "comparison": None,
        "seconds": round(time.monotonic() - began, 1),
    }
    write_atomic(folder / "lr.json", json.dumps(result, indent=1).encode())  # comparing takes long
    if compare:
        rivals = analysis.rivals(rows, lowest)
        trials = finder.trials(setup, [rival.rate for rival in rivals], seeds, finder.TRIAL)
        compared = analysis.compare_rates(
            rivals, trials.losses, trials.wrong, trials.start_losses, trials.groups
        )
        for row, diverged in zip(compared["rows"], trials.diverged, strict=True):
            row["diverged"] = int(diverged.sum())
        result["comparison"] = {
            **compared,
            "steps": trials.steps,
            "start_wrong": int(trials.start_wrong.sum()),
            "verdict": analysis.comparison_verdict(compared),
        }
        result["seconds"] = round(time.monotonic() - began, 1)
        write_atomic(folder / "lr.json", json.dumps(result, indent=1).encode())
    return result


def _trained_with(data: Path) -> dict[str, Any] | None:
    """The rate of the last training, and its reason."""
    try:
        record = json.loads((data / "train" / "history.json").read_text(encoding="utf-8"))
        return {"lr": record["lr"], "lr_reason": record["lr_reason"]}
    except (OSError, ValueError, KeyError):
        return None  # not trained yet


def text(result: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{count(len(result['runs']), 'run')} of {result['steps']} steps with"
        f" {result['batch_size']} photos each, the rate growing  [{result['seconds']:.1f} s]",
        "",
    ]
    for name, row in result["suggestions"].items():
        rate = "unknown: no run was long enough"
        if row["rate"]:
            rate = f"{row['rate']:.1e}  ({row['low']:.1e} to {row['high']:.1e})  {row['about']}"
        lines.append(f"{name:<8} {rate}")
    lines += ["", f"The lowest point is at {result['lowest']:.1e}. {result['why_not_lowest']}"]
    lines += [f"warning: {note}" for note in result["warnings"]]
    if result["comparison"]:
        lines += ["", *_compared(result["comparison"])]
    lines.append("")
    if used := result["trained_with"]:
        lines.append(f"The last training took {used['lr']:.1e} ({used['lr_reason']}).")
    lines.append("Training asks the finder itself; to give a rate: --set train.lr=RATE")
    return [*lines, one_line(f"The picture: {result['figure']}")]


def _compared(result: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{result['steps']} steps of training at each rate with {count(result['seeds'], 'seed')},"
        f" judged on {count(result['photos'], 'validation photo')} (the probe alone: loss"
        f" {result['start_loss']:.3f}, {result['start_wrong']} wrong):",
        f"{'rate':>8}  {'loss':>6}  {'wrong':>6}  {'behind the best':<26}",
    ]
    for row in result["rows"]:
        behind = row["verdict"]
        if behind != "best":
            range_ = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
            behind = f"{row['behind']:.3f}{range_}"
        if row["diverged"]:
            behind += f", diverged {count(row['diverged'], 'time')}"
        figures = f"{row['rate']:8.1e}  {row['loss']:6.3f}  {row['wrong']:6.1f}"
        lines.append(f"{figures}  {behind:<26}  {', '.join(row['names'])}")
    return [*lines, result["verdict"]]
