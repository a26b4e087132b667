"""What speaks against photos, judged anew and as a list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided
from bear_classifier.dataset.photo_columns import photo_columns
from bear_classifier.dataset.schema import Event, Suspect
from bear_classifier.judge import clean
from bear_classifier.judge.judged import Judged


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
