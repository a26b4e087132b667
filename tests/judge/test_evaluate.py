import dataclasses
import json
import re

import numpy as np
import pytest
from bundles import LABELS, tiny_config, trained_dataset
from scipy.stats import binomtest

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, relabel
from bear_classifier.dataset.schema import Decision, StageRun
from bear_classifier.errors import DataError
from bear_classifier.judge import evaluate as judge
from bear_classifier.judge.evaluate import (
    as_text,
    evaluate,
    evaluation_report,
    membership_leak,
)
from bear_classifier.judge.leave_source_out import NotMeasured
from bear_classifier.report import stage_lines
from bear_classifier.runtime.npz import as_npz
from bear_classifier.stats.calibration import fit_temperature
from bear_classifier.stats.intervals import wilson
from bear_classifier.stats.metrics import (
    calibration_error,
    confusion_matrix,
    log_loss,
    macro_f1,
    softmax,
)


def test_confusion_has_the_truth_in_rows():
    assert confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2).tolist() == [
        [1, 1],
        [0, 2],
    ]


def test_wilson_interval_is_the_one_of_scipy():
    for whole in (1, 10, 236, 5000):
        for part in {0, 1, whole // 3, whole - 1, whole}:
            theirs = binomtest(part, whole).proportion_ci(method="wilson")
            assert wilson(part, whole) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_a_share_of_nothing_has_no_interval():
    assert wilson(0, 0) is None


def test_wilson_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = rng.binomial(60, 0.05, size=4000)
    inside = [low <= 0.05 <= high for low, high in (wilson(int(k), 60) for k in hits)]
    assert 0.93 <= np.mean(inside) <= 0.985


def test_report_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    made = evaluation_report(probabilities, np.array([0, 0, 1, 1]), ["a", "b"], np.arange(4))
    assert (made["n"], made["error"]) == (4, 0.25)
    assert made["error_interval"] == wilson(1, 4)
    assert made["confusion"] == [[1, 1], [0, 2]]
    assert made["per_class"]["a"]["recall"] == 0.5
    assert made["per_class"]["a"]["precision"] == 1.0
    assert made["per_class"]["b"]["precision"] == pytest.approx(2 / 3)
    assert made["per_class"]["b"]["precision_interval"] == wilson(2, 3)
    assert made["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_class_without_photos_has_no_recall_and_does_not_drag_the_f1():
    made = evaluation_report(
        np.array([[0.9, 0.1, 0.0]]), np.array([0]), ["a", "b", "c"], np.arange(1)
    )
    assert made["per_class"]["b"]["recall"] is None
    assert made["macro_f1"] == 1.0
    assert "b" in as_text(made)


def test_no_photos_at_all():
    made = evaluation_report(
        np.empty((0, 2)), np.empty(0, dtype=np.int64), ["a", "b"], np.arange(0)
    )
    assert (made["n"], made["error"], made["ece"]) == (0, None, None)
    assert as_text(made) == "no photos to judge with"


def test_macro_f1_counts_wrong_answers_to_a_class():
    assert macro_f1(np.array([[2, 0], [2, 0]])) == pytest.approx((2 * 2 / (2 + 4) + 0) / 2)


def test_calibration_error_of_known_gaps():
    sure_and_right = np.array([[1.0, 0.0]] * 4)
    assert calibration_error(sure_and_right, np.zeros(4, dtype=int)) == 0.0
    half_right = np.array([0, 1, 0, 1])
    assert calibration_error(sure_and_right, half_right) == pytest.approx(0.5)
    # two bins whose gaps have opposite signs must not cancel: 0.9 right 0/1, 0.6 right 1/1
    mixed = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert calibration_error(mixed, np.array([1, 0])) == pytest.approx((0.9 + 0.4) / 2)


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, size=(4000, 3))
    p = softmax(logits)
    targets = np.array([rng.choice(3, p=row) for row in p])
    assert fit_temperature(logits, targets) == pytest.approx(1.0, abs=0.1)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3.0, abs=0.3)
    assert log_loss(softmax(3 * logits, 3.0), targets) < log_loss(softmax(3 * logits), targets)


