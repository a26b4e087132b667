"""Find a learning rate over several seeds, and say how far it may be believed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import count, one_line

_LEAST_STEPS = 25  # fewer, and slide has no room for its window of 15


def find_rates(
    project: pipeline.Project, n_seeds: int = 3, steps: int = 40, compare: bool = False
) -> dict[str, Any]:
    """Run the finder and say what it found; `figure` is the path of its picture.

    Leaves `lr/lr.png` and `lr/lr.json` in the dataset, and changes nothing else. compare: train
    briefly at each suggestion, too. Raises ConfigError (BAD_SETTING), DataError (STAGE_MISSING)."""
    if n_seeds < 1:
        raise ConfigError("BAD_SETTING", f"--seeds {n_seeds}: give 1 or more")
    if steps < _LEAST_STEPS:
        raise ConfigError("BAD_SETTING", f"--steps {steps}: give {_LEAST_STEPS} or more")
    from bear_classifier.experiments.lr import analysis, plot
    from bear_classifier.experiments.lr import runs as finder

    began = time.monotonic()
    with pipeline.existing(project) as catalog:
        _require_current(project, catalog)
        made = finder.finder_setup(catalog, project.config)
    seeds = [project.config.train.seed + i for i in range(n_seeds)]
    runs = finder.run_finder(made, seeds, steps)
    rows = analysis.summarise_suggestions([run.suggestions for run in runs])
    notes = analysis.doubts(rows, len(seeds)) + analysis.flatness([run.losses for run in runs])
    longest = max((run.rates for run in runs), key=len)
    lowest = analysis.lowest(longest, [run.losses for run in runs])
    folder = project.data / "lr"
    picture = plot.draw(
        [run.rates for run in runs],
        [run.losses for run in runs],
        [run.smoothed for run in runs],
        rows,
        notes,
    )
    write_atomic(folder / "lr.png", picture)
    found: dict[str, Any] = {
        "figure": str(folder / "lr.png"),
        "steps": steps,
        "batch_size": made.batch_size,
        "suggestions": rows,
        "lowest": lowest,
        "why_not_lowest": analysis.WHY_NOT_LOWEST,
        "warnings": notes,
        "trained_with": _trained_with(project.data),
        "runs": [
            {
                "seed": run.seed,
                "suggestions": run.suggestions,
                "rates": run.rates.tolist(),
                "losses": run.losses.tolist(),
                "smoothed": run.smoothed.tolist(),
            }
            for run in runs
        ],
        "comparison": None,
        "seconds": round(time.monotonic() - began, 1),
    }
    write_atomic(folder / "lr.json", json.dumps(found, indent=1).encode())  # comparing takes long
    if compare:
        entries = analysis.rivals(rows, lowest)
        tried = finder.trials(made, [entry.rate for entry in entries], seeds, finder.TRIAL)
        compared = analysis.compare_rates(
            entries, tried.losses, tried.wrong, tried.start_losses, tried.groups
        )
        for row, stopped in zip(compared["rows"], tried.diverged, strict=True):
            row["diverged"] = int(stopped.sum())
        found["comparison"] = {
            **compared,
            "steps": tried.steps,
            "start_wrong": int(tried.start_wrong.sum()),
            "verdict": analysis.comparison_verdict(compared),
        }
        found["seconds"] = round(time.monotonic() - began, 1)
        write_atomic(folder / "lr.json", json.dumps(found, indent=1).encode())
    return found


def _require_current(project: pipeline.Project, catalog: Catalog) -> None:
    """A probe of other photos or settings is no start; that there is none, the bench tells."""
    stage = pipeline.STAGES[pipeline.NAMES.index("probe")]
    if project.leaves(stage).is_file() and not pipeline.is_current(project, catalog, stage):
        raise DataError(
            "STAGE_MISSING", "lr needs probe, which is not up to date; run: bears run --until probe"
        )


def _trained_with(data: Path) -> dict[str, Any] | None:
    """The rate of the last training, and its reason."""
    try:
        record = json.loads((data / "train" / "history.json").read_text(encoding="utf-8"))
        return {"lr": record["lr"], "lr_reason": record["lr_reason"]}
    except (OSError, ValueError, KeyError):
        return None  # not trained yet


def text(found: Mapping[str, Any]) -> list[str]:
    n = len(found["runs"])
    lines = [
        f"{n} {'runs' if n > 1 else 'run'} of {found['steps']} steps with {found['batch_size']}"
        f" photos each, the rate growing  [{found['seconds']:.1f} s]",
        "",
    ]
    for name, row in found["suggestions"].items():
        if row["rate"]:
            lines.append(f"{name:<8} {row['rate']:.1e}  ({row['low']:.1e} to {row['high']:.1e})")
            lines[-1] += f"  {row['about']}"
        else:
            lines.append(f"{name:<8} unknown: no run was long enough")
    lines += ["", f"The lowest point is at {found['lowest']:.1e}. {found['why_not_lowest']}"]
    lines += [f"warning: {note}" for note in found["warnings"]]
    if found["comparison"]:
        lines += ["", *_compared(found["comparison"])]
    lines.append("")
    if used := found["trained_with"]:
        lines.append(f"The last training took {used['lr']:.1e} ({used['lr_reason']}).")
    lines.append("Training asks the finder itself; to give a rate: --set train.lr=RATE")
    lines.append(one_line(f"The picture: {found['figure']}"))
    return lines


def _compared(found: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{found['steps']} steps of training at each rate with {count(found['seeds'], 'seed')},"
        " judged on"
        f" {count(found['photos'], 'validation photo')} (the probe alone: loss"
        f" {found['start_loss']:.3f},"
        f" {found['start_wrong']} wrong):",
        f"{'rate':>8}  {'loss':>6}  {'wrong':>6}  {'behind the best':<26}",
    ]
    for row in found["rows"]:
        behind = row["verdict"]
        if row["verdict"] != "best":
            range_ = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
            behind = f"{row['behind']:.3f}{range_}"
        if row["diverged"]:
            behind += f", diverged {count(row['diverged'], 'time')}"
        who = ", ".join(row["names"])
        lines.append(
            f"{row['rate']:8.1e}  {row['loss']:6.3f}  {row['wrong']:6.1f}  {behind:<26}  {who}"
        )
    return [*lines, found["verdict"]]
