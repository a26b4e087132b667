"""The rejection rule: thresholds, the false-reject rate, the false-accept rate on OOD images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bear_classifier.judge.out_of_sample import Answers, OutOfSample
from bear_classifier.stats.arrays import AnyFloats, Bools, Floats, Rows, SomeRows, Strings
from bear_classifier.stats.calibration import chance_gap, fit_temperature
from bear_classifier.stats.intervals import Interval, clustered, proportion
from bear_classifier.stats.metrics import calibration_error, softmax
from bear_classifier.stats.ood import accept_reasons, make_reference, threshold


class Refusals(TypedDict):
    """What became of photos of the known classes. refused_share: of the `right` ones, whose
    likeliest class is the true one, those that get no answer."""

    n: int
    accepted: int
    accepted_share: float | None
    accepted_interval: Interval | None
    unlike_training: int
    too_close: int
    wrongly_refused: int
    answered_wrong: int
    right: int
    refused_share: float | None
    refused_interval: Interval | None


class Elsewhere(Refusals):
    """Photos of sources that took no part in setting the limits that they meet. by_source: of each
    part of the sources; ece: calibration error at the temperature of the others; chance_gap: as
    much may be chance."""

    by_source: dict[str, Refusals]
    ece: float | None
    chance_gap: float | None


class FalseAccepts(TypedDict):
    """What became of pictures of nothing known. share: of those let through."""

    n: int
    let_through: int
    share: float | None
    interval: Interval | None


@dataclass(frozen=True)
class RejectionLimits:
    """temperature: of the softmax; least: OOD score; close: lead of the likeliest class."""

    temperature: float
    least: float
    close: float

    def reasons(self, logits: AnyFloats, scores: Floats) -> Strings:
        """As `ood.accept_reasons`. logits: (n, classes); scores: (n,)."""
        probabilities = softmax(logits, self.temperature)
        return accept_reasons(probabilities, scores, self.least, self.close)


def set_limits(answers: OutOfSample, refused: float, close: float) -> RejectionLimits:
    """Temperature and limits by which, of photos that would be answered rightly, at most the share
    `refused` gets no answer, on average over such photos, however few they are (`ood.threshold`).

    Temperature and lead are set on photos of other sources, where there are any, else on photos
    like those that were learned from. close: the lead is no larger, and smaller where it would take
    more than half of the share. The OOD score may take what is left, and on photos of known sources
    half of the share, if that is one photo: sources that nobody has seen are refused up to twice as
    often, and more where the known ones are all alike (docs/LOG.md). The laxer limit counts.

    Where the network itself was tuned, photos of other sources have scores of other networks, those
    of the halves. They say nothing of this one's (docs/LOG.md): its own validation photos and
    reference set the limit, by the whole share."""
    if answers.harder is None:
        return RejectionLimits(1.0, -np.inf, 0.0)
    harder = answers.harder
    temperature = fit_temperature(harder.logits, harder.targets)
    usual = harder.of(harder.right).only_once()
    top = np.sort(softmax(usual.logits, temperature), axis=1)
    leads, n = top[:, -1] - top[:, -2], len(top)
    limit = max(0.0, threshold(leads, refused / 2))
    below = int((n + 1) * refused / 2) / (n + 1) if limit <= close else (leads < close).mean()
    bounds, left = [], max(0.0, refused - float(below))
    tuned = answers.near is not None and answers.near_basis == "valid"
    if answers.sources and not tuned:
        bounds.append(threshold(usual.scores, left))
    if answers.near:
        bounds.append(_near_limit(answers.near, answers.own, left if tuned else None, refused))
    return RejectionLimits(temperature, min(bounds), min(close, limit))


def _near_limit(near: Answers, own: Floats, share: float | None, refused: float) -> float:
    """The OOD score that this share of photos of known sources misses; None: half of `refused`.

    own: of a tuned network's reference photos; among few validation photos some odd ones would
    decide. But if by these clearly more validation photos were refused, it knows them by heart, and
    validation photos alone count."""
    usual = near.of(near.right).only_once().scores
    every = np.concatenate([usual, own])
    limit, alone = (
        threshold(some, _half(len(some), refused) if share is None else share)
        for some in (every, usual)
    )
    low, _ = clustered(usual < limit, np.arange(len(usual))) or (0.0, 1.0)
    return alone if low > (refused / 2 if share is None else share) else limit


def _half(n: int, refused: float) -> float:
    """Half of the share, or all of it where half would be no photo."""
    return refused / 2 if (n + 1) * refused >= 2 else refused


def refused_elsewhere(
    answers: OutOfSample, refused: float, close: float, seed: int
) -> Elsewhere | None:
    """What becomes of the photos of each part of the sources by limits that are set on the others;
    None where sources are not known."""
    if answers.sources is None:
        return None
    whole = answers.sources
    reasons = np.full(len(whole.targets), "", dtype="U16")
    probabilities = np.zeros_like(whole.logits)
    for part in np.unique(whole.parts):
        mine = whole.parts == part
        others = answers.apart_from(str(part), whole.groups[mine])
        limits = set_limits(others, refused, close)
        reasons[mine] = limits.reasons(whole.logits[mine], whole.scores[mine])
        probabilities[mine] = softmax(whole.logits[mine], limits.temperature)
    by_source = {
        part: refusals(reasons[rows], whole.right[rows], whole.groups[rows])
        for part, _ in Counter(whole.parts.tolist()).most_common()
        for rows in [whole.parts == part]
    }
    return {
        **refusals(reasons, whole.right, whole.groups),
        "by_source": by_source,
        "ece": calibration_error(probabilities, whole.targets),
        "chance_gap": chance_gap(probabilities.max(axis=1), seed),
    }


def _lone(groups: NDArray[Any]) -> NDArray[np.intp]:
    """One row of each group (n,): ranks of copies would promise more than they can hold."""
    return np.sort(np.unique(groups, return_index=True)[1])


def refusals(reasons: NDArray[np.str_], right: Bools, groups: NDArray[Any]) -> Refusals:
    """reasons: (n,) as `accept_reasons`; right: (n,) whether the most likely class is the true one;
    groups: (n,) of near-copies."""
    answered, n, usual = reasons == "ok", len(reasons), int(right.sum())
    lost = int((~answered & right).sum())
    return {
        "n": n,
        "accepted": int(answered.sum()),
        "accepted_share": proportion(int(answered.sum()), n),
        "accepted_interval": clustered(answered, groups),
        "unlike_training": int((reasons == "unlike_training").sum()),
        "too_close": int((reasons == "too_close").sum()),
        "wrongly_refused": lost,
        "answered_wrong": int((answered & ~right).sum()),
        "right": usual,
        "refused_share": proportion(lost, usual),
        "refused_interval": clustered(~answered[right], groups[right]),
    }


def false_accepts(reasons: NDArray[np.str_], groups: NDArray[Any]) -> FalseAccepts:
    """reasons, groups: (n,) as of `refusals`."""
    answered = reasons == "ok"
    n, through = len(reasons), int(answered.sum())
    interval = clustered(answered, groups)
    return {"n": n, "let_through": through, "share": proportion(through, n), "interval": interval}


def left_out_classes(
    features: Rows,
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
        known = SomeRows(features, np.flatnonzero(others))
        reference = make_reference(known, groups[others], classifier, seed=0)
        least = threshold(reference.own()[_lone(reference.groups)], refused)
        accepted = reference.score(SomeRows(features, np.flatnonzero(left_out))) >= least
        reasons = np.where(accepted, "ok", "unlike_training")
        results[label] = false_accepts(reasons, groups[left_out])
    return results
