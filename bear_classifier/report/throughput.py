"""How fast each stage was when it last had something to do, and what more photos would take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import photo_counts
from bear_classifier.dataset.schema import StageRun
from bear_classifier.stages import NAMES

FEATURES = "features"  # the part of the first model that takes most of its time
DIVIDED = ("download", FEATURES)  # work that several machines divide among them
_FEATURES_RUN = "features.json"  # in the dataset; left by learn/features.py
FEW_MEASURED = 1_000  # photos; of fewer, starting a stage takes a large part of its time


@dataclass(frozen=True)
class StageRate:
    """photos: worked on in the run that began at `at` and took so many seconds."""

    stage: str
    at: str
    photos: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.photos / max(self.seconds, 1e-3)


def stage_rates(catalog: Catalog) -> list[StageRate]:
    """Of every stage that had photos to work on, in their order, by its last such run. The first
    model's features have a row of their own. Export takes as long for any number: left out."""
    rates = []
    features = _features(catalog.root)
    splits: dict[str, int] = {}
    for (_, split, status), n in photo_counts(catalog).items():
        splits[split] = splits.get(split, 0) + n * (status == "ok")
    for stage in NAMES[: NAMES.index("export")]:
        newest_first = catalog.runs(stage, "DESC LIMIT 50")
        worked = ((run, _photos(run, splits)) for run in newest_first)
        run, photos = next(((run, n) for run, n in worked if n), (None, 0))
        if stage == "probe" and features:
            rates.append(features)
        if run is None:
            continue
        seconds = run.seconds
        if stage == "probe" and features and features.at >= run.started:
            seconds = max(0.0, seconds - features.seconds)
        rates.append(StageRate(stage, run.started, photos, seconds))
    return rates


def _features(root: Path) -> StageRate | None:
    try:
        row = json.loads((root / _FEATURES_RUN).read_bytes())
        return StageRate(FEATURES, str(row["at"]), int(row["photos"]), float(row["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none were computed since this is written down


def _photos(run: StageRun, splits: Mapping[str, int]) -> int:
    """That a run worked on, by what it said; splits: usable photos of each now."""
    said: Mapping[str, Any] = run.outcome
    if run.stage == "search":
        return int(said.get("found", 0))
    if run.stage == "download":
        return int(said.get("fetched", 0))
    if run.stage == "screen":
        whole = sum(said.get(name, 0) for name in ("ok", "unlabelled", "duplicate"))
        return int(whole + sum(said.get("unusable", {}).values()))
    if run.stage == "split":
        return sum(sum(labels.values()) for labels in said.get("photos", {}).values())
    if run.stage == "train":
        return splits.get("train", 0) + splits.get("valid", 0)
    return int(said.get("n" if run.stage == "evaluate" else "photos", 0))


def forecast(rates: Sequence[StageRate], photos: int, machines: int) -> list[float]:
    """Seconds of each stage for so many photos at the same rate. What several machines divide among
    them takes the part of one; the rest is done by one."""
    return [photos / rate.per_second / (machines if rate.stage in DIVIDED else 1) for rate in rates]
