"""When to give no answer: the rule, what it refuses of known classes, and what strangers get by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.familiar import Reference, make, threshold
from bear_classifier.judge.intervals import share, wilson


def rule(
    reference: Reference,
    probabilities: NDArray[np.float64],
    right: NDArray[np.bool_],
    scores: NDArray[np.float64],
    refused: float,
    close: float,
) -> tuple[float, float]:
    """The least familiarity and the least lead of the likeliest class at which an answer is given,
    so that of photos that would be answered rightly at most the share `refused` is turned away.

    Of validation photos: probabilities (n, classes), right (n,), scores (n,). close: the margin is
    no larger, and smaller where it would take more than half of the share.

    The photos of the reference count as well, each against the others: among few validation photos
    some odd ones decide. A network that learned from them may find them all too familiar; so if
    clearly more validation photos would be refused than allowed, they alone count."""
    top = np.sort(probabilities, axis=1)
    margins = np.sort((top[:, -1] - top[:, -2])[right])
    allowed = int(len(right) * refused / 2)
    margin = min(close, float(margins[allowed])) if allowed < len(margins) else close
    lost = float((margins < margin).sum() / max(1, len(right)))
    left = max(0.0, refused - lost)
    least = threshold(np.concatenate([scores, reference.own()]), left)
    low, _ = wilson(int((scores < least).sum()), len(scores)) or (0.0, 1.0)
    return threshold(scores, left) if low > left else least, margin


def refusals(said: NDArray[np.str_], right: NDArray[np.bool_]) -> dict[str, Any]:
    """What became of photos of the known classes. said: as `verdicts`; right: (n,) whether the most
    likely class is the true one."""
    n, accepted = len(said), int((said == "ok").sum())
    wrongly = int(((said != "ok") & right).sum())
    answered = right[said == "ok"]
    return {
        "n": n,
        "accepted": accepted,
        "accepted_share": share(accepted, n),
        "accepted_interval": wilson(accepted, n),
        "unlike_training": int((said == "unlike_training").sum()),
        "too_close": int((said == "too_close").sum()),
        "wrongly_refused": wrongly,
        "answered_wrong": int((~answered).sum()),
    }


def let_through(said: NDArray[np.str_]) -> dict[str, Any]:
    """What became of pictures of nothing known."""
    n, through = len(said), int((said == "ok").sum())
    return {
        "n": n,
        "let_through": through,
        "share": share(through, n),
        "interval": wilson(through, n),
    }


def left_out(
    features: NDArray[np.floating],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    classifier: tuple[NDArray[np.floating], NDArray[np.floating]] | None,
    labels: Sequence[str],
    refused: float,
) -> dict[str, dict[str, Any]]:
    """Each class once as a stranger to the others: how much of it would look familiar to them.

    An estimate that needs no pictures of strangers, and a hard one: classes are alike."""
    found = {}
    for number, label in enumerate(labels):
        others, stranger = targets != number, targets == number
        if not stranger.any() or not others.any():
            continue
        reference = make(features[others], groups[others], classifier, seed=0)
        least = threshold(reference.own(), refused)
        familiar = reference.score(features[stranger]) >= least
        found[label] = let_through(np.where(familiar, "ok", "unlike_training"))
    return found