def test_temperature_stays_in_bounds_when_validation_is_perfect():
    assert fit_temperature(np.array([[5.0, 0.0]] * 3), np.zeros(3, dtype=int)) >= 0.25
    assert fit_temperature(np.empty((0, 3)), np.empty(0, dtype=int)) == 1.0


def sharp_when_cold(photos, wrong):
    """Logits of a model that is right more often than it says, and wrong on the last few."""
    targets = np.arange(photos) % 3
    logits = 0.5 * np.eye(3)[targets]
    logits[photos - wrong :] = np.roll(logits[photos - wrong :], 1, axis=1)
    return logits, targets


@pytest.mark.parametrize(("photos", "wrong"), [(46, 0), (46, 1), (400, 9), (3, 0)])
def test_few_wrong_validation_photos_make_a_model_no_surer(photos, wrong):
    """Of none wrong of 46 no error rate below a few per cent can be told."""
    assert fit_temperature(*sharp_when_cold(photos, wrong)) == pytest.approx(1.0, abs=1e-3)


def test_ten_wrong_photos_may_and_few_do_not_keep_it_from_being_less_sure():
    assert fit_temperature(*sharp_when_cold(400, 10)) < 0.5
    logits, targets = sharp_when_cold(40, 5)
    assert fit_temperature(20 * logits, targets) > 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_none_choose_no_temperature(bad):
    logits, targets = sharp_when_cold(40, 12)
    logits[3, 1] = bad
    assert fit_temperature(logits, targets) == 1.0


def test_softmax_survives_large_logits():
    assert softmax(np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]


# what it tells of the photos that it was trained on


def judged(root, monkeypatch, sides=("train", "valid", "test")):
    """What evaluation says of a model that is sure of its training photos and guesses of others."""
    config, dice = tiny_config(), np.random.default_rng(0)
    catalog = trained_dataset(root, config)
    rows = [
        dataclasses.replace(p, split=sides[i % len(sides)]) for i, p in enumerate(catalog.photos())
    ]
    with catalog.transaction():
        catalog.put_photos(rows)
    own = np.eye(3)[[LABELS.index(p.label) for p in rows]]
    sure = np.array([p.split == "train" for p in rows])[:, None]
    logits = np.where(sure, 9 * own, dice.normal(size=(len(rows), 3)))
    pooled = dice.normal(size=(len(rows), 20)).astype(np.float32)
    names = np.array([p.sha256 for p in rows])
    left = as_npz(sha256=names, logits=logits, pooled=pooled, chosen=np.array("tuned"))
    (root / "train" / "predictions.npz").write_bytes(left)
    with catalog:
        outcome = evaluate(catalog, config)
    assert json.loads((root / "evaluate" / "report.json").read_bytes()) == json.loads(
        json.dumps(outcome)
    )
    return outcome


def test_a_model_that_knows_its_training_photos_by_heart_is_told(tmp_path, monkeypatch):
    found = judged(tmp_path, monkeypatch)["membership"]
    assert found["auc"] == 1.0
    assert (found["members"], found["others"]) == (8, 8)


def test_without_a_test_side_nothing_can_be_told_of_it(tmp_path, monkeypatch):
    outcome = judged(tmp_path, monkeypatch, ("train", "valid"))
    assert outcome["membership"] is None
    assert outcome["missing"]["membership"] == "there is no photo in the test split"


