"""Decisions about four photos, and what they leave behind, for the tests of them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, history
from bear_classifier.dataset.schema import Action, Decision, Event
from bear_classifier.errors import DataError

LABELS = ["grizzly", "black", "teddy"]
UNKNOWN = {"label": "", "status": "unlabelled", "group": None}
ASIDE = {"status": "duplicate", "reason": f"NEAR_COPY of {9:064x}"}


def sha(number: int) -> str:
    return f"{number:064x}"


def on(number: int, action: Action, label: str = "", **more: Any) -> Decision:
    return Decision(sha(number), action, label, **more)


def run(catalog: Catalog, *wanted: Decision, request: str = "") -> list[Event]:
    return decide(catalog, LABELS, wanted, "ann", request or f"request {catalog.revision()}")


def state(catalog: Catalog, number: int) -> tuple[str, str, str]:
    photo = catalog.photo(sha(number))
    assert photo
    return photo.label, photo.status, photo.reason


def table(catalog: Catalog) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(catalog.path)) as db:
        return db.execute("SELECT * FROM photo ORDER BY sha256").fetchall()


def everything(catalog: Catalog) -> tuple[object, ...]:
    return table(catalog), history(catalog)


@contextlib.contextmanager
def refused(
    catalog: Catalog, code: str, words: str = ""
) -> Iterator[pytest.ExceptionInfo[DataError]]:
    """The error has this code and these words, and nothing is changed or recorded."""
    before = everything(catalog)
    with pytest.raises(DataError) as caught:
        yield caught
    assert caught.value.code == code
    assert words in caught.value.sentence
    assert everything(catalog) == before
