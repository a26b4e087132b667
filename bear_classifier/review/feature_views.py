"""Photos by what they show: the ones most like one of them, groups of look-alikes, and the map.

Everything here comes from the features of the first model, which are read when they are first asked
for. What a photo is now (label, split, decision) is read from the catalog each time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query

from bear_classifier.config.settings import Config
from bear_classifier.dataset import sources
from bear_classifier.dataset.schema import SPLITS
from bear_classifier.judge.groups import PhotoGroup, group_words, photo_groups
from bear_classifier.judge.predictions import Evidence, load_evidence
from bear_classifier.learn.own_classes import own_class_names
from bear_classifier.review import queue
from bear_classifier.review.catalog_view import Fresh, Now
from bear_classifier.review.map_places import MapPlaces
from bear_classifier.review.queue import LiveRanking
from bear_classifier.stats.arrays import Ints, Rows, at_hand, evenly
from bear_classifier.stats.likeness import most_alike, unit_rows
from bear_classifier.web.guard import Refused, read_json

MOST_ROWS = 1000  # rows in one answer, and decisions in one request
_SHOWN = 12  # photos of a group in the list of groups
_MOST_GROUPED = 50_000  # photos that groups are made of; of more, a regular sample
_PATIENCE = 5.0  # seconds that a request waits for what is worked out
PHOTO_STATES = ("open", "kept", "relabelled", "dropped", "not in use")
_Body = Annotated[dict[str, Any], Depends(read_json)]


@dataclass(frozen=True)
class _Known:
    """The photos that the first model knows, in its order. row: sha256 -> number."""

    evidence: Evidence
    row: dict[str, int]
    unit: Rows


class FeatureViews:
    """What is worked out once for one dataset. Its methods raise DataError (NOT_PROBED)."""

    def __init__(self, root: Path, config: Config, fresh: Fresh) -> None:
        self._root, self._config, self._fresh = root, config, fresh
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._groups: Future[list[PhotoGroup]] | None = None
        self._places: MapPlaces | None = None

    def known(self) -> _Known:
        with self._lock:
            if self._known is None:
                evidence = load_evidence(self._root)
                row = {sha256: n for n, sha256 in enumerate(evidence.sha256)}
                self._known = _Known(evidence, row, at_hand(unit_rows(evidence.features)))
            return self._known

    def places(self) -> MapPlaces:
        known = self.known()
        with self._lock:
            if self._places is None:
                folder, evidence = self._root / "features", known.evidence
                self._places = MapPlaces(folder, evidence.sha256, evidence.features)
            return self._places

    def groups(self) -> list[PhotoGroup] | None:
        """rows of a group: numbers of photos as in `known`. None while they are worked out, which
        takes some 10 s for 20,000 photos."""
        self.known()
        with self._lock:
            if self._groups is None:
                self._groups = ThreadPoolExecutor(1, "groups").submit(self._find_groups)
            found = self._groups
        try:
            return found.result(_PATIENCE)
        except NotYet:
            return None

    def _find_groups(self) -> list[PhotoGroup]:
        known = self.known()
        with self._fresh.turn() as (catalog, today):
            at = today.photos.hashes.find(known.evidence.sha256)
            labels = today.photos.label.at_rows(at).numbered(self._config.labels)
            some = evenly(np.flatnonzero((at >= 0) & (labels >= 0)), _MOST_GROUPED)
            there = some.tolist()
            hashes = [known.evidence.sha256[n] for n in there]
            photos = {photo.sha256: photo for photo in catalog.photos_of(hashes)}
            kept = [photos[sha256] for sha256 in hashes]
            sites = sources.sites(catalog, kept, self._config.split.sources)
        classifier = known.evidence.classifier
        names = None if classifier is None else own_class_names(len(classifier[1]))
        features = known.evidence.features[there]
        found = photo_groups(features, [p.label for p in kept], sites, classifier, names)
        return [replace(g, rows=[there[n] for n in g.rows]) for g in found]


def feature_routes(root: Path, config: Config, fresh: Fresh, live: LiveRanking) -> APIRouter:
    """The routes of the views "more like this", groups and map."""
    views, routes = FeatureViews(root, config, fresh), APIRouter(prefix="/api")

    def there(hashes: list[str], today: Now) -> list[str]:
        ranking = live.at(today)
        return [
            sha for sha in hashes if ranking.rank(sha) is not None and sha in today.photos.hashes
        ]

    @routes.get("/alike/{sha256}")
    def alike(sha256: str, limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 60) -> dict[str, Any]:
        """The photo and the ones most like it, of all classes and splits, near-copies as well."""
        known = views.known()
        today = fresh.now()
        if sha256 not in known.row or not there([sha256], today):
            raise Refused(404, "NO_SUCH_PHOTO", f"there is no photo {sha256[:80]!r} in this list")
        order, likeness = most_alike(known.unit, known.row[sha256])
        others = (known.evidence.sha256[n] for n in order.tolist() if n != known.row[sha256])
        shown = [sha256, *islice((sha for sha in others if there([sha], today)), limit)]
        with fresh.turn() as (catalog, today):
            rows = queue.rows_of(catalog, live.at(today), today, shown)
        return {
            "rows": rows,
            "likeness": [round(float(likeness[known.row[sha]]), 3) for sha in shown],
        }

    @routes.get("/groups")
    def groups(
        label: str = "",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> dict[str, Any]:
        """A page of the groups of one class, or of all; those with undecided photos come first."""
        found, known = views.groups(), views.known()
        if found is None:
            return {"making": True, "total": 0, "groups": []}
        with fresh.turn() as (catalog, today):
            chosen = [(n, g) for n, g in enumerate(found) if label in ("", g.label)]
            facts = [group_facts(known, today, n, group) for n, group in chosen]
            order = sorted(range(len(facts)), key=lambda i: not facts[i]["open"])[offset:][:limit]
            for i in order:
                first = there(facts[i]["sha256"], today)[:_SHOWN]
                facts[i]["rows"] = queue.rows_of(catalog, live.at(today), today, first)
        return {"making": False, "total": len(facts), "groups": [facts[i] for i in order]}

    def group_facts(known: _Known, today: Now, number: int, group: PhotoGroup) -> dict[str, Any]:
        hashes = [known.evidence.sha256[row] for row in group.rows]
        title, why = group_words(group)
        states = Counter(PHOTO_STATES[number] for number in _states(today, hashes).tolist())
        return {
            "number": number,
            "label": group.label,
            "title": title,
            "why": why,
            "unlike": round(group.unlike, 3),
            "open": states["open"],
            "states": states,
            "sha256": hashes,
        }

    @routes.get("/map")
    def whole_map() -> dict[str, Any]:
        """Columns: one entry a photo. x, y: from -10000 to 10000; label, split, state: numbers in
        the lists beside them."""
        known, places, today = views.known(), views.places(), fresh.now()
        method, at = places.now()
        every = known.evidence.sha256
        ranking = live.at(today)
        ranks = ranking.ranks(every)
        place = today.photos.hashes.find(every)
        rows = np.flatnonzero((ranks >= 0) & (place >= 0))
        hashes, place = [every[n] for n in rows.tolist()], place[rows]
        label, split = today.photos.label.at_rows(place), today.photos.split.at_rows(place)
        used = {label.words[number] for number in np.unique(label.numbers).tolist()}
        labels = [*config.labels, *sorted(used - set(config.labels))]
        splits = [*SPLITS, ""]
        xy = np.round(10_000 * at[rows]).astype(int)
        scores = ranking.scores[ranks[rows]].tolist()
        return {
            "method": method,
            "making": places.making,
            "labels": labels,
            "splits": splits,
            "states": PHOTO_STATES,
            "sha256": hashes,
            "x": xy[:, 0].tolist(),
            "y": xy[:, 1].tolist(),
            "label": label.numbered(labels).tolist(),
            "split": split.numbered(splits).tolist(),
            "score": [round(score, 3) for score in scores],
            "state": _states(today, hashes).tolist(),
        }

    @routes.get("/map/state")
    def map_state() -> dict[str, Any]:
        places = views.places()
        return {"method": places.now()[0], "making": places.making}

    @routes.post("/rows")
    def rows(body: _Body) -> dict[str, Any]:
        """The rows of these photos, as they are now."""
        hashes = body.get("sha256")
        if not isinstance(hashes, list) or not all(isinstance(sha, str) for sha in hashes):
            raise Refused(400, "BAD_REQUEST", "sha256 has to be a list of texts")
        if len(hashes) > MOST_ROWS:
            raise Refused(400, "BAD_REQUEST", f"at most {MOST_ROWS} photos at once")
        with fresh.turn() as (catalog, today):
            return {"rows": queue.rows_of(catalog, live.at(today), today, hashes)}

    return routes


def _states(today: Now, hashes: Sequence[str]) -> Ints:
    """Numbers (n,) of PHOTO_STATES."""
    rows = today.photos.hashes.find(hashes)
    status = today.photos.status.at_rows(rows)
    there = rows >= 0
    found = np.full(len(hashes), PHOTO_STATES.index("not in use"))
    found[there & status.is_("dropped")] = PHOTO_STATES.index("dropped")
    in_use = there & status.is_("ok")
    found[in_use] = PHOTO_STATES.index("open")
    for n in np.flatnonzero(in_use).tolist():
        if event := today.decided.get(hashes[n]):
            word = "relabelled" if event.action == "relabel" else "kept"
            found[n] = PHOTO_STATES.index(word)
    return found
