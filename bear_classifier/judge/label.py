"""Photos without a label: which to ask about next, and what the first model takes them for.

The features of pretrained weights choose the first photos, as different as they can be. As soon as
every class has a few labels, a linear model on the same features proposes classes and chooses the
photos that it is least sure of. It learns from train and valid and from what was confirmed since;
the test split judges models, and has no say in what they are made from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

from bear_classifier.config.settings import Config
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError
from bear_classifier.judge.predictions import stored_rows
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.shards import Column
from bear_classifier.stages import NAMES, STAGES
from bear_classifier.stats.active_learning import directions, margins, typical, uncertain
from bear_classifier.stats.arrays import Floats, Floats32
from bear_classifier.stats.linear_probe import fit_linear

FEW = 3  # labels of each class, from which on the model's doubt chooses
STRENGTH = 0.1  # C of the model on few labels: see docs/LOG.md
_LEARNED = 4_000  # labelled photos that the model learns from, at most: a second


@dataclass(frozen=True)
class Pool:
    """Features (n, f), in their files, of the photos with these hashes: those without a label, and
    the labelled ones that a model may learn from."""

    rows: dict[str, int]
    features: Column


@dataclass(frozen=True)
class Proposal:
    """A photo to ask about. suggested: "" where nothing is known yet; probabilities: by class, of
    the classes that have labels; why: what it was chosen for."""

    sha256: str
    origin: str
    suggested: str
    score: float
    probabilities: dict[str, float]
    why: str


def make_pool(catalog: Catalog, config: Config) -> Pool:
    """The pool, its features computed where they are not there yet. Raises DataError
    (NO_UNLABELLED)."""
    photos = asked_of(catalog.photos(), config.labels)
    if all(photo.label for photo in photos):
        raise DataError(
            "NO_UNLABELLED",
            "there is no photo without a label; name a folder of some with --source"
            " unlabelled:PATH and run: bears run --until screen --source unlabelled:PATH",
        )
    try:
        return load_pool(catalog, config)
    except DataError:  # imported late: torch takes seconds
        from bear_classifier.learn import backbone
        from bear_classifier.learn.features import feature_cache
        from bear_classifier.learn.weights import announce

    announce(config.learn)
    body = backbone.build_body(config.learn, config.train.seed)
    path, features = feature_cache(catalog, config, photos, body)
    note = {"features": path.name, "settings": _settings(catalog, config)}
    write_atomic(catalog.root / "label" / "features.json", json.dumps(note).encode())
    return Pool({photo.sha256: row for row, photo in enumerate(photos)}, features)


def load_pool(catalog: Catalog, config: Config) -> Pool:
    """The pool from features that are there. Raises DataError (NO_FEATURES)."""
    try:
        note = json.loads((catalog.root / "label" / "features.json").read_bytes())
        same = note["settings"] == _settings(catalog, config)
        stored = stored_rows(catalog.root, str(note["features"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as exc:
        raise _no_features() from exc
    photos = asked_of(catalog.photos(), config.labels)
    at = stored.find([photo.sha256 for photo in photos])
    if not same or (at < 0).any():
        raise _no_features()
    features = Column(stored, "features", at)
    return Pool({photo.sha256: row for row, photo in enumerate(photos)}, features)


def _no_features() -> DataError:
    return DataError(
        "NO_FEATURES", "new photos without a label were not looked at yet; run: bears label"
    )


def _settings(catalog: Catalog, config: Config) -> str:
    probe = STAGES[NAMES.index("probe")]
    values = stage_fingerprint.settings(config, [probe], catalog.root)
    return json.dumps(values, sort_keys=True, default=str)


def asked_of(photos: Sequence[Photo], labels: Sequence[str]) -> list[Photo]:
    """The photos without a label, and the usable ones that a model may learn from."""
    return [
        photo
        for photo in photos
        if photo.status == "unlabelled"
        or (photo.status == "ok" and photo.split != "test" and photo.label in labels)
    ]


def proposals(photos: Sequence[Photo], labels: Sequence[str], pool: Pool, n: int) -> list[Proposal]:
    """The next n photos to ask about, as they are labelled now; the same labels give the same ones.

    Photos that the pool does not know are passed over."""
    known = [p for p in asked_of(photos, labels) if p.sha256 in pool.rows]
    features = pool.features[np.array([pool.rows[photo.sha256] for photo in known], dtype=int)]
    has_label = np.array([bool(photo.label) for photo in known], dtype=bool)
    if has_label.all():
        return []
    seen = sorted({photo.label for photo in known if photo.label})
    open_ = np.flatnonzero(~has_label)
    unit = directions(features)
    chances = _chances(features, known, seen)[open_]
    counts = Counter(photo.label for photo in known if photo.label)
    if all(counts[label] >= FEW for label in labels):
        chosen = open_[uncertain(unit[open_], 1 - margins(chances), n)]
        why = "the model is not sure of it"
    else:
        chosen, why = typical(unit, has_label, n), "it is like many others"
    place = {int(row): number for number, row in enumerate(open_)}
    return [_proposal(known[row], seen, chances[place[int(row)]], why) for row in chosen]


def _chances(features: Floats32, photos: Sequence[Photo], seen: Sequence[str]) -> Floats:
    """Probabilities (n, classes) of the classes that have labels, by a linear model of those."""
    if len(seen) < 2:
        return np.ones((len(photos), len(seen)))
    rows = np.array([row for row, photo in enumerate(photos) if photo.label])
    rows = rows[:: -(-len(rows) // _LEARNED)]
    targets = np.array([seen.index(photos[row].label) for row in rows])
    return np.asarray(fit_linear(STRENGTH, features[rows], targets).predict_proba(features))


def _proposal(photo: Photo, seen: Sequence[str], chances: Floats, why: str) -> Proposal:
    by_label = dict(zip(seen, chances.tolist(), strict=True)) if len(seen) > 1 else {}
    best = max(by_label, key=by_label.__getitem__, default="")
    doubt = 1 - by_label.get(best, 0.0)
    return Proposal(photo.sha256, photo.origin, best, doubt, by_label, why)
