"""The facts of a project that advice is given by, gathered without reading its photos.

The catalog is asked by counts, never for all of its rows: 20,000 photos are as quick as 200.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import decisions_after, group_sizes
from bear_classifier.stats.intervals import copies_effect
from bear_classifier.studio.projects import Place

_TOGETHER = 60.0  # seconds between two stages of one run, beyond what is between them


@dataclass(frozen=True)
class ClassFacts:
    """Of the photos in use of one class. groups: of near-copies; largest: photos of the largest
    one; effect: by which near-copies divide the number of photos (`intervals.copies_effect`); all
    three as far as photos were screened. sources: photos of each that is known."""

    usable: int
    groups: int = 0
    largest: int = 0
    effect: float = 1.0
    sources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedModel:
    """Wrong answers of a model on n photos that it did not learn from."""

    error: float
    interval: Sequence[float]
    n: int


@dataclass(frozen=True)
class ConfusedClasses:
    """n of the `of` photos of the class `true` were taken for `said`."""

    true: str
    said: str
    n: int
    of: int


@dataclass(frozen=True)
class ProjectFacts:
    """What is known of a project.

    least: photos that a class needs (split.least); test_share: of photos that judge the model
    (split.test); test: photos that judge it now, None before the split; refused: code -> files;
    unlabelled: photos without a class; drawn: whether code drew its pictures; first, model: the
    first model and the trained one; is_tuned: whether that was fine-tuned; changed: whether photos
    or labels did since; decisions: made since; likely, expected: photos that are probably faults,
    and how many faults are expected in all, None before there is a first model;
    can_look_again: whether cleaning can look at the photos a second time; confused: classes, most
    often first; curve: what `experiments.curve` left."""

    classes: Mapping[str, ClassFacts]
    least: int
    test_share: float
    test: int | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    drawn: bool = False
    first: JudgedModel | None = None
    model: JudgedModel | None = None
    is_tuned: bool = False
    changed: bool = False
    decisions: int = 0
    likely: int | None = None
    expected: float | None = None
    can_look_again: bool = False
    confused: Sequence[ConfusedClasses] = ()
    curve: Mapping[str, Any] | None = None

    @property
    def shown(self) -> JudgedModel | None:
        """The figure of the model in use: of a first model by all the photos that it was judged on
        in turn, which are more than those of the test split."""
        return self.model if self.is_tuned else self.first or self.model


def decisions_since(catalog: Catalog) -> int:
    """Photos that were decided on since the photos of the last training were taken."""
    train, probe = catalog.last_run("train"), catalog.last_run("probe")
    if train is None:
        return 0
    began = train.started
    if probe and _seconds(probe.started, began) < probe.seconds + _between(catalog) + _TOGETHER:
        began = probe.started  # of the same run, which takes its photos before its first stage
    return decisions_after(catalog, began)


def _between(catalog: Catalog) -> float:
    clean = catalog.last_run("clean")
    return clean.seconds if clean else 0.0


def _seconds(one: str, other: str) -> float:
    """From one time of the catalog to another; endless where the first is the later one."""
    apart = (datetime.fromisoformat(other) - datetime.fromisoformat(one)).total_seconds()
    return apart if apart >= 0 else float("inf")


def facts_of(
    place: Place, catalog: Catalog | None, state: Mapping[str, Any], decisions: int
) -> ProjectFacts:
    """The facts that advice is given by. state: see `insights`; decisions: since the training."""
    photos, config = state["photos"], place.config
    sizes: dict[str, list[int]] = {}
    if catalog:
        sizes = catalog.once("groups of the studio", lambda: group_sizes(catalog))
    rows = photos["by_class"]
    splits = [row.get(split, 0) for row in rows.values() for split in ("train", "valid", "test")]
    suspects, model = state.get("suspects") or {}, state.get("model")
    return ProjectFacts(
        classes={
            label: _class_facts(row, sizes.get(label, []), photos["by_source"].get(label, {}))
            for label, row in rows.items()
            if label in config.labels
        },
        least=config.split.least,
        test_share=config.split.test,
        test=sum(row.get("test", 0) for row in rows.values()) if any(splits) else None,
        refused={code: row["n"] for code, row in photos["refused"].items()},
        unlabelled=photos["unlabelled"],
        drawn=photos["drawn"],
        first=_judged(state.get("first")),
        model=_judged(model),
        is_tuned=model is not None and model["trained"] == "fine-tuned",
        changed=model is not None and not model["current"],
        decisions=decisions,
        likely=suspects.get("waiting"),
        expected=suspects.get("expected_faults"),
        can_look_again=suspects.get("can_look_again", False),
        confused=confused(place, bool(model)),
        curve=_newer(place.data / "curve" / "curve.json", place.data / "probe" / "head.npz"),
    )


def _class_facts(
    row: Mapping[str, int], sizes: Sequence[int], sources: Mapping[str, int]
) -> ClassFacts:
    """sizes: of its groups of near-copies."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    known = {name: n for name, n in sources.items() if name}
    return ClassFacts(
        row["usable"], len(sizes), max(sizes, default=0), copies_effect(groups), known
    )


def _judged(row: Mapping[str, Any] | None) -> JudgedModel | None:
    """None as well where no photo judged it."""
    if not row or row["error"] is None or not row["interval"]:
        return None
    return JudgedModel(row["error"], row["interval"], row["n"])


def _newer(path: Path, than: Path) -> dict[str, Any] | None:
    """What a file of JSON holds, if it was made after the other one."""
    try:
        if path.stat().st_mtime < than.stat().st_mtime:
            return None
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found
    except (OSError, ValueError):
        return None


def confused(place: Place, trained: bool) -> list[ConfusedClasses]:
    """The confused classes of the test photos, most often first; before a training none."""
    report = place.data / "evaluate" / "report.json"
    found = _newer(report, place.data / "train" / "predictions.npz") if trained else None
    if not found:
        return []
    test = found["test"]
    return pairs(test["confusion"], test["labels"])


def pairs(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> list[ConfusedClasses]:
    """The confused classes, most often first. confusion: rows true, columns predicted."""
    found = [
        ConfusedClasses(labels[i], labels[j], n, sum(row))
        for i, row in enumerate(confusion)
        for j, n in enumerate(row)
        if i != j and n
    ]
    return sorted(found, key=lambda pair: (-pair.n, pair.true, pair.said))
