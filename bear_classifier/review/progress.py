"""Progress of a review: what is done, what is expected, what undo takes back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import in_force, is_taken_down, newest_first
from bear_classifier.dataset.schema import Event
from bear_classifier.review.catalog_view import Now
from bear_classifier.review.queue import QueueFilter, Ranking
from bear_classifier.runtime.terminal import count
from bear_classifier.stats.arrays import Floats

_AHEAD = 20  # photos over which the stop sentence looks
_BATCHES = 50_000  # events in which the last batch and what undid it are looked for
_WORTH = 1.5  # expected faults among them; with fewer, looking on is hardly worth it
_RECENT = 40  # decisions by which chances are judged: the most suspect photos came before
_PRIOR = 2.0  # faults, expected and found, before anything was looked at
_LEAST = 1 / 8  # share of them that stays (docs/LOG.md)


def progress(ranking: Ranking, today: Now, chosen: QueueFilter) -> dict[str, Any]:
    """How many of the filter's photos were looked at, and what is left."""
    facets = ranking.facets(today)
    inside = facets.inside(chosen)
    seen = sorted(
        (
            event
            for sha256, event in today.decided.items()
            if (rank := ranking.rank(sha256)) is not None and inside[rank]
        ),
        key=lambda event: event.id,
    )
    ahead = chances_left(
        [(min(1.0, e.score or 0.0), _fault(e)) for e in seen if e.score is not None],
        ranking.scores[inside & facets.open],
    )
    counts = facets.counts(chosen)
    counts["side"] = counts.pop("split")
    return {
        "looked": len(seen),
        "of": int(inside.sum()),
        "faults": float(ahead.sum()),
        "counts": counts,
        "stop": stop_sentence(ahead),
        "enough": float(ahead[:_AHEAD].sum()) < _WORTH,
        "revision": today.revision,
    }


def _fault(event: Event) -> bool:
    return event.action in ("drop", "relabel")


def chances_left(seen: Sequence[tuple[float, bool]], left: Floats) -> Floats:
    """Chances of a fault of the photos that nobody decided on, as far as the last ones came true.

    seen: (chance at that time, was it a fault) of the others, newest last; decisions without a
    chance were not found in this order, and say nothing of it. left: chances (n,)."""
    return np.minimum(1.0, suspicion_factor(seen[-_RECENT:]) * left)


def suspicion_factor(seen: Sequence[tuple[float, bool]]) -> float:
    """A factor for the chances of the rest: faults confirmed over faults expected, both with a few
    more, so that the first photos do not decide; fewer and fewer of these, so that many photos
    without a fault do. seen: (chance, was it a fault)."""
    confirmed = sum(fault for _, fault in seen)
    prior = _PRIOR * max(_LEAST, 1 - len(seen) / _RECENT)
    return (confirmed + prior) / (sum(score for score, _ in seen) + prior)


def stop_sentence(scores: Floats) -> str:
    """Whether looking on is worth it. scores: (n,) of the undecided photos, in their order."""
    if not len(scores):
        return "Every photo here is decided"
    many = min(_AHEAD, len(scores))
    faults = float(scores[:many].sum())
    which = f"The next {many} photos hold" if many > 1 else "The last photo holds"
    amount = (
        "probably no fault" if faults < 0.5 else f"about {count(max(1, round(faults)), 'fault')}"
    )
    go_on = "looking on is hardly worth it" if faults < _WORTH else "looking on is worth it"
    return f"{which} {amount}: {go_on}"


def undo_next(catalog: Catalog) -> dict[str, Any] | None:
    """The batch that `decisions.undo` would take back, in words; event: its last one."""
    batch: list[Event] = []
    for event in in_force(islice(newest_first(catalog), _BATCHES)):
        photo = None if event.undoes else catalog.photo(event.sha256)
        if event.undoes is not None or (photo and is_taken_down(photo)):
            continue
        if batch and event.request != batch[0].request:
            break
        batch.append(event)
        if not event.request:
            break
    if not batch:
        return None
    return {"event": batch[0].id, "sha256": batch[0].sha256, "words": batch_text(batch)}


def batch_text(batch: Sequence[Event]) -> str:
    """What was decided, such as "drop of 3 photos" or "relabel of 1 photo to black"."""
    verbs = {event.action for event in batch}
    verb = verbs.pop() if len(verbs) == 1 else "decision"
    labels = {event.new for event in batch}
    to = f" to {labels.pop()}" if verb == "relabel" and len(labels) == 1 else ""
    by = "" if batch[0].request else f" (by a run: {batch[0].who})"
    return f"{verb} of {count(len(batch), 'photo')}{to}{by}"
