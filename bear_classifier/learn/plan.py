"""The training plan: what the settings of `train` mean, class weights, notes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bear_classifier.config.settings import Config, TrainConfig, stored_settings
from bear_classifier.learn.fit import Plan

_SPREAD = 2.0  # of rates with pretrained weights; more kept the body from learning (docs/LOG.md)
_NO_EFFECT = ("resume", "rehearse")  # as `stored_settings` names them
_UNBALANCED = 10  # times as many photos in the largest class as in the smallest: worth a note


def plan_of(config: Config, labels: Sequence[str]) -> Plan:
    """The plan of the settings. labels: of the photos to learn from, whose numbers give the weights
    of classes where `train.balance` asks for some."""
    settings = config.train
    weighted = settings.balance == "weighted-loss"
    return Plan(
        settings.epochs,
        settings.lr,
        lr_ratio_of(config),
        frozen=settings.frozen,
        cycles=settings.cycles,
        weights=class_weights(labels, config.labels) if weighted else (),
    )


def class_weights(labels: Sequence[str], vocab: Sequence[str]) -> tuple[float, ...]:
    """n / (k * n of the class) for each of the k classes of `vocab`: scikit-learn's "balanced",
    with which all classes count alike and a photo counts 1 on average. A class without a photo has
    no loss to weigh, and counts as if it had one."""
    counts = Counter(labels)
    return tuple(len(labels) / (len(vocab) * max(counts[label], 1)) for label in vocab)


def unbalanced(labels: Sequence[str], settings: TrainConfig) -> list[str]:
    """A note if the classes are unequal and nothing is done about it. labels: learned from."""
    ranked = Counter(labels).most_common()
    (large, most), (small, least) = ranked[0], ranked[-1]
    if settings.balance != "none" or most < _UNBALANCED * least:
        return []
    return [
        f'{most} training photos of "{large}" and {least} of "{small}": the large class may drown'
        " the small one; to see which remedy helps, run: bears compare balance"
    ]


def lasting(settings: TrainConfig) -> dict[str, Any]:
    """What of the settings the weights at the end of a training depend on."""
    found = stored_settings(settings)
    return {key: found[key] for key in found if key not in _NO_EFFECT}


def lr_ratio_of(config: Config) -> float:
    """Rate of the head / rate of the first layers."""
    return config.train.lr_ratio or (1.0 if config.learn.weights == "none" else _SPREAD)


def adjusted_settings(settings: TrainConfig, n: int) -> tuple[TrainConfig, list[str]]:
    """Settings whose batch fits the data, and what was changed. n: training photos."""
    if n >= settings.batch_size:
        return settings, []
    note = f"{n} training photos: batch size lowered to {n}"
    return dataclasses.replace(settings, batch_size=n), [note]
