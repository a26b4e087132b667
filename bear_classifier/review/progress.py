"""Progress of a review: what is done, what is expected, what undo takes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import in_force, is_taken_down
from bear_classifier.dataset.schema import Event
from bear_classifier.review.catalog_view import Now
from bear_classifier.review.queue import QueueFilter, Ranking, alike, missing_of

_AHEAD = 20  # photos over which the stop sentence looks
_BATCHES = 2_500  # events in which the last batch and what undid it are looked for
_PAGE = 20  # events read first; then twice as many, ...
_WORTH = 1.5  # expected faults among them; with fewer, looking on is hardly worth it
_PRIOR = 5.0  # faults, expected and found, before anything was looked at


def progress(catalog: Catalog, ranking: Ranking, today: Now, wanted: QueueFilter) -> dict[str, Any]:
    """How many of the filter's photos were looked at, what is left, and what undo takes back."""
    found = ranking.facets(today)
    kinds = alike(found)
    lacks = {key: missing_of(wanted, facets) for key, facets in kinds.items()}
    inside = {key: facets for key, facets in kinds.items() if lacks[key] <= {"state"}}
    many = Counter(map(id, found))

    def scores(state: str) -> list[tuple[str, float]]:
        """Of the filter's photos in this state, in their order."""
        these = {key for key, facets in inside.items() if state in facets["state"]}
        pairs = zip(ranking.suspects, found, strict=True)
        return [(one.sha256, one.score) for one, facets in pairs if id(facets) in these]

    seen = [
        (score, today.decided[sha256].action in ("drop", "relabel"))
        for sha256, score in scores("decided")
    ]
    trusted = suspicion_factor(seen)
    ahead = [min(1.0, score * trusted) for _, score in scores("open")]
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("label", "side", "reason", "state")
    }
    for key, facets in kinds.items():
        for name, values in facets.items():
            if lacks[key] <= {name}:
                counts[name].update(dict.fromkeys(values, many[key]))
    return {
        "looked": len(seen),
        "of": sum(many[key] for key in inside),
        "faults": sum(ahead),
        "counts": counts,
        "stop": stop_sentence(ahead),
        "enough": sum(ahead[:_AHEAD]) < _WORTH,
        "undo": undo_next(catalog, today),
        "revision": today.revision,
    }


def suspicion_factor(seen: Sequence[tuple[float, bool]]) -> float:
    """What to multiply chances by, after so many were looked at: faults found over faults expected,
    both with a few more, so that the first photos do not decide. seen: (chance, was it a fault)."""
    found = sum(fault for _, fault in seen)
    return (found + _PRIOR) / (sum(score for score, _ in seen) + _PRIOR)


def stop_sentence(scores: Sequence[float]) -> str:
    """Whether looking on is worth it. scores: of the photos not decided yet, in their order."""
    if not scores:
        return "Every photo here is decided"
    many = min(_AHEAD, len(scores))
    faults = sum(scores[:many])
    which = f"The next {many} photos hold" if many > 1 else "The last photo holds"
    amount = "probably no fault" if faults < 0.5 else f"about {_count(round(faults), 'fault')}"
    go_on = "looking on is hardly worth it" if faults < _WORTH else "looking on is worth it"
    return f"{which} {amount}: {go_on}"


def _count(n: int, noun: str) -> str:
    return f"{max(n, 1)} {noun}{'s' if n > 1 else ''}"


def undo_next(catalog: Catalog, today: Now) -> dict[str, Any] | None:
    """The batch that `decisions.undo` would take back, in words; event: its last one."""
    batch: list[Event] = []
    for event in in_force(islice(_backwards(catalog), _BATCHES)):
        photo = today.photos.get(event.sha256)
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


def _backwards(catalog: Catalog) -> Iterator[Event]:
    """All events, the newest first, read a page at a time."""
    before, size = catalog.revision() + 1, _PAGE
    while page := catalog.events("WHERE id < ? ORDER BY id DESC LIMIT ?", (before, size)):
        yield from page
        before, size = page[-1].id, 2 * size


def batch_text(batch: Sequence[Event]) -> str:
    """What was decided, such as "drop of 3 photos" or "relabel of 1 photo to black"."""
    verbs = {event.action for event in batch}
    verb = verbs.pop() if len(verbs) == 1 else "decision"
    labels = {event.new for event in batch}
    to = f" to {labels.pop()}" if verb == "relabel" and len(labels) == 1 else ""
    by = "" if batch[0].request else f" (by a run: {batch[0].who})"
    return f"{verb} of {_count(len(batch), 'photo')}{to}{by}"
