"""How far one has come with cleaning, what is still to be expected, and what undo takes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bear_classifier.apps.review_page import Now, Ranking, Wanted, missing_of
from bear_classifier.catalog import Catalog
from bear_classifier.decisions import history, is_taken_down
from bear_classifier.pile import in_force
from bear_classifier.schema import Event

_AHEAD = 20  # photos over which the stop sentence looks
_BATCHES = 2_500  # events in which the last batch and what undid it are looked for
_WORTH = 1.5  # expected faults among them; with fewer, looking on is hardly worth it
_PRIOR = 5.0  # faults, expected and found, before anything was looked at


def progress(catalog: Catalog, ranking: Ranking, today: Now, wanted: Wanted) -> dict[str, Any]:
    """How many of the filter's photos were looked at, what is left, and what undo takes back."""
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("label", "side", "reason", "state")
    }
    looked, of, ahead = 0, 0, []
    seen: list[tuple[float, bool]] = []
    alike: dict[int, list[Any]] = {}  # how many have these facets, the facets, what is missing
    for suspect, facets in zip(ranking.suspects, ranking.facets(today), strict=True):
        if id(facets) not in alike:
            alike[id(facets)] = [0, facets, missing_of(wanted, facets)]
        alike[id(facets)][0] += 1
        missing = alike[id(facets)][2]
        if missing <= {"state"}:
            of += 1
            if event := today.decided.get(suspect.sha256):
                looked += 1
                seen.append((suspect.score, event.action in ("drop", "relabel")))
            if today.is_open(suspect.sha256):
                ahead.append(suspect.score)
    ahead = [min(1.0, score * trust(seen)) for score in ahead]
    for n, facets, missing in alike.values():
        for name, values in facets.items():
            if missing <= {name}:
                counts[name].update(dict.fromkeys(values, n))
    return {
        "looked": looked,
        "of": of,
        "faults": sum(ahead),
        "counts": counts,
        "stop": stop_sentence(ahead),
        "enough": sum(ahead[:_AHEAD]) < _WORTH,
        "undo": undo_next(catalog, today),
        "revision": today.revision,
    }


def trust(seen: Sequence[tuple[float, bool]]) -> float:
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
    stay = {sha for sha, photo in today.photos.items() if is_taken_down(photo)}
    newest = reversed(history(catalog, limit=_BATCHES))
    able = [e for e in in_force(newest) if e.undoes is None and e.sha256 not in stay]
    if not able:
        return None
    last = able[0]
    batch = [e for e in able if e.request == last.request] if last.request else [last]
    return {"event": last.id, "sha256": last.sha256, "words": words(batch)}


def words(batch: Sequence[Event]) -> str:
    """What was decided, such as "drop of 3 photos" or "relabel of 1 photo to black"."""
    verbs = {event.action for event in batch}
    verb = verbs.pop() if len(verbs) == 1 else "decision"
    labels = {event.new for event in batch}
    to = f" to {labels.pop()}" if verb == "relabel" and len(labels) == 1 else ""
    by = "" if batch[0].request else f" (by a run: {batch[0].who})"
    return f"{verb} of {_count(len(batch), 'photo')}{to}{by}"
