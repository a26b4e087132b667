"""Before and after: trainings compared on the same test photos."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import labels_of_test
from bear_classifier.dataset.schema import Photo, StageRun
from bear_classifier.errors import DataError
from bear_classifier.studio import insights, results
from bear_classifier.studio.projects import make_project
from bear_classifier.studio.results import (
    KeptResult,
    answers_folder,
    comparison,
    keep_result,
    kept_results,
    result_rows,
)
from bear_classifier.studio.workspace import Workspace

LABELS = ["black", "grizzly", "teddy"]
NOW = {name: ("a", name) for name in "pqrstuvw"}


def result(answers: str, names: str = "pqrstuvw") -> KeptResult:
    """answers: a class for each of the photos."""
    given = dict(zip(names, answers, strict=True))
    return KeptResult("2026-12-01T10:00:00+00:00", "first", 0.1, [0.0, 0.3], len(given), given)


@pytest.mark.parametrize(
    ("before", "after", "right", "wrong"),
    [
        ("aaaabbbb", "aaaabbbb", 0, 0),
        ("aaaabbbb", "aaaaaabb", 2, 0),
        ("aaaabbbb", "aaabbbba", 1, 1),
        ("aaaaaaaa", "bbbbbbbb", 0, 8),
    ],
)
def test_put_right_and_newly_wrong(before: str, after: str, right: int, wrong: int) -> None:
    first, second = result_rows([result(before), result(after)], NOW)
    assert (first["put_right"], first["n_same"], first["sentence"]) == (None, None, "")
    assert (second["put_right"], second["newly_wrong"], second["n_same"]) == (right, wrong, 8)


def test_only_photos_that_both_were_asked_count() -> None:
    rows = result_rows([result("bbb", "pqx"), result("aab", "qpy")], NOW)
    assert (rows[1]["put_right"], rows[1]["newly_wrong"], rows[1]["n_same"]) == (2, 0, 2)
    rows = result_rows([result("b", "x"), result("a", "y")], NOW)
    assert rows[1]["n_same"] is None


def test_a_label_that_was_put_right_counts_for_both() -> None:
    both = [result("aaaabbbb"), result("aaaabbbb")]
    now = {**NOW, "w": ("b", "w")}
    assert result_rows(both, now)[1]["put_right"] == 0
    assert result_rows([result("aaaabbba"), result("aaaabbbb")], now)[1]["put_right"] == 1


def test_near_copies_are_one_piece_of_evidence() -> None:
    pair = [result("bbbbbbbb"), result("aaaaaaaa")]
    alone = result_rows(pair, NOW)[1]
    one = result_rows(pair, {name: ("a", "group") for name in NOW})[1]
    assert alone["verdict"] == "better" and one["verdict"] == "no difference"
    assert alone["sentence"] == (
        "On the same 8 test photos 8 were put right and none is newly wrong: better than before"
        " (paired test: p = 0.0078)."
    )


def test_nothing_changed_in_words() -> None:
    assert comparison({"put_right": 0, "newly_wrong": 0, "n": 45}) == (
        "On the same 45 test photos both trainings are right and wrong on the same ones."
    )


@pytest.fixture
def catalog(tmp_path: Path, make: Callable[..., Photo]) -> Catalog:
    return after_training(tmp_path / "data", make)


def after_training(root: Path, make: Callable[..., Photo]) -> Catalog:
    """A dataset with the report and the predictions of a training."""
    made = Catalog(root)
    photos = [
        make(n, label=LABELS[n % 2], split="train" if n % 4 else "test") for n in range(1, 25)
    ]
    with made.transaction():
        made.put_photos(photos)
    for folder in ("train", "evaluate"):
        (made.root / folder).mkdir()
    np.savez(
        made.root / "train" / "predictions.npz",
        sha256=np.array([photo.sha256 for photo in photos]),
        logits=np.eye(len(LABELS), dtype=np.float32)[[n % len(LABELS) for n in range(len(photos))]],
        pooled=np.zeros((len(photos), 2), dtype=np.float32),
        chosen=np.array("tuned"),
    )
    test = {"error": 0.5, "error_interval": [0.2, 0.8], "n": 6, "labels": LABELS}
    (made.root / "evaluate" / "report.json").write_text(
        json.dumps({"test": test}), encoding="utf-8"
    )
    judged(made, "one")
    return made


def judged(catalog: Catalog, digest: str) -> None:
    """Evaluation ran, now."""
    at = f"2026-12-01T10:00:{len(catalog.runs('evaluate')):02}+00:00"
    catalog.add_run(StageRun("evaluate", at, 1.0, "inputs", {"test_digest": digest * 20}))
    later(catalog.root / "train" / "predictions.npz", catalog.root / "evaluate" / "report.json")


def later(first: Path, second: Path) -> None:
    at = first.stat().st_mtime_ns
    os.utime(second, ns=(at, at + 1_000_000_000))


def test_the_answers_of_a_training_are_kept_once(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    assert keep_result(catalog, folder)
    assert not keep_result(catalog, folder)
    judged(catalog, "one")  # a training that gave the same answers
    assert not keep_result(catalog, folder)
    judged(catalog, "two")
    assert keep_result(catalog, folder)
    first, second = kept_results(folder)
    assert first.answers.keys() == second.answers.keys() == labels_of_test(catalog).keys()
    assert first.answers == {
        photo.sha256: LABELS[n % len(LABELS)]
        for n, photo in enumerate(catalog.photos())
        if photo.split == "test"
    }
    report = json.loads((catalog.root / "evaluate" / "report.json").read_text("utf-8"))["test"]
    assert (first.n, first.error, first.trained) == (report["n"], report["error"], "fine-tuned")
    assert len(result_rows([first, second], labels_of_test(catalog))) == 2


def test_answers_are_named_by_the_classes_that_the_model_had(
    tmp_path: Path, make: Callable[..., Photo]
) -> None:
    """One was taken out of the project while it was trained."""
    place = make_project(tmp_path, "mine", {label: [label] for label in LABELS[1:]})
    after_training(place.data, make).close()
    Workspace(tmp_path).keep_result("mine")
    (kept,) = kept_results(answers_folder(place.own))
    assert set(kept.answers.values()) == set(LABELS)


def test_a_state_is_read_though_nothing_can_be_written(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise DataError("DISK_FULL", f"no space left to write {path}")

    place = make_project(tmp_path, "mine", {label: [label] for label in LABELS})
    with monkeypatch.context() as patched:
        patched.setattr(results, "write_atomic", full)
        assert insights.results_of(place, catalog) == []
    assert len(insights.results_of(place, catalog)) == 1


def test_kept_answers_are_read_once(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(folder: Path) -> list[KeptResult]:
        read.append(folder)
        return kept_results(folder)

    monkeypatch.setattr(insights, "kept_results", counted)
    place = make_project(tmp_path, "mine", {label: [label] for label in LABELS})
    for _ in range(3):
        assert len(insights.results_of(place, catalog)) == 1
    assert len(read) == 1
    judged(catalog, "two")
    assert len(insights.results_of(place, catalog)) == 2


def test_answers_of_a_training_that_is_not_judged_yet_are_left(
    catalog: Catalog, tmp_path: Path
) -> None:
    later(catalog.root / "evaluate" / "report.json", catalog.root / "train" / "predictions.npz")
    assert not keep_result(catalog, tmp_path / "results")


def test_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{", encoding="utf-8")
    (tmp_path / "b.json").write_text('{"made": 1}', encoding="utf-8")
    (tmp_path / "c.json").write_text(
        json.dumps(dataclasses.asdict(result("aaaaaaaa"))), encoding="utf-8"
    )
    assert kept_results(tmp_path) == [result("aaaaaaaa")]
