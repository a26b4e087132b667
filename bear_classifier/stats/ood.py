"""OOD score: how similar a photo is to the training photos, and the threshold for rejecting it.

A photo is compared with reference photos by the cosine of their features and, where the weights
have classes of their own (ImageNet's), also by Hellinger's affinity of the class probabilities,
which is the cosine of their square roots. Of each the mean over the nearest few counts. Other
scores that were tried: docs/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bear_classifier.runtime.npz import as_small_npz, products, read_npz
from bear_classifier.stats.arrays import (
    AnyFloats,
    Bools,
    Floats,
    Floats32,
    Ints,
    Rows,
    Strings,
    in_blocks,
)

NEIGHBOURS = 5
MAX_REFERENCE = 2000  # photos that are kept: more would take a tenth of a second per query
_LARGEST = 2**27  # bytes of all arrays: a classifier of 20,000 classes beside them
_BLOCK = 1024
_SAME = 0.96  # cosine; the same photo as JPEG of quality 75 has 0.97 to 0.99, of 50 mostly 0.96
_RARE = 0.98  # quantile of cosines of the nearest photos that are no copies


ClassLayer = tuple[AnyFloats, AnyFloats]  # weight (k, f) and bias (k,) of the weights' own classes


@dataclass(frozen=True)
class Reference:
    """Photos to compare with. features: (n, f), pooled, half precision, as stored; groups: (n,)
    numbers of near-copies; classifier: weight (k, f) and bias (k,) of the weights' own classes, or
    None; centre, scale: mean and standard deviation of each similarity among the photos."""

    features: NDArray[np.float16]
    groups: Ints
    classifier: tuple[NDArray[np.float16], NDArray[np.float16]] | None
    centre: Floats
    scale: Floats

    def score(self, features: Rows) -> Floats:
        """OOD score (m,) of photos by their features (m, f), which are read in blocks: about 0 for
        the photos themselves, negative for OOD images; in standard deviations, averaged over the
        similarities."""
        found = np.empty((len(self._known), len(features)))
        for some in in_blocks(np.arange(len(features))):
            for row, one, known in zip(
                found, self._views(features[some]), self._known, strict=True
            ):
                row[some] = _near(one, known)
        return self._standard(found)

    def own(self) -> Floats:
        """OOD score (n,) of the reference photos, each without its near-copies."""
        return self._standard(self._own())

    def holds(self, features: AnyFloats) -> Bools:
        """Whether photos (m,) are reference photos, perhaps re-encoded: by the cosine of features
        (m, f), which is higher than between reference photos that are no copies."""
        cosines = self._views(features)[0] @ self._known[0].T
        return np.asarray(cosines.max(axis=1) > self._same)

    @cached_property
    def _same(self) -> float:
        """A cosine that two different pictures hardly reach."""
        known = self._known[0]
        nearest = np.empty(len(known))
        for start in range(0, len(known), _BLOCK):
            rows = slice(start, start + _BLOCK)
            alike = known[rows] @ known.T
            alike[self.groups[rows, None] == self.groups[None, :]] = -1.0
            nearest[rows] = alike.max(axis=1)
        return max(_SAME, float(np.quantile(nearest, _RARE)))

    def views(self) -> list[Floats32]:
        """Its photos as vectors of length 1, a row each, whose products are the similarities: of
        features (n, f) and, where there is a classifier, of the roots of probabilities (n, k)."""
        return self._known

    def without(self, rows: Bools) -> tuple[Reference, Floats]:
        """The reference that lacks these of its photos (n,), and the OOD scores of the others in
        it, each without its near-copies."""
        left = ~rows
        own = np.stack([_nearest(alike[np.ix_(left, left)]) for alike in self._alike])
        made = _standardised(self.features[left], self.groups[left], self.classifier, own)
        return made, made._standard(own)

    def _own(self) -> Floats:
        return np.stack([_near(view, view, self.groups) for view in self._known])

    @cached_property
    def _alike(self) -> list[Floats32]:
        """Similarities (n, n) of the photos; -1 of near-copies."""
        copies = self.groups[:, None] == self.groups[None, :]
        return [np.where(copies, np.float32(-1.0), products(view, view)) for view in self._known]

    @cached_property
    def _layer(self) -> tuple[Floats32, Floats32] | None:
        """The classifier in single precision, as it is multiplied with."""
        if self.classifier is None:
            return None
        weight, bias = self.classifier
        return weight.astype(np.float32), bias.astype(np.float32)

    @cached_property
    def _known(self) -> list[Floats32]:
        return self._views(self.features)

    def _standard(self, similarity: Floats) -> Floats:
        return np.asarray(((similarity - self.centre[:, None]) / self.scale[:, None]).mean(axis=0))

    def _views(self, features: AnyFloats) -> list[Floats32]:
        """Vectors of length 1 whose products are similarities."""
        plain = features.astype(np.float32)
        views = [plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)]
        if self._layer:
            weight, bias = self._layer
            logits = products(plain, weight) + bias
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            views.append(np.sqrt(powers / powers.sum(axis=1, keepdims=True)))
        return views

    def as_bytes(self) -> bytes:
        """An .npz file of plain arrays."""
        layer = dict(zip(("weight", "bias"), self.classifier or (), strict=False))
        return as_small_npz(
            features=self.features,
            groups=self.groups,
            centre=self.centre,
            scale=self.scale,
            **layer,
        )


def make_reference(
    features: Rows, groups: Ints, classifier: ClassLayer | None, seed: int
) -> Reference:
    """A reference of at most MAX_REFERENCE of these photos, of which no others are read. features:
    (n, f); groups: (n,)."""
    chosen = reference_rows(len(features), seed)
    layer = None
    if classifier:
        layer = classifier[0].astype(np.float16), classifier[1].astype(np.float16)
    ones = np.ones(2 if classifier else 1)
    plain = Reference(features[chosen].astype(np.float16), groups[chosen], layer, 0 * ones, ones)
    return _standardised(plain.features, plain.groups, layer, plain._own())


def reference_rows(n: int, seed: int) -> NDArray[np.intp]:
    """Which of n photos a reference of them holds, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:MAX_REFERENCE])


