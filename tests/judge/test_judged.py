"""What cleaning found is kept, and a list of suspects reads the photos that it shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judging import judged
from test_clean import CONFIG, LABELS, leave_probe

from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, decided, undo
from bear_classifier.dataset.schema import Decision, Photo, StageRun
from bear_classifier.judge import clean as module
from bear_classifier.judge.clean import clean, open_suspects
from bear_classifier.judge.judged import OpenSuspects, stored_judged

Make = Callable[..., Photo]
N = 60


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    """Photos of three clouds; every tenth looks like another class than its own."""
    dice = np.random.default_rng(4)
    targets = np.arange(N) % 3
    rows = [make(n, label=LABELS[n % 3], split=("train", "valid")[n % 2]) for n in range(N)]
    second = np.full((N, 3), 0.05)
    second[np.arange(N), targets] = 0.9
    second[::10] = np.roll(second[::10], 1, axis=1)
    features = 6 * np.eye(5)[targets] + dice.normal(size=(N, 5))
    with Catalog(tmp_path) as found:
        with found.transaction():
            found.put_photos(rows)
        leave_probe(tmp_path, [p.sha256 for p in rows], second, features.astype(np.float32))
        clean(found, CONFIG)
        yield found


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills whenever the evidence is worked out."""
    times: list[int] = []
    really = module.judged

    def noted(*words: Any) -> Any:
        times.append(1)
        return really(*words)

    monkeypatch.setattr(module, "judged", noted)
    return times


def listed(catalog: Catalog) -> list[tuple[object, ...]]:
    found = open_suspects(catalog, CONFIG)
    return [(s.sha256, s.score, s.reasons, s.neighbours) for s in found.every(catalog)]


def test_a_list_of_ten_reads_ten_photos(
    catalog: Catalog, anew: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    select, stream = Catalog._select, Catalog.stream

    def selected(self: Catalog, columns: Any, rest: str, values: Any = ()) -> list[Any]:
        found = select(self, columns, rest, values)
        read.extend(row[0] for row in found if rest.startswith("photo "))
        return found

    def streamed(self: Catalog, columns: Any, rest: str, values: Any = ()) -> Any:
        if rest.startswith("photo ") and "json_each" not in rest:
            read.extend(["all"] * N)
        return stream(self, columns, rest, values)

    monkeypatch.setattr(Catalog, "_select", selected)
    monkeypatch.setattr(Catalog, "stream", streamed)
    decide(catalog, LABELS, [Decision(f"{0:064x}", "drop")], "ann", "1")
    read.clear()
    found = open_suspects(catalog, CONFIG)
    ten = found.first(catalog, 10)
    assert (len(ten), anew) == (10, [])
    assert read == sorted(s.sha256 for s in ten)
    assert 0 < found.likely < 10 and len(found.rows) == N - 1


def test_kept_evidence_gives_the_list_that_is_worked_out_anew(
    catalog: Catalog, anew: list[int]
) -> None:
    made = [Decision(f"{10 * n:064x}", ("drop", "keep")[n % 2], score=0.9) for n in range(4)]
    decide(catalog, LABELS, [*made, Decision(f"{7:064x}", "relabel", "teddy")], "ann", "1")
    by_kept = listed(catalog)
    assert anew == []
    at_once = judged(catalog, CONFIG, decided(catalog))
    order = at_once.after(decided(catalog))
    rows = [row for row in order.rows if at_once.hashes.at(row) not in decided(catalog)]
    every = at_once.every(catalog, order, np.array(rows))
    assert by_kept == [(s.sha256, s.score, s.reasons, s.neighbours) for s in every]


def run(catalog: Catalog, stage: str) -> None:
    catalog.add_run(StageRun(stage, "2026-01-01T00:00:00+00:00", 1.0, "other inputs", {}))


CHANGES: dict[str, Callable[[Catalog], object]] = {
    "screening": lambda catalog: run(catalog, "screen"),
    "split": lambda catalog: run(catalog, "split"),
    "another first model": lambda catalog: os.utime(
        catalog.root / "probe" / "probabilities.npz", ns=(1, 1)
    ),
    "a folder was moved": lambda catalog: moved(catalog),
    "other columns": lambda catalog: (catalog.root / "clean" / "evidence" / "near.npy").unlink(),
    "none": lambda catalog: (catalog.root / "clean" / "evidence" / "about.json").unlink(),
}


def moved(catalog: Catalog) -> None:
    """A label changes without a decision."""
    with catalog.transaction():
        photo = catalog.photos()[3]
        decisions.relabel(catalog, photo, "teddy", "sync", "moved")


@pytest.mark.parametrize("what", CHANGES)
def test_what_holds_no_more_is_worked_out_anew_once(
    catalog: Catalog, anew: list[int], what: str
) -> None:
    open_suspects(catalog, CONFIG)
    assert anew == []
    CHANGES[what](catalog)
    open_suspects(catalog, CONFIG), open_suspects(catalog, CONFIG)
    assert anew == [1]


def test_a_decision_that_the_evidence_knows_and_that_is_taken_back(
    catalog: Catalog, anew: list[int]
) -> None:
    decide(catalog, LABELS, [Decision(f"{10:064x}", "relabel", "teddy")], "ann", "1")
    clean(catalog, CONFIG)
    anew.clear()
    open_suspects(catalog, CONFIG)
    assert anew == []
    undo(catalog, "ann")
    first = open_suspects(catalog, CONFIG).first(catalog, N)
    assert anew == [1]
    assert next(s.label for s in first if s.sha256 == f"{10:064x}") == "grizzly"


def test_other_classes_are_judged_anew(catalog: Catalog) -> None:
    assert stored_judged(catalog, LABELS, {}) is not None
    assert stored_judged(catalog, LABELS[::-1], {}) is None


def test_misplaced_photos(catalog: Catalog) -> None:
    found: OpenSuspects = open_suspects(catalog, CONFIG)
    every = found.every(catalog)
    for least in (0.2, 0.5, 0.7):
        wanted = [s for s in every if 1 - np.prod([1 - s.scores[k] for k in s.scores
                                                   if k != "label"]) >= least]  # fmt: skip
        assert [s.sha256 for s in found.misplaced(catalog, least)] == [s.sha256 for s in wanted]


@pytest.mark.parametrize("often", [1, 99])
def test_two_programs_may_keep_their_columns_at_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, often: int
) -> None:
    """The folder of the other one comes between removing and renaming, once or each time."""
    really, times = shutil.rmtree, list[Path]()

    def removed(folder: Path, **words: Any) -> None:
        really(folder, **words)
        if folder.name == "evidence" and len(times) < often:
            times.append(folder)
            folder.mkdir()
            (folder / "theirs").touch()

    monkeypatch.setattr(shutil, "rmtree", removed)
    before = listed(catalog)
    clean(catalog, CONFIG)
    theirs = catalog.root / "clean" / "evidence" / "theirs"
    assert times and theirs.exists() == (often > 1)
    assert listed(catalog) == before
    assert [path.name for path in (catalog.root / "clean").glob(".*.partial")] == []
