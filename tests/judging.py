"""What speaks against photos, judged anew and as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided
from bear_classifier.dataset.photo_columns import Hashes, Words, photo_columns
from bear_classifier.dataset.schema import Event, Suspect
from bear_classifier.judge import clean
from bear_classifier.judge.judged import Judged
from bear_classifier.judge.learned_order import Order
from bear_classifier.stats.arrays import Ints


def judged(catalog: Catalog, config: Config, made: Mapping[str, Event]) -> Judged:
    return clean.judged(catalog, config, made, photo_columns(catalog))


def suspects(catalog: Catalog, config: Config) -> list[Suspect]:
    """All of them, also those that somebody decided on; the most suspect first."""
    made = decided(catalog)
    found = judged(catalog, config, made)
    order = found.after(made)
    return found.every(catalog, order, order.rows)


def scores_of(
    catalog: Catalog, config: Config, made: Mapping[str, Event]
) -> dict[str, dict[str, float]]:
    """By hash and kind, before anything is learned from decisions."""
    found = judged(catalog, config, made)
    every = found.every(catalog, found.after({}), np.arange(len(found)))
    return {suspect.sha256: suspect.scores for suspect in every}


class Listed:
    """Photos with what is said of each, in an order that decisions do not change."""

    def __init__(self, every: Sequence[Suspect]) -> None:
        self._every = list(every)
        self.hashes = Hashes.of([one.sha256 for one in every])
        self.label = words([one.label for one in every])

    def kinds(self) -> Words:
        return words([_strongest(one.scores) for one in self._every])

    def after(self, made: Mapping[str, Event]) -> Order:
        scores = np.array([one.score for one in self._every])
        order = np.argsort(-scores, kind="stable")
        return Order(order, scores, np.zeros(len(scores), dtype=bool))

    def listed(self, order: Order, rows: Ints, origins: Mapping[str, str]) -> list[Suspect]:
        return [self._every[row] for row in rows.tolist()]


def words(column: Sequence[str]) -> Words:
    known = tuple(dict.fromkeys(column))
    return Words(known, np.array([known.index(word) for word in column], dtype=np.int32))


def _strongest(scores: Mapping[str, float]) -> str:
    best = max(scores, key=lambda name: scores[name], default="")
    return best if scores.get(best, 0) > 0 else ""
