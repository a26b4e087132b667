"""The photos on the map of the lesson, and whose neighbours are of their own class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bear_classifier.lesson.photos.tensorboard_projector import tsv_cell
from bear_classifier.lesson.trained_model import NetworkOutputs
from bear_classifier.stats.arrays import Floats, Ints
from bear_classifier.stats.projections import MAP_SEED

MOST = 1500  # photos on a map
RANDOM_SETS = 1000  # random sets of photos, to compare one with


def sample_photos(wrong: NDArray[np.bool_], most: int = MOST, seed: int = MAP_SEED) -> Ints:
    """Rows of at most so many photos: the wrong ones (n,) first, then random others."""
    order = np.random.default_rng(seed).permutation(len(wrong))
    first = order[np.argsort(~wrong[order], kind="stable")][:most]
    return np.sort(first)


def class_shares(near: Sequence[Sequence[int]], classes: Ints, targets: Ints) -> Floats:
    """Shares (m,) of the neighbours of each of m photos that are of a given class. near: numbers of
    the neighbours; classes: (m,); targets: (n,) the class of each photo."""
    pairs = zip(near, classes, strict=True)
    return np.array([(targets[list(rows)] == given).mean() for rows, given in pairs])


def expected_shares(rows: Ints, targets: Ints, groups: Ints) -> Floats:
    """The same (m,), expected of neighbours drawn at random from all photos outside of the
    photo's own group. groups: (n,) numbers of near-copies."""
    table = np.zeros((groups.max() + 1, targets.max() + 1))
    np.add.at(table, (groups, targets), 1)
    own = table.sum(axis=0)[targets] - table[groups, targets]
    every = len(targets) - table.sum(axis=1)[groups]
    return np.asarray(own / np.maximum(every, 1))[rows]


def permutation_p(shares: Floats, wrong: NDArray[np.bool_], seed: int = MAP_SEED) -> float:
    """How often random photos, as many as there are wrong ones, have a mean share as low as
    these: a permutation test. shares, wrong: (m,)."""
    rng, k = np.random.default_rng(seed), int(wrong.sum())
    means = [shares[rng.permutation(len(shares))[:k]].mean() for _ in range(RANDOM_SETS)]
    return float(np.mean(np.array(means) <= shares[wrong].mean()))


@dataclass(frozen=True)
class Cloud:
    """The m photos of the map among all n. rows: (m,) theirs; answers: (n,) numbers of the classes
    that the network says; groups: (n,) numbers of near-copies."""

    every: NetworkOutputs
    rows: Ints
    answers: Ints
    groups: Ints
    labels: list[str]

    @property
    def features(self) -> NDArray[np.float32]:
        return self.every.pooled[self.rows].astype(np.float32)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return np.asarray((self.answers != self.every.targets)[self.rows])

    @property
    def sides(self) -> list[str]:
        return [self.every.photos[row].split or "no" for row in self.rows]

    @property
    def files(self) -> list[str]:
        origins = [self.every.photos[row].origin for row in self.rows]
        return [tsv_cell(re.split(r"[\\/]", origin.rstrip("\\/"))[-1]) for origin in origins]


def cloud(every: NetworkOutputs, labels: list[str]) -> Cloud:
    answers = every.logits.argmax(axis=1)
    groups = np.unique([p.family for p in every.photos], return_inverse=True)[1]
    return Cloud(every, sample_photos(answers != every.targets), answers, groups, labels)
