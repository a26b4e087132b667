"""Projections of features to few dimensions, and nearest neighbours in many."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.lesson.photos.tensorboard_projector import tsv_cell
from bear_classifier.lesson.trained_model import NetworkOutputs
from bear_classifier.stats.arrays import Floats, Ints

MOST, SEED = 1500, 7  # photos on a map
KEPT, PERPLEXITY = 50, 30.0  # components that t-SNE begins with, neighbours that it looks to
RANDOM_SETS = 1000  # random sets of photos, to compare one with


def sample_photos(wrong: NDArray[np.bool_], most: int = MOST, seed: int = SEED) -> Ints:
    """Rows of at most so many photos: the wrong ones (n,) first, then random others."""
    order = np.random.default_rng(seed).permutation(len(wrong))
    first = order[np.argsort(~wrong[order], kind="stable")][:most]
    return np.sort(first)


@dataclass(frozen=True)
class Principal:
    """centre: (f,); axes: (k, f) of length 1 at right angles, the widest first; at: (n, k), the
    photos along them; shares: (k,) of the variance."""

    centre: Floats
    axes: Floats
    at: Floats
    shares: Floats


def principal(features: NDArray[np.floating]) -> Principal:
    """Principal components of (n, f) by singular values (Jolliffe, Principal Component Analysis,
    2002). An axis could point either way: here its largest entry is positive."""
    centre = features.mean(axis=0, dtype=np.float64)
    left, sizes, axes = np.linalg.svd(features - centre, full_matrices=False)
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    signs = np.where(largest < 0, -1.0, 1.0)
    shares = sizes**2 / (sizes @ sizes)
    return Principal(centre, axes * signs[:, None], left * sizes * signs, shares)


def rebuilt(components: Principal, k: int) -> Floats:
    """The features (n, f) as the first k components know them."""
    return np.asarray(components.centre + components.at[:, :k] @ components.axes[:k])


def tsne(at: Floats, dims: int) -> Floats:
    """t-SNE (van der Maaten and Hinton, JMLR 2008) of photos along principal components (n, k).
    Begun at the first of them (Kobak and Berens, Nature Communications 2019), so nothing is left to
    chance; by one thread, since sums in another order would lead elsewhere. Returns (n, dims)."""
    begin = (1e-4 * at[:, :dims] / at[:, 0].std()).astype(np.float32)
    near = min(PERPLEXITY, (len(at) - 1) / 3)
    with threadpool_limits(1):
        made = TSNE(dims, perplexity=near, init=begin, random_state=SEED, n_jobs=1)
        return np.asarray(made.fit_transform(at[:, :KEPT]), dtype=np.float64)


def umap(at: Floats, dims: int) -> Floats:
    """UMAP (McInnes, Healy and Melville, arXiv 1802.03426), where it is installed."""
    made = importlib.import_module("umap").UMAP(n_components=dims, random_state=SEED, n_jobs=1)
    return np.asarray(made.fit_transform(at[:, :KEPT]), dtype=np.float64)


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


def permutation_p(shares: Floats, wrong: NDArray[np.bool_], seed: int = SEED) -> float:
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
