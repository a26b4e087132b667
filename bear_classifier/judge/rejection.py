"""The rejection rule: thresholds, the false-reject rate, the false-accept rate on OOD images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bear_classifier.stats.arrays import Bools, Floats
from bear_classifier.stats.intervals import Interval, clustered, proportion
from bear_classifier.stats.ood import Reference, make_reference, threshold


class Refusals(TypedDict):
    """What became of photos of the known classes."""

    n: int
    accepted: int
    accepted_share: float | None
    accepted_interval: Interval | None
    unlike_training: int
    too_close: int
    wrongly_refused: int
    answered_wrong: int


class FalseAccepts(TypedDict):
    """What became of pictures of nothing known. share: of those let through."""

    n: int
    let_through: int
    share: float | None
    interval: Interval | None


def rule(
    reference: Reference,
    probabilities: Floats,
    right: Bools,
    scores: Floats,
    groups: NDArray[Any],
    refused: float,
    close: float,
) -> tuple[float, float]:
    """The least familiarity and the least lead of the likeliest class at which an answer is given,
    so that of photos that would be answered rightly at most the share `refused` is turned away, on
    average over validation splits, however few photos they have (`ood.threshold`).

    Of validation photos: probabilities (n, classes), right (n,), scores (n,), groups (n,) of
    near-copies, of which one counts. close: the margin is no larger, and smaller where it would
    take more than half of the share; 0, so that nothing is too close, where they are too few.

    The photos of the reference count as well, each against the others: among few validation photos
    some odd ones decide. A network that learned from them may find them all too familiar; so if
    clearly more validation photos would be refused than allowed, they alone count."""
    top = np.sort(probabilities, axis=1)
    margins = (top[:, -1] - top[:, -2])[right][_lone(groups[right])]
    limit = max(0.0, threshold(margins, refused / 2))
    margin, n = min(close, limit), len(margins)
    below = int((n + 1) * refused / 2) / (n + 1) if limit <= close else (margins < close).mean()
    left = max(0.0, refused - float(below))
    each, known = scores[_lone(groups)], reference.own()[_lone(reference.groups)]
    least = threshold(np.concatenate([each, known]), left)
    low, _ = clustered(scores < least, groups) or (0.0, 1.0)
    return threshold(each, left) if low > left else least, margin


def _lone(groups: NDArray[Any]) -> NDArray[np.intp]:
    """One row of each group (n,): ranks of copies would promise more than they can hold."""
    return np.sort(np.unique(groups, return_index=True)[1])


def refusals(reasons: NDArray[np.str_], right: Bools, groups: NDArray[Any]) -> Refusals:
    """reasons: (n,) as `accept_reasons`; right: (n,) whether the most likely class is the true one;
    groups: (n,) of near-copies."""
    answered, n = reasons == "ok", len(reasons)
    return {
        "n": n,
        "accepted": int(answered.sum()),
        "accepted_share": proportion(int(answered.sum()), n),
        "accepted_interval": clustered(answered, groups),
        "unlike_training": int((reasons == "unlike_training").sum()),
        "too_close": int((reasons == "too_close").sum()),
        "wrongly_refused": int((~answered & right).sum()),
        "answered_wrong": int((answered & ~right).sum()),
    }


def false_accepts(reasons: NDArray[np.str_], groups: NDArray[Any]) -> FalseAccepts:
    """reasons, groups: (n,) as of `refusals`."""
    answered = reasons == "ok"
    n, through = len(reasons), int(answered.sum())
    interval = clustered(answered, groups)
    return {"n": n, "let_through": through, "share": proportion(through, n), "interval": interval}


def left_out_classes(
    features: NDArray[np.floating],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    classifier: tuple[NDArray[np.floating], NDArray[np.floating]] | None,
    labels: Sequence[str],
    refused: float,
) -> dict[str, FalseAccepts]:
    """Each class left out once: the share of its photos that the others' threshold accepts.

    An estimate without OOD images, and a hard one: classes look alike."""
    results = {}
    for number, label in enumerate(labels):
        others, left_out = targets != number, targets == number
        if not left_out.any() or not others.any():
            continue
        reference = make_reference(features[others], groups[others], classifier, seed=0)
        least = threshold(reference.own()[_lone(reference.groups)], refused)
        accepted = reference.score(features[left_out]) >= least
        reasons = np.where(accepted, "ok", "unlike_training")
        results[label] = false_accepts(reasons, groups[left_out])
    return results