FAULTS = [
    DataError("TOO_FEW_PHOTOS", "a class has one photo"),
    ValueError("a class has one photo"),
    IndexError("a class has one photo"),
    ZeroDivisionError("a class has one photo"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_figure_that_cannot_be_measured_stops_nothing(fault):
    def stumble(*_):
        raise fault

    missing = {}
    assert judge.optional(missing, "elsewhere", stumble, 1, 2) is None
    assert missing == {"elsewhere": "a class has one photo"}
    assert judge.optional(missing, "other", max, 1, 2) == 2


def test_all_optional_figures_are_optional(tmp_path, monkeypatch):
    def stumble(*_):
        raise FAULTS[0]

    for place, name in (
        (judge, "leave_sources_out"),
        (judge.reject, "left_out_classes"),
        (judge, "membership_leak"),
    ):
        monkeypatch.setattr(place, name, stumble)
    outcome = judged(tmp_path, monkeypatch)
    assert set(outcome["missing"]) == {"elsewhere", "left_out", "membership"}
    assert outcome["test"]["n"] == 8
    words = stage_lines.stage_text("evaluate", {**outcome, "outcome": "done", "seconds": 1.0})
    assert len(re.findall("not measured: .*: a class has one photo", words)) == 3


def test_the_training_side_is_told_from_the_test_side_by_whole_groups():
    losses = np.array([0.1, 9.0, 0.4, 0.2, 0.3, 0.5])
    groups = np.array(list("axbbcc"))
    at = {"train": [0, 2, 3], "valid": [1], "test": [4, 5]}
    found = membership_leak(losses, groups, at)
    assert found["auc"] == pytest.approx(5 / 6)  # 0.1 and 0.2 before both, 0.4 before one
    # groups drawn on the training split: a and b, a twice, or b twice (3 of 4 pairs in order)
    assert found["interval"] == pytest.approx((3 / 4, 1.0))
    for side in ("train", "test"):
        with pytest.raises(NotMeasured, match=f"no photo in the {side} split"):
            membership_leak(losses, groups, {**at, side: []})


def test_a_label_that_was_confirmed_is_no_decision_on_the_test_side(tmp_path, make):
    """Of four photos of the test split one was confirmed, one relabelled, one dropped, one dropped
    and taken back; what was dropped on the training split counts elsewhere."""
    rows = [make(i, label=LABELS[0], split="test") for i in range(4)]
    rows.append(make(9, label=LABELS[0], split="train"))
    actions = [
        (0, "keep", ""), (1, "relabel", LABELS[1]), (2, "drop", ""), (3, "drop", ""),
        (4, "drop", ""), (3, "restore", ""), (3, "keep", ""),
    ]  # fmt: skip
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        for number, (row, action, label) in enumerate(actions):
            wanted = [Decision(rows[row].sha256, action, label)]
            decide(catalog, LABELS, wanted, "ann", str(number))
        assert judge._test_decisions(catalog) == 2


def test_models_that_were_judged_on_the_test_side_are_counted(tmp_path):
    """The same one twice is one; a run of an earlier version counts by what it was made from."""
    with Catalog(tmp_path) as catalog:
        assert judge._test_looks(catalog, "a") == 1
        for inputs, digest in (("x", ""), ("x", ""), ("y", "a"), ("z", "b")):
            outcome = {"test_digest": digest} if digest else {}
            catalog.add_run(StageRun("evaluate", "2026-11-29T00:00:00", 1.0, inputs, outcome))
        catalog.add_run(StageRun("train", "2026-11-29T00:00:00", 1.0, "w", {}))
        assert judge._test_looks(catalog, "a") == 3
        assert judge._test_looks(catalog, "c") == 4


def test_a_test_label_that_a_moved_file_changed_is_counted(tmp_path, make):
    """A label that was changed back, or confirmed after a change, counts by what it is now."""
    rows = [make(i, label=LABELS[0], split="test") for i in range(4)]
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
            for photo in rows[:3]:
                relabel(catalog, photo, LABELS[1], "search", "its file was moved")
        decide(catalog, LABELS, [Decision(rows[1].sha256, "keep", "")], "ann", "keep")
        decide(catalog, LABELS, [Decision(rows[2].sha256, "relabel", LABELS[0])], "ann", "back")
        assert judge._test_decisions(catalog) == 2
