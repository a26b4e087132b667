"""The review queue: rows of suspects, filters, and one photo in full.

The ranking is made anew after each decision; labels, states and decisions are read from the catalog
each time.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import history
from bear_classifier.dataset.schema import Event, Suspect
from bear_classifier.review.catalog_view import Now

if TYPE_CHECKING:  # it reads arrays
    from bear_classifier.judge.learned_order import Judged

STATES = ("open", "decided", "all")
Facets = frozenset[tuple[str, str]]  # (part of the filter, a value under which a photo is listed)


@dataclass(frozen=True)
class QueueFilter:
    """The filter. label: of now or of when it was ranked; reason: the strongest one."""

    label: str = ""
    reason: str = ""
    split: str = ""
    state: str = "open"

    def missing(self, facets: Facets) -> set[str]:
        """The parts of the filter that a photo does not fulfil."""
        if not facets:
            return {"photo"}  # it is no longer in the catalog
        required = {(name, value) for name, value in vars(self).items() if value}
        return {name for name, _ in required - facets}


class Ranking:
    """Every photo that was usable or dropped when the page started, most suspect first, as one
    moment's decisions have it. It never changes."""

    def __init__(self, suspects: Sequence[Suspect], today: Now) -> None:
        known = {suspect.sha256 for suspect in suspects}
        dropped = [
            Suspect(p.sha256, p.origin, p.label, p.split or "", p.label, event.score or 0.0,
                    [event.why] if event.why else [])
            for sha256, event in today.decided.items()
            if sha256 not in known and (p := today.photos[sha256]).status == "dropped"
        ]  # fmt: skip
        ranked = sorted([*suspects, *dropped], key=lambda one: -one.score)
        self._rank(ranked, [kind(suspect) for suspect in ranked])

    def _rank(self, suspects: list[Suspect], kinds: list[str]) -> None:
        self.suspects, self.kinds = suspects, kinds
        self.place = {suspect.sha256: n for n, suspect in enumerate(suspects)}
        self._facets: tuple[Now | None, list[Facets]] = (None, [])  # one pair, for all threads

    def again(self, suspects: Sequence[Suspect]) -> Ranking:
        """The same photos with other scores. suspects: most suspect first; photos that were dropped
        before the page started are not among them."""
        known = {suspect.sha256 for suspect in suspects}
        others = [suspect for suspect in self.suspects if suspect.sha256 not in known]
        ranked = sorted([*suspects, *others], key=lambda one: -one.score)  # stable, and quick
        other = Ranking.__new__(Ranking)
        other._rank(ranked, [self.kinds[self.place[one.sha256]] for one in ranked])
        return other

    def facets(self, today: Now) -> list[Facets]:
        """Of each photo, worked out when the catalog changed: 20 ms for 20,000 photos."""
        last, facets = self._facets
        if last is not today:
            pairs = zip(self.suspects, self.kinds, strict=True)
            facets = [_facets_of(suspect, reason, today) for suspect, reason in pairs]
            self._facets = today, facets
        return facets


class LiveRanking:
    """The newest ranking: made anew from the decisions as soon as they are others."""

    def __init__(self, loaded: Judged | Sequence[Suspect], today: Now) -> None:
        """loaded: what the decisions teach the order of, or photos in an order that stays."""
        self._judged = None if isinstance(loaded, Sequence) else loaded
        self._lock = threading.Lock()
        first = loaded if isinstance(loaded, Sequence) else loaded.after(today.decided)
        self._newest = today, Ranking(first, today)  # one pair, for all threads

    def at(self, today: Now) -> Ranking:
        """The ranking as the decisions of `today` have it."""
        seen, ranking = self._newest
        if seen is today or self._judged is None:
            return ranking
        with self._lock:
            seen, ranking = self._newest
            if seen is not today:
                if today.decided != seen.decided:
                    ranking = ranking.again(self._judged.after(today.decided))
                self._newest = today, ranking
            return ranking


def _facets_of(suspect: Suspect, reason: str, today: Now) -> Facets:
    """None for a photo that left."""
    photo = today.photos.get(suspect.sha256)
    if photo is None:
        return frozenset()
    decided = photo.sha256 in today.decided
    is_open = photo.status == "ok" and not decided
    return _facets(photo.label, suspect.label, photo.split or "", reason, is_open, decided)


def kind(suspect: Suspect) -> str:
    """The strongest of its reasons, or nothing."""
    best = max(suspect.scores, key=lambda name: suspect.scores[name], default="")
    return best if suspect.scores.get(best, 0) > 0 else ""


@cache  # there are few; sets of their own for 20,000 photos take a second
def _facets(
    label: str, ranked: str, split: str, reason: str, is_open: bool, is_decided: bool
) -> Facets:
    states = {"all": True, "open": is_open, "decided": is_decided}
    values = [("label", label), ("label", ranked), ("split", split), ("reason", reason)]
    return frozenset([*values, *(("state", state) for state, holds in states.items() if holds)])


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
    shown = ("id", "at", "who", "action", "old", "new", "why", "undoes")
    return {name: getattr(event, name) for name in shown}


def queue_page(
    ranking: Ranking,
    today: Now,
    chosen: QueueFilter,
    offset: int = 0,
    limit: int = 50,
    at: str = "",
    after: int | None = None,
    before: int | None = None,
) -> dict[str, Any]:
    """A page of the queue from `offset`; or from photo `at` on, or what follows or precedes a rank.

    A rank stays what it is when photos before it are decided and leave the filter, an offset not.
    """
    facets_of_all = ranking.facets(today)
    missing = {facets: chosen.missing(facets) for facets in set(facets_of_all)}
    shown: list[tuple[int, int]] = []  # rank, place
    place = 0
    for rank, facets in enumerate(facets_of_all):
        place += missing[facets] <= {"state"}
        if not missing[facets]:
            shown.append((rank, place))
    ranks = [rank for rank, _ in shown]
    start = offset
    if at:
        start = min(bisect_left(ranks, ranking.place.get(at, 0)), max(0, len(ranks) - 1))
    elif after is not None:
        start = bisect_right(ranks, after)
    elif before is not None:
        limit = min(limit, bisect_left(ranks, before))
        start = bisect_left(ranks, before) - limit
    rows = [row(ranking, today, rank, place) for rank, place in shown[start : start + limit]]
    return {"total": len(shown), "of": place, "offset": start, "rows": rows}


def photo_in_full(catalog: Catalog, ranking: Ranking, today: Now, sha256: str) -> dict[str, Any]:
    """All that is known of one photo; it has to be in the catalog and in the ranking."""
    suspect = ranking.suspects[ranking.place[sha256]]
    near = [today.photos[sha] for sha in suspect.neighbours if sha in today.photos]
    shown = ("sha256", "label", "split", "status")
    return {
        **row(ranking, today, ranking.place[sha256]),
        "origin": suspect.origin,
        "probabilities": suspect.probabilities,
        "neighbours": [{name: getattr(photo, name) for name in shown} for photo in near],
        "history": [event_row(event) for event in history(catalog, sha256)],
    }
