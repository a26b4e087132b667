"""Membership inference: an attack by the loss, and how well it does.

Membership inference by loss (Yeom et al., arXiv 1709.01604): a photo of which the model is oddly
sure was probably learned from. What comes of it here is a lower bound: attacks that train models of
their own to compare with do better (Carlini et al., arXiv 2112.03570).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bear_classifier.stats.arrays import Bools, Floats
from bear_classifier.stats.intervals import Interval, cluster_weights, wilson
from bear_classifier.stats.linear_probe import model
from bear_classifier.stats.metrics import ANY_PROBABILITY, log_losses

BOOTSTRAP_SAMPLES = 1000  # samples of the bootstrap


@dataclass(frozen=True)
class Leak:
    """auc: chance that a member's loss is below that of another, 0.5 where the loss tells nothing;
    interval: at 95 %; members, others: photos that this was measured on."""

    auc: float
    interval: Interval
    members: int
    others: int


def auc(members: Floats, others: Floats) -> float:
    """Chance that the loss of a member lies below that of another, ties counted half: U / (n m) of
    Mann and Whitney (Ann. Math. Stat. 18:50, 1947). members: (n,), others: (m,) losses."""
    n, m = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))  # equal ones share the mean of their ranks
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def resampled(
    members: Floats,
    others: Floats,
    of_members: NDArray[Any],
    of_others: NDArray[Any],
    draws: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> Floats:
    """AUC (draws,) of samples into which each group of near-copies is drawn as a whole, with
    replacement, as many as there are on either side. Of the same groups and seed the samples are
    the same, whatever the losses. of_members: (n,), of_others: (m,) groups."""
    rng = np.random.default_rng(seed)
    places = np.unique(np.concatenate([members, others]), return_inverse=True)[1]
    first, second = places[: len(members)], places[len(members) :]
    both = [np.unique(groups, return_inverse=True)[1] for groups in (of_members, of_others)]
    aucs = np.empty(draws)
    for draw in range(draws):
        mine, theirs = (cluster_weights(groups, rng) for groups in both)
        at = np.bincount(second, theirs, places.max() + 1)  # others at each of the ranked losses
        above = theirs.sum() - np.cumsum(at) + at / 2
        aucs[draw] = mine @ above[first] / (mine.sum() * theirs.sum())
    return aucs


def attack(
    members: Floats,
    others: Floats,
    of_members: NDArray[Any],
    of_others: NDArray[Any],
    draws: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> Leak:
    """How well the loss tells members (n,) from others (m,), at least one each, with the percentile
    interval of a bootstrap over groups (Efron and Tibshirani, 1993, chapter 13). Where all pairs
    agree no sample differs: then it is that of no mistake in as many groups as the lesser side has.
    """
    chance = auc(members, others)
    aucs = resampled(members, others, of_members, of_others, draws, seed)
    low, high = np.quantile(aucs, (0.025, 0.975)).tolist()
    if chance in (0.0, 1.0):
        groups = min(len(np.unique(of_members)), len(np.unique(of_others)))
        low, high = wilson(chance * groups, groups) or (0.0, 1.0)
    return Leak(chance, (low, high), len(members), len(others))


@dataclass(frozen=True)
class Membership:
    """member, (n,): whether a photo was learned from; groups, (n,): of near-copies."""

    member: Bools
    groups: NDArray[Any]

    def leak(self, losses: Floats) -> Leak:
        """`attack` by the losses (n,)."""
        mine, g = self.member, self.groups
        return attack(losses[mine], losses[~mine], g[mine], g[~mine])


def halves(
    membership: Membership, losses: Floats, times: int, draws: int, seed: int = 0
) -> list[Leak]:
    """Members against other members, cut at random between groups: there is nothing to find.

    losses: (n,)."""
    rng = np.random.default_rng(seed)
    mine, groups = losses[membership.member], membership.groups[membership.member]
    cuts = [_half(groups, rng) for _ in range(times)]
    return [
        attack(mine[one], mine[~one], groups[one], groups[~one], draws, number)
        for number, one in enumerate(cuts)
    ]


def _half(groups: NDArray[Any], rng: np.random.Generator) -> Bools:
    """(n,) whether a photo's group (n,) is in the one half of all groups."""
    names, at = np.unique(groups, return_inverse=True)
    return np.asarray(rng.permutation(len(names))[at] < len(names) / 2)


def head_losses(
    features: NDArray[np.float32], targets: NDArray[np.int64], learned: Bools, strength: float
) -> Floats:
    """Losses (n,) of a logistic regression that learned from some of the photos (n,).

    features: (n, f); targets: (n,); strength: inverse of that of its penalty on large weights."""
    fitted = model(strength).fit(features[learned], targets[learned])
    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    probabilities[:, fitted.classes_] = fitted.predict_proba(features)
    return log_losses(probabilities, targets, ANY_PROBABILITY)


def exchanged(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    groups: NDArray[Any],
    strength: float,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Losses (n,) of each photo by a head that learned it, and by one that did not.

    Each half of the groups has a head of its own: members and others are the same photos."""
    half = _half(groups, np.random.default_rng(seed))
    one, two = (head_losses(features, targets, learned, strength) for learned in (half, ~half))
    return np.where(half, one, two), np.where(half, two, one)


def attack_shuffled_labels(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    groups: NDArray[Any],
    strength: float,
    seed: int = 0,
) -> Leak:
    """The attack on heads that learned shuffled labels, of at most as many photos as there are
    features: half of so few each can learn by heart."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(targets))[: features.shape[1]]
    shuffled = rng.permutation(targets[rows])
    losses = exchanged(features[rows], shuffled, groups[rows], strength, seed)
    return attack(*losses, groups[rows], groups[rows])


def card_sentence(leak: Mapping[str, Any]) -> str:
    """For the model card. leak: the fields of a `Leak`."""
    low, high = leak["interval"]
    verdict = "The loss gives something away"
    if low <= 0.5:
        verdict = "This may be chance" if high >= 0.5 else "That is less often than by chance"
    return (
        "Shown a photo that it was trained on and one that it was not, somebody who goes by the"
        f" model's loss picks the former with a chance of {leak['auc']:.2f} (95 % interval"
        f" {low:.2f} to {high:.2f}, {leak['members']} and {leak['others']} photos); guessing would"
        f" have 0.50. {verdict}."
    )
