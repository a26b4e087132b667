"""The review queue: rows of suspects, filters, and one photo in full.

The ranking is computed once; labels, states and decisions are read from the catalog each time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import history
from bear_classifier.dataset.schema import Event, Suspect
from bear_classifier.review.catalog_view import Now

STATES = ("open", "decided", "all")


@dataclass(frozen=True)
class QueueFilter:
    """The filter. label: of now or of when it was ranked; reason: the strongest one."""

    label: str = ""
    reason: str = ""
    side: str = ""
    state: str = "open"


class Ranking:
    """Every photo that was usable or dropped when the page started, most suspect first."""

    def __init__(self, suspects: Sequence[Suspect], today: Now) -> None:
        known = {suspect.sha256 for suspect in suspects}
        dropped = [
            Suspect(p.sha256, p.origin, p.label, p.split or "", p.label, event.score or 0.0,
                    [event.why] if event.why else [])
            for sha256, event in today.decided.items()
            if sha256 not in known and (p := today.photos[sha256]).status == "dropped"
        ]  # fmt: skip
        self.suspects = sorted([*suspects, *dropped], key=lambda one: -one.score)
        self.place = {suspect.sha256: n for n, suspect in enumerate(self.suspects)}
        self.kinds = [kind(suspect) for suspect in self.suspects]
        self._found = today, [self._facets(rank, today) for rank in range(len(self.suspects))]

    def facets(self, today: Now) -> list[dict[str, set[str]]]:
        """Of each photo, the values of the filter under which it is found; those of photos that
        are alike are the same object. Worked out once, and again where something has changed."""
        last, found = self._found
        if last is not today:
            found = [
                facets
                if today.photos.get(one.sha256) is last.photos.get(one.sha256)
                else self._facets(rank, today)
                for rank, (one, facets) in enumerate(zip(self.suspects, found, strict=True))
            ]
            self._found = today, found
        return found

    def _facets(self, rank: int, today: Now) -> dict[str, set[str]]:
        """Nothing for a photo that left."""
        suspect = self.suspects[rank]
        photo = today.photos.get(suspect.sha256)
        if photo is None:
            return {}
        looked = suspect.sha256 in today.decided
        still_open = today.is_open(suspect.sha256)
        return _under(
            photo.label, suspect.label, photo.split or "", self.kinds[rank], still_open, looked
        )


def kind(suspect: Suspect) -> str:
    """The strongest of its reasons, or nothing."""
    best = max(suspect.scores, key=lambda name: suspect.scores[name], default="")
    return best if suspect.scores.get(best, 0) > 0 else ""


@cache  # there are few; sets of their own for 20,000 photos take a second
def _under(
    label: str, ranked: str, side: str, reason: str, still_open: bool, looked: bool
) -> dict[str, set[str]]:
    states = {"all"} | ({"open"} if still_open else set()) | ({"decided"} if looked else set())
    return {"label": {label, ranked}, "side": {side}, "reason": {reason}, "state": states}


def row(ranking: Ranking, today: Now, rank: int, place: int = 0) -> dict[str, Any]:
    """One photo of the queue. rank: in the whole ranking; place: in the filter, from 1."""
    suspect = ranking.suspects[rank]
    photo = today.photos[suspect.sha256]
    event = today.decided.get(suspect.sha256)
    return {
        "sha256": suspect.sha256,
        "rank": rank,
        "place": place,
        "label": photo.label,
        "suggested": suspect.suggested,
        "score": suspect.score,
        "reasons": suspect.reasons,
        "scores": suspect.scores,
        "kind": ranking.kinds[rank],
        "split": photo.split,
        "status": photo.status,
        "decision": event_row(event) if event else None,
        "width": photo.width,
        "height": photo.height,
        "based": today.revision,
    }


def rows_of(ranking: Ranking, today: Now, hashes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of these photos, in this order, as they are now; without their places."""
    known = [sha for sha in dict.fromkeys(hashes) if sha in ranking.place and sha in today.photos]
    return [row(ranking, today, ranking.place[sha]) for sha in known]


def event_row(event: Event) -> dict[str, Any]:
    return {
        name: getattr(event, name)
        for name in ("id", "at", "who", "action", "old", "new", "why", "undoes")
    }


def alike(found: Sequence[dict[str, set[str]]]) -> dict[int, dict[str, set[str]]]:
    """The facets of all photos, once each, by their id: there are far fewer of them than photos."""
    return {id(facets): facets for facets in found}


def missing_of(wanted: QueueFilter, facets: dict[str, set[str]]) -> set[str]:
    """The parts of the filter that a photo does not fulfil."""
    if not facets:
        return {"photo"}  # it is no longer in the catalog
    return {
        name
        for name, values in facets.items()
        if getattr(wanted, name) and getattr(wanted, name) not in values
    }


def queue(
    ranking: Ranking,
    today: Now,
    wanted: QueueFilter,
    offset: int = 0,
    limit: int = 50,
    at: str = "",
    after: int | None = None,
    before: int | None = None,
) -> dict[str, Any]:
    """A page of the queue from `offset`; or from photo `at` on, or what follows or precedes a rank.

    A rank stays what it is when photos before it are decided and leave the filter, an offset not.
    """
    found = ranking.facets(today)
    lacks = {key: missing_of(wanted, facets) for key, facets in alike(found).items()}
    shown: list[tuple[int, int]] = []  # rank, place
    place = 0
    for rank, facets in enumerate(found):
        missing = lacks[id(facets)]
        place += missing <= {"state"}
        if not missing:
            shown.append((rank, place))
    ranks = [rank for rank, _ in shown]
    start, stop = offset, offset + limit
    if at:
        start = bisect_left(ranks, ranking.place.get(at, 0))
        start = max(0, len(ranks) - 1) if start == len(ranks) else start
        stop = start + limit
    elif after is not None:
        start = bisect_right(ranks, after)
        stop = start + limit
    elif before is not None:
        stop = bisect_left(ranks, before)
        start = max(0, stop - limit)
    return {
        "total": len(shown),
        "of": place,
        "offset": start,
        "rows": [row(ranking, today, rank, place) for rank, place in shown[start:stop]],
    }


def photo_in_full(catalog: Catalog, ranking: Ranking, today: Now, sha256: str) -> dict[str, Any]:
    """All that is known of one photo; it has to be in the catalog and in the ranking."""
    suspect = ranking.suspects[ranking.place[sha256]]
    near = [today.photos[sha] for sha in suspect.neighbours if sha in today.photos]
    return {
        **row(ranking, today, ranking.place[sha256]),
        "origin": suspect.origin,
        "probabilities": suspect.probabilities,
        "neighbours": [
            {"sha256": p.sha256, "label": p.label, "split": p.split, "status": p.status}
            for p in near
        ],
        "history": [event_row(event) for event in history(catalog, sha256)],
    }
