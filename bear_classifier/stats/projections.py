"""Projections of features to few dimensions."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.stats.arrays import Floats, Ints, Rows, in_blocks, moments

MAP_SEED = 7
KEPT, PERPLEXITY = 50, 30.0  # components that t-SNE begins with, neighbours that it looks to
LANDMARKS = 2_500  # points that t-SNE places; of more it would take time without bound
_STEPS = 500  # of t-SNE on a map; see docs/LOG.md
_NEAR = 5  # landmarks between which another point lies
_FEW = 8  # points; of fewer a map by t-SNE says nothing


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


def tsne(at: Floats, dims: int, steps: int = 1000) -> Floats:
    """t-SNE (van der Maaten and Hinton, JMLR 2008) of photos along principal components (n, k).
    Begun at the first of them (Kobak and Berens, Nature Communications 2019), so nothing is left to
    chance; by one thread, since sums in another order would lead elsewhere. Returns (n, dims)."""
    begin = (1e-4 * at[:, :dims] / at[:, 0].std()).astype(np.float32)
    near = min(PERPLEXITY, (len(at) - 1) / 3)
    with threadpool_limits(1):
        made = TSNE(
            dims, perplexity=near, init=begin, random_state=MAP_SEED, n_jobs=1, max_iter=steps
        )
        return np.asarray(made.fit_transform(at[:, :KEPT]), dtype=np.float64)


def umap(at: Floats, dims: int) -> Floats:
    """UMAP (McInnes, Healy and Melville, arXiv 1802.03426), where it is installed."""
    made = importlib.import_module("umap").UMAP(n_components=dims, random_state=MAP_SEED, n_jobs=1)
    return np.asarray(made.fit_transform(at[:, :KEPT]), dtype=np.float64)


def flat_map(features: Rows) -> Floats:
    """The first two principal components (n, 2) of (n, f), scaled as in `scaled`: a map at once."""
    return scaled(_components(features)[:, :2])


def embedding_map(features: Rows) -> Floats:
    """A map (n, 2) of (n, f) by t-SNE, scaled as in `scaled`, in a time that is bounded.

    Of more than LANDMARKS points only so many, drawn evenly, are placed by t-SNE; each other point
    lies between the landmarks nearest to it, by inverse squared distance along the components."""
    at = _components(features)
    n = len(at)
    if n < _FEW or not at[:, 0].std():
        return scaled(at[:, :2])
    if n <= LANDMARKS:
        return scaled(tsne(at, 2, _STEPS))
    rows = _landmarks(n)
    landmarks = tsne(at[rows], 2, _STEPS)
    placed, neighbours = np.empty((n, 2)), NearestNeighbors(n_neighbors=_NEAR).fit(at[rows])
    for some in in_blocks(np.arange(n)):
        distances, near = neighbours.kneighbors(at[some])
        weights = 1 / np.maximum(distances, 1e-9) ** 2
        placed[some] = (landmarks[near] * weights[:, :, None]).sum(1) / weights.sum(
            1, keepdims=True
        )
    placed[rows] = landmarks
    return scaled(placed)


def scaled(at: Floats) -> Floats:
    """Points (n, d), moved and scaled alike along all axes, none farther from 0 than 1."""
    middle = at - (at.max(axis=0) + at.min(axis=0)) / 2
    return np.asarray(middle / max(float(np.abs(middle).max()), 1e-12))


def _landmarks(n: int) -> Ints:
    """Numbers of at most LANDMARKS of n points, drawn evenly."""
    return np.sort(np.random.default_rng(MAP_SEED).permutation(n)[:LANDMARKS])


def _components(features: Rows) -> Floats:
    """Principal components (n, k) of standardised features (n, f), at least two of them, whose axes
    are those of the landmarks."""
    every = np.arange(len(features))
    centre, spread = moments(features, every)
    spread = np.where(spread > 0, spread, 1)
    few = (features[_landmarks(len(features))] - centre) / spread
    kept = min(KEPT, *few.shape)
    with threadpool_limits(1):  # sums in another order would lead elsewhere
        found = PCA(kept, svd_solver="covariance_eigh").fit(few)
        at = np.zeros((len(features), max(2, kept)))
        for some in in_blocks(every):
            at[some, :kept] = found.transform((features[some] - centre) / spread)
    return at
