"""Spare addresses take the place of those that led to no photo, and only of those."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bear_classifier.collect.download as downloading
from bear_classifier.collect.download import download
from bear_classifier.collect.sources.search_progress import search_goal
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import OK, PENDING, SPARE, Source

TABLES = {
    "classes": {"grizzly": ["g"], "teddy": ["t"]},
    "search": {"source": "web", "per_class": 3},
}
CONFIG = build(TABLES, where="test")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Three addresses of grizzlies and five spare ones; enough teddies."""
    rows = [f"https://{label}.example/{n}" for label in ("grizzly", "teddy") for n in range(8)]
    with Catalog(tmp_path) as made:
        with made.transaction():
            made.put_sources(
                Source(
                    origin, origin[8:].partition(".")[0], "web", search_goal(CONFIG).options,
                    PENDING if origin[-1] in "012" else SPARE, query=origin[8],
                )
                for origin in rows
            )  # fmt: skip
        yield made


def ended(catalog: Catalog, make: Any, monkeypatch: pytest.MonkeyPatch, bad: set[str]) -> list[int]:
    """How many addresses each round of a download asks; those whose ends are in `bad` fail."""
    rounds = []

    def instead(work: Coroutine[Any, Any, None]) -> None:
        work.close()
        pending = catalog.sources(PENDING)
        rounds.append(len(pending))
        with catalog.transaction():
            for row in pending:
                number = sum(map(ord, row.origin))
                alone = np.random.default_rng(number).bytes(50).hex()  # like no other picture
                photo = make(number, label=row.label, origin=row.origin, dhash=alone)
                fine = row.origin.partition("://")[2] not in bad
                catalog.add_photos([photo] if fine else [])
                code, sha256 = (OK, photo.sha256) if fine else ("HTTP_404", None)
                catalog.put_sources([dataclasses.replace(row, code=code, sha256=sha256)])

    monkeypatch.setattr(downloading, "in_own_loop", instead)
    return rounds


def codes(catalog: Catalog, label: str) -> Counter[str]:
    return Counter(source.code for source in catalog.sources() if source.label == label)


def test_failures_are_replaced_until_the_number_is_reached(
    catalog: Catalog, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = ended(catalog, make, monkeypatch, {f"grizzly.example/{n}" for n in (0, 1, 3)})
    outcome = download(catalog, CONFIG)
    assert rounds == [6, 2, 1]
    assert codes(catalog, "grizzly") == {OK: 3, "HTTP_404": 3, SPARE: 2}
    assert codes(catalog, "teddy") == {OK: 3, SPARE: 5}
    assert (outcome["fetched"], outcome["spares"], outcome["lacking"]) == (9, 3, {})
    assert download(catalog, CONFIG)["fetched"] == 0


def test_copies_are_sought_once_a_round(
    catalog: Catalog, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last round, too, and not a second time then; without a round once."""
    ended(catalog, make, monkeypatch, {"grizzly.example/0"})
    real, times = downloading._reconcile, []

    def counted(*given: Any) -> None:
        times.append(len(catalog.sources(PENDING)))
        real(*given)

    monkeypatch.setattr(downloading, "_reconcile", counted)
    download(catalog, CONFIG)
    assert times == [0, 0]
    download(catalog, CONFIG)
    assert times == [0, 0, 0]


def test_without_spares_it_says_what_is_lacking(
    catalog: Catalog, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = ended(catalog, make, monkeypatch, {f"grizzly.example/{n}" for n in range(1, 8)})
    outcome = download(catalog, CONFIG)
    assert rounds == [6, 2, 2, 1]
    assert (outcome["spares"], outcome["lacking"]) == (5, {"grizzly": 1})


def test_another_source_leaves_spares_alone(
    catalog: Catalog, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = ended(catalog, make, monkeypatch, {"grizzly.example/0"})
    download(catalog, build({**TABLES, "search": {}}, where="test"))
    assert rounds == [6]
    assert codes(catalog, "grizzly")[SPARE] == 5
