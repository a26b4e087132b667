"""The effect of cleaning: the probe before and after the decisions, on one test split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.config.settings import Config
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Event, Photo
from bear_classifier.errors import DataError
from bear_classifier.judge.predictions import load_evidence
from bear_classifier.stats.linear_probe import choose_strength, fit_linear, n_folds
from bear_classifier.stats.paired import paired_comparison


def effect(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Trained on train and valid before and after all decisions; judged on the test photos that no
    decision touched. Raises DataError (NOT_PROBED, NO_DECISIONS, NO_PHOTOS)."""
    evidence = load_evidence(catalog.root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    events = decisions.history(catalog)
    if not decisions.decided(catalog):
        raise DataError("NO_DECISIONS", "nothing was decided yet; to begin, run: bears review")
    first = {sha256: state for sha256, state in first_states(events).items() if state}
    photos = [photo for photo in catalog.photos() if photo.sha256 in rows]
    learning = [photo for photo in photos if photo.split != "test"]
    untouched = [p for p in photos if p.status == "ok" and p.sha256 not in first]
    test = [p for p in untouched if p.split == "test" and p.label in config.labels]
    if not test:
        raise DataError("NO_PHOTOS", "no photo of the test split is untouched by decisions")
    truth = np.array([config.labels.index(photo.label) for photo in test])
    features = evidence.features
    where = [rows[photo.sha256] for photo in test]

    def wrong(states: Sequence[tuple[Photo, str, str]]) -> NDArray[np.bool_]:
        used = [(p, x) for p, x, status in states if status == "ok" and x in config.labels]
        labels = np.array([config.labels.index(label) for _, label in used])
        groups = np.array([p.family for p, _ in used])
        known = features[[rows[p.sha256] for p, _ in used]]
        folds = n_folds(labels, groups, config.probe.folds)
        fitted = fit_linear(choose_strength(known, labels, groups, folds), known, labels)
        return np.asarray(fitted.predict(features[where]) != truth)

    now = {p.sha256: {"label": p.label, "status": p.status} for p in learning} | first
    before = wrong([(p, now[p.sha256]["label"], now[p.sha256]["status"]) for p in learning])
    after = wrong([(p, p.label, p.status) for p in learning])
    return paired_comparison(before, after, np.array([photo.family for photo in test]))


def first_states(events: Sequence[Event]) -> dict[str, dict[str, str]]:
    """What each photo with a label was before anybody decided on it. A first label changes none."""
    first = {}
    for event in reversed(events):
        state = json.loads(event.before) if event.before else {}
        if state.get("label", event.old):
            first[event.sha256] = state
    return first
