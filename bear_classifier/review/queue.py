"""The review queue: rows of suspects, filters, and one photo in full.

The ranking is made anew after each decision; labels, states and decisions are read from the catalog
each time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import history
from bear_classifier.dataset.photo_columns import Hashes, Words
from bear_classifier.dataset.schema import Event, Suspect
from bear_classifier.judge.learned_order import Order
from bear_classifier.review.catalog_view import Now
from bear_classifier.stats.arrays import Bools, Floats, Ints

STATES = ("open", "decided", "all")


@dataclass(frozen=True)
class QueueFilter:
    """The filter. label: of now or of when it was ranked; reason: the strongest one."""

    label: str = ""
    reason: str = ""
    split: str = ""
    state: str = "open"


class RankedPhotos(Protocol):
    """n photos, and what their order is learned from: `judge.judged.Judged`."""

    @property
    def hashes(self) -> Hashes: ...

    @property
    def label(self) -> Words: ...

    def kinds(self) -> Words: ...

    def after(self, made: Mapping[str, Event]) -> Order: ...

    def listed(self, order: Order, rows: Ints, origins: Mapping[str, str]) -> list[Suspect]: ...


class Unranked:
    """No photo: there is no first model."""

    hashes = Hashes.of([])
    label = Words((), np.zeros(0, dtype=np.int32))

    def kinds(self) -> Words:
        return Words(("",), np.zeros(0, dtype=np.int32))

    def after(self, made: Mapping[str, Event]) -> Order:
        return Order(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=bool))

    def listed(self, order: Order, rows: Ints, origins: Mapping[str, str]) -> list[Suspect]:
        return []


class Ranking:
    """Every photo that was usable or dropped when the page started, most suspect first, as one
    moment's decisions have it. It never changes.

    A photo has a row, in the order of the evidence, those dropped before after them; and a rank."""

    def __init__(
        self, evidence: RankedPhotos, order: Order, dropped: Sequence[Suspect], kinds: Words
    ) -> None:
        """dropped: photos that the evidence lacks; kinds: of the evidence."""
        self._evidence, self._order, self._dropped = evidence, order, dropped
        self._kinds = kinds
        self._row = {one.sha256: len(evidence.hashes) + k for k, one in enumerate(dropped)}
        scores = np.append(order.chances, [one.score for one in dropped])
        rows = np.append(order.rows, np.arange(len(order.rows), len(scores)))
        self.rows: Ints = rows[np.argsort(-scores[rows], kind="stable")]
        self.scores: Floats = scores[self.rows]
        self._rank = np.empty(len(rows), dtype=np.int64)
        self._rank[self.rows] = np.arange(len(rows))
        self._facets: tuple[Now | None, Facets | None] = (None, None)  # one pair, for all threads
        self._place: tuple[Hashes | None, Ints] = None, self._rank  # of each row in the catalog

    def __len__(self) -> int:
        return len(self.rows)

    def again(self, order: Order) -> Ranking:
        """The same photos in another order of the evidence."""
        made = Ranking(self._evidence, order, self._dropped, self._kinds)
        made._place = self._place
        return made

    def rank(self, sha256: str) -> int | None:
        """The place of a photo, from 0."""
        row = self._evidence.hashes.row(sha256)
        row = self._row.get(sha256) if row is None else row
        return None if row is None else int(self._rank[row])

    def ranks(self, hashes: Sequence[str]) -> Ints:
        """(n,) as `rank`, -1 where there is none."""
        rows = self._evidence.hashes.find(hashes)
        for n in np.flatnonzero(rows < 0).tolist() if self._row else ():
            rows[n] = self._row.get(hashes[n], -1)
        return np.where(rows < 0, -1, np.append(self._rank, -1)[rows])

    def names(self, ranks: Ints) -> list[str]:
        """The hashes (m,) of some places."""
        rows, n = self.rows[ranks], len(self._evidence.hashes)
        known = iter(self._evidence.hashes.some(rows[rows < n]))
        return [next(known) if row < n else self._dropped[row - n].sha256 for row in rows.tolist()]

    def suspects(self, ranks: Ints, origins: Mapping[str, str]) -> list[Suspect]:
        """The photos (m,) of some places. origins: sha256 -> file or address."""
        rows, n = self.rows[ranks], len(self._evidence.hashes)
        known: Iterator[Suspect] = iter(self._evidence.listed(self._order, rows[rows < n], origins))
        return [next(known) if row < n else self._dropped[row - n] for row in rows.tolist()]

    def suspect(self, sha256: str) -> Suspect | None:
        """Without its origin."""
        rank = self.rank(sha256)
        return None if rank is None else self.suspects(np.array([rank]), {})[0]

    def kind(self, rank: int) -> str:
        """The strongest of its reasons, or nothing."""
        row = int(self.rows[rank])
        return self._kinds.at(row) if row < len(self._evidence.hashes) else ""

    def facets(self, today: Now) -> Facets:
        """By rank, worked out when the catalog changed."""
        last, facets = self._facets
        if facets is None or last is not today:
            facets = self._facets_of(today)
            self._facets = today, facets
        return facets

    def _facets_of(self, today: Now) -> Facets:
        photos = today.photos
        late = [one.sha256 for one in self._dropped]
        known, place = self._place
        if known is not photos.hashes:  # looking up a million takes seconds
            early = photos.hashes.find(self._evidence.hashes.names)
            place = np.append(early, photos.hashes.find(late))
            self._place = photos.hashes, place
        at = place[self.rows]
        there = at >= 0
        # The words of now come first, so that their numbers stay.
        of_before = self._evidence.label.words, [one.label for one in self._dropped]
        labels = tuple(dict.fromkeys([*photos.label.words, *of_before[0], *of_before[1]]))
        ranked = np.append(
            self._evidence.label.numbered(labels), [labels.index(w) for w in of_before[1]]
        )
        kinds = np.append(self._kinds.numbers, np.zeros(len(late), dtype=np.int32))
        chosen = np.zeros(len(at), dtype=bool)
        ranks = [rank for sha in today.decided if (rank := self.rank(sha)) is not None]
        chosen[ranks] = True
        return Facets(
            labels,
            photos.label.at_rows(at).numbers.astype(np.int64),
            ranked[self.rows].astype(np.int64),
            photos.split.at_rows(at),
            Words(self._kinds.words, kinds[self.rows]),
            there & photos.status.at_rows(at).is_("ok") & ~chosen,
            there & chosen,
            there,
        )


@dataclass(frozen=True)
class Facets:
    """Under what the photos (n,) are listed. now, ranked: numbers of their labels, of now and of
    when they were ranked; there: whether the catalog still has them."""

    labels: tuple[str, ...]
    now: Ints
    ranked: Ints
    split: Words
    reason: Words
    open: Bools
    decided: Bools
    there: Bools

    def fulfilled(self, chosen: QueueFilter) -> dict[str, Bools]:
        """(n,) whether a photo fulfils each part of the filter."""
        every = np.ones(len(self.there), dtype=bool)
        number = self.labels.index(chosen.label) if chosen.label in self.labels else -1
        label = (self.now == number) | (self.ranked == number)
        states = {"open": self.open, "decided": self.decided}
        return {
            "label": label if chosen.label else every,
            "reason": self.reason.is_(chosen.reason) if chosen.reason else every,
            "split": self.split.is_(chosen.split) if chosen.split else every,
            "state": states.get(chosen.state, every),
        }

    def inside(self, chosen: QueueFilter) -> Bools:
        """(n,) the photos of the filter, whatever their state."""
        parts = self.fulfilled(chosen)
        return self.there & parts["label"] & parts["reason"] & parts["split"]

    def counts(self, chosen: QueueFilter) -> dict[str, dict[str, int]]:
        """How many photos each value of a part would show, were the other parts as they are."""
        parts = self.fulfilled(chosen)
        left = {
            name: np.logical_and.reduce([self.there, *(parts[o] for o in parts if o != name)])
            for name in parts
        }
        some = left["label"]
        other = some & (self.ranked != self.now)
        labels = np.bincount(self.now[some], minlength=len(self.labels))
        labels += np.bincount(self.ranked[other], minlength=len(self.labels))
        states = {"open": self.open, "decided": self.decided, "all": self.there}
        found = {
            "label": dict(zip(self.labels, labels.tolist(), strict=True)),
            "reason": _amounts(self.reason, left["reason"]),
            "split": _amounts(self.split, left["split"]),
            "state": {name: int((left["state"] & of).sum()) for name, of in states.items()},
        }
        return {name: {w: n for w, n in row.items() if n} for name, row in found.items()}


def _amounts(words: Words, rows: Bools) -> dict[str, int]:
    amounts = np.bincount(words.numbers[rows], minlength=len(words.words))
    return dict(zip(words.words, amounts.tolist(), strict=False))


class LiveRanking:
    """The newest ranking: made anew from the decisions as soon as they are others."""

    def __init__(self, evidence: RankedPhotos, catalog: Catalog, today: Now) -> None:
        self._evidence = evidence
        self._lock = threading.Lock()
        dropped, order = _dropped_before(evidence, catalog, today), evidence.after(today.decided)
        first = Ranking(evidence, order, dropped, evidence.kinds())
        self._newest = today, first  # one pair, for all threads

    def at(self, today: Now) -> Ranking:
        """The ranking as the decisions of `today` have it."""
        seen, ranking = self._newest
        if seen is today:
            return ranking
        with self._lock:
            seen, ranking = self._newest
            if seen is not today:
                if today.decided != seen.decided:
                    ranking = ranking.again(self._evidence.after(today.decided))
                self._newest = today, ranking
            return ranking


def _dropped_before(evidence: RankedPhotos, catalog: Catalog, today: Now) -> list[Suspect]:
    """Photos that somebody dropped before there was evidence of them."""
    names = [sha for sha in today.decided if sha not in evidence.hashes]
    return [
        Suspect(p.sha256, p.origin, p.label, p.split or "", p.label, event.score or 0.0,
                [event.why] if event.why else [])
        for p in catalog.photos_of(names)
        if p.status == "dropped" and (event := today.decided[p.sha256])
    ]  # fmt: skip


def _rows(
    catalog: Catalog, ranking: Ranking, today: Now, ranks: Ints, places: Sequence[int]
) -> list[dict[str, Any]]:
    """Photos (m,) of the queue, of which alone the catalog is read. ranks: in the whole ranking;
    places: in the filter, from 1, or 0."""
    names = ranking.names(ranks)
    photos = {photo.sha256: photo for photo in catalog.photos_of(names)}
    suspects = ranking.suspects(ranks, {sha: photo.origin for sha, photo in photos.items()})
    found = []
    for suspect, rank, place in zip(suspects, ranks.tolist(), places, strict=True):
        photo, event = photos[suspect.sha256], today.decided.get(suspect.sha256)
        row = {
            "sha256": suspect.sha256,
            "rank": rank,
            "place": place,
            "label": photo.label,
            "suggested": suspect.suggested,
            "score": suspect.score,
            "reasons": suspect.reasons,
            "scores": suspect.scores,
            "kind": ranking.kind(rank),
            "split": photo.split,
            "status": photo.status,
            "decision": event_row(event) if event else None,
            "width": photo.width,
            "height": photo.height,
            "based": today.revision,
        }
        found.append(row)
    return found


def rows_of(
    catalog: Catalog, ranking: Ranking, today: Now, hashes: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of these photos, in this order, as they are now; without their places."""
    ranks = [
        rank
        for sha in dict.fromkeys(hashes)
        if (rank := ranking.rank(sha)) is not None and sha in today.photos.hashes
    ]
    return _rows(catalog, ranking, today, np.array(ranks, dtype=np.int64), [0] * len(ranks))


