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
from bear_classifier.dataset import queries, stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError
from bear_classifier.judge.predictions import stored_rows
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.shards import StoredRows
from bear_classifier.stages import NAMES, STAGES
from bear_classifier.stats.active_learning import covering, directions, margins, uncertain
from bear_classifier.stats.arrays import Bools, Floats, Floats32
from bear_classifier.stats.linear_probe import fit_linear

FEW = 3  # labels of each class, from which on the model's doubt chooses
STRENGTH = 0.1  # C of the model on few labels: see docs/LOG.md
_LEARNED = 4_000  # labelled photos that the model learns from, at most: a second
_MOST_ASKED = 20_000  # photos with and without a label that are looked at: 200 MB of features


@dataclass(frozen=True)
class Asked:
    """The first photos without a label, in the order of their hashes, and the first labelled ones
    that a model may learn from. labels: of each, "" without one."""

    names: list[str]
    labels: list[str]


@dataclass(frozen=True)
class Pool:
    """Features of photos with and without a label, in their files."""

    stored: StoredRows

    def knows(self, names: Sequence[str]) -> Bools:
        """(n,) whether the features of a photo are there."""
        return np.asarray(self.stored.find(names) >= 0)


@dataclass(frozen=True)
class Proposal:
    """A photo to ask about. suggested: "" where nothing is known yet; probabilities: by class, of
    the classes that have labels; why: what it was chosen for."""

    sha256: str
    suggested: str
    score: float
    probabilities: dict[str, float]
    why: str


def asked(catalog: Catalog, labels: Sequence[str]) -> Asked:
    """What may be asked about now; of the catalog no more photos are read."""
    rows = [(sha256, "") for sha256 in queries.unlabelled(catalog, _MOST_ASKED)]
    rows = sorted(rows + queries.learnable(catalog, labels, _MOST_ASKED))
    return Asked([sha256 for sha256, _ in rows], [label for _, label in rows])


def make_pool(catalog: Catalog, config: Config) -> Pool:
    """The pool, its features computed where they are not there yet. Raises DataError
    (NO_UNLABELLED)."""
    if not queries.unlabelled(catalog, 1):
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
    photos = asked_of(catalog.photos(), config.labels)
    path, _ = feature_cache(catalog, config, photos, body)
    note = {"features": path.name, "settings": _settings(catalog, config)}
    write_atomic(catalog.root / "label" / "features.json", json.dumps(note).encode())
    return load_pool(catalog, config)


def load_pool(catalog: Catalog, config: Config) -> Pool:
    """The pool from features that are there. Raises DataError (NO_FEATURES)."""
    try:
        note = json.loads((catalog.root / "label" / "features.json").read_bytes())
        same = note["settings"] == _settings(catalog, config)
        pool = Pool(stored_rows(catalog.root, str(note["features"])))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as exc:
        raise _no_features() from exc
    if not same or not pool.knows(asked(catalog, config.labels).names).all():
        raise _no_features()
    return pool


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


def proposals(waiting: Asked, labels: Sequence[str], pool: Pool, n: int) -> list[Proposal]:
    """The next n photos to ask about, as they are labelled now; the same labels give the same ones.

    Photos that the pool does not know are passed over."""
    at = pool.stored.find(waiting.names)
    known = np.flatnonzero(at >= 0).tolist()
    names, given = [waiting.names[k] for k in known], [waiting.labels[k] for k in known]
    has_label = np.array([bool(label) for label in given], dtype=bool)
    if has_label.all():
        return []
    features = pool.stored.take("features", at[known])
    seen = sorted(set(filter(None, given)))
    open_ = np.flatnonzero(~has_label)
    unit = directions(features)
    chances = _chances(features, given, seen)[open_]
    counts = Counter(filter(None, given))
    if all(counts[label] >= FEW for label in labels):
        chosen = open_[uncertain(unit[open_], 1 - margins(chances), n)]
        why = "the model is not sure of it"
    else:
        chosen, why = covering(unit, has_label, n), "it is like many others"
    place = {int(row): number for number, row in enumerate(open_)}
    return [_proposal(names[row], seen, chances[place[int(row)]], why) for row in chosen]


def _chances(features: Floats32, given: Sequence[str], seen: Sequence[str]) -> Floats:
    """Probabilities (n, classes) of the classes that have labels, by a linear model of those."""
    if len(seen) < 2:
        return np.ones((len(given), len(seen)))
    rows = np.array([row for row, label in enumerate(given) if label])
    rows = rows[:: -(-len(rows) // _LEARNED)]
    targets = np.array([seen.index(given[row]) for row in rows])
    return np.asarray(fit_linear(STRENGTH, features[rows], targets).predict_proba(features))


def _proposal(sha256: str, seen: Sequence[str], chances: Floats, why: str) -> Proposal:
    by_label = dict(zip(seen, chances.tolist(), strict=True)) if len(seen) > 1 else {}
    best = max(by_label, key=by_label.__getitem__, default="")
    return Proposal(sha256, best, 1 - by_label.get(best, 0.0), by_label, why)