def _standardised(
    features: NDArray[np.float16],
    groups: Ints,
    layer: tuple[NDArray[np.float16], NDArray[np.float16]] | None,
    own: Floats,
) -> Reference:
    """own: (similarities, n) of each photo to the nearest others."""
    spread = np.maximum(own.std(axis=1), 1e-6)
    return Reference(features, groups, layer, own.mean(axis=1), spread)


def read_reference(data: bytes) -> Reference:
    """A reference of the bytes of `as_bytes`. Raises ValueError and KeyError at others."""
    arrays = read_npz(data, _LARGEST)
    if wrong := [name for name, part in arrays.items() if part.dtype.kind not in "fiu"]:
        raise ValueError(f"{wrong[0]} holds no numbers")
    layer = (arrays["weight"], arrays["bias"]) if "weight" in arrays else None
    features, groups, centre, scale = (arrays[k] for k in ("features", "groups", "centre", "scale"))
    views = 2 if layer else 1
    fits = (
        features.ndim == 2
        and features.shape[0] > 0
        and groups.shape == features.shape[:1]
        and centre.shape == scale.shape == (views,)
        and (layer is None or layer[0].shape == (layer[1].size, features.shape[1]))
    )
    numbers = (features, centre, scale, *(layer or ()))
    if not fits or not all(np.isfinite(part).all() for part in numbers) or not (scale > 0).all():
        raise ValueError("the arrays do not fit together")
    return Reference(features, groups, layer, centre, scale)


def threshold(scores: Floats, share: float) -> float:
    """The OOD score below which at most this share of new photos like these falls, on average over
    samples (split conformal prediction: Vovk et al., Algorithmic Learning in a Random World, 2005).
    Minus infinity, so that nothing is rejected, where there are too few scores."""
    rank = int(np.floor((len(scores) + 1) * share))
    numbers = np.where(np.isnan(scores), -np.inf, scores)
    return float(np.sort(numbers)[rank - 1]) if rank > 0 else -np.inf


def _near(queries: Floats32, known: Floats32, groups: Ints | None = None) -> Floats:
    """Mean similarity (m,) to the nearest few. groups: of both, if they are the same photos."""
    means = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        likeness = products(queries[rows], known)
        if groups is not None:
            likeness[groups[rows, None] == groups[None, :]] = -1.0
        means[rows] = _nearest(likeness)
    return means


def _nearest(likeness: Floats32) -> Floats:
    """The mean (m,) of the highest few in each row of (m, n)."""
    most = min(NEIGHBOURS, likeness.shape[1])
    return np.asarray(-np.partition(-likeness, most - 1, axis=1)[:, :most].mean(axis=1))


def accept_reasons(probabilities: Floats, scores: Floats, least: float, close: float) -> Strings:
    """Of each photo "ok", "unlike_training" (OOD score below `least`) or "too_close" (its two
    highest probabilities are closer than `close`). probabilities: (n, classes); scores: (n,)."""
    top = np.sort(probabilities, axis=1)
    near = ~(top[:, -1] - top[:, -2] >= close)  # NaN is rejected too
    return np.where(~(scores >= least), "unlike_training", np.where(near, "too_close", "ok"))