def event_row(event: Event) -> dict[str, Any]:
    shown = ("id", "at", "who", "action", "old", "new", "why", "undoes")
    return {name: getattr(event, name) for name in shown}


def queue_page(
    catalog: Catalog,
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
    facets = ranking.facets(today)
    inside = facets.inside(chosen)
    places = np.cumsum(inside)
    ranks = np.flatnonzero(inside & facets.fulfilled(chosen)["state"])
    start = offset
    if at:
        first = int(np.searchsorted(ranks, ranking.rank(at) or 0))
        start = min(first, max(0, len(ranks) - 1))
    elif after is not None:
        start = int(np.searchsorted(ranks, after, side="right"))
    elif before is not None:
        end = int(np.searchsorted(ranks, before))
        limit = min(limit, end)
        start = end - limit
    some = ranks[start : start + limit]
    rows = _rows(catalog, ranking, today, some, places[some].tolist())
    return {"total": len(ranks), "of": int(inside.sum()), "offset": start, "rows": rows}


def photo_in_full(catalog: Catalog, ranking: Ranking, today: Now, sha256: str) -> dict[str, Any]:
    """All that is known of one photo; it has to be in the catalog and in the ranking."""
    (row,) = rows_of(catalog, ranking, today, [sha256])
    suspect, photo = ranking.suspect(sha256), catalog.photo(sha256)
    assert suspect and photo  # noqa: S101
    near = {photo.sha256: photo for photo in catalog.photos_of(suspect.neighbours)}
    shown = ("sha256", "label", "split", "status")
    return {
        **row,
        "origin": photo.origin,
        "probabilities": suspect.probabilities,
        "neighbours": [
            {name: getattr(near[sha], name) for name in shown}
            for sha in suspect.neighbours
            if sha in near
        ],
        "history": [event_row(event) for event in history(catalog, sha256)],
    }
