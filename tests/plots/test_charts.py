import io

import numpy as np
import pytest
from PIL import Image

from bear_classifier.judge import evaluate
from bear_classifier.plots import charts
from bear_classifier.report import metrics
from bear_classifier.stats import calibration

LABELS = ["black", "grizzly", "teddy"]


def opened(figure):
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    return Image.open(io.BytesIO(png)).convert("RGB")


def shows(picture, colour, near=6):
    """How many pixels are of this colour."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(np.asarray(picture).astype(int) - wanted).max(axis=2) <= near).sum())


def record(epochs, kept):
    rows = [
        {"epoch": n + 1, "train_loss": 1 / (n + 1), "valid_loss": 1.2 / (n + 1), "error": 0.5}
        for n in range(epochs)
    ]
    return {
        "history": rows,
        "kept_epoch": kept,
        "valid": 40,
        "valid_loss": {"probe": 0.9, "tuned": 0.5},
        "valid_wrong": {"probe": 18, "tuned": 9},
    }


def judged(targets, said):
    p = np.full((len(targets), 3), 0.1)
    p[np.arange(len(targets)), said] = 0.8
    return evaluate.evaluation_report(p, np.array(targets), LABELS, np.arange(len(targets)))


@pytest.mark.parametrize("epochs, kept", [(1, 1), (4, 2), (30, 0)])
def test_history_has_both_curves_and_the_kept_epoch(epochs, kept):
    picture = opened(charts.training_history(record(epochs, kept)))
    assert picture.width == charts.FIGURE_WIDTH * charts.DPI
    assert shows(picture, charts.BLUE) > 100
    assert shows(picture, charts.ORANGE) > 200


@pytest.mark.parametrize("kept", [1, 2, 5, 6])
def test_the_word_for_the_kept_epoch_stands_beside_no_number_of_the_axis(kept):
    figure = charts.narrow_chart(charts.error_history, record(6, kept))
    (axes,) = figure.axes
    figure.draw_without_rendering()
    (word,) = axes.texts
    box, inside = word.get_window_extent(), axes.get_window_extent()
    assert word.get_text() == "kept"
    assert inside.x0 <= box.x0 and box.x1 <= inside.x1


def test_a_wild_epoch_hides_no_other():
    wild = record(6, 6)
    wild["history"][2]["valid_loss"] = 5000.0
    picture = np.asarray(opened(charts.training_history(wild)).crop((0, 0, 960, 500)))
    blue = np.abs(picture.astype(int) - [0x1F, 0x6F, 0xB4]).max(axis=2) <= 6
    rows = np.flatnonzero(blue.any(axis=1))
    assert rows.max() - rows.min() > 40  # still seen to fall


def test_confusion_is_dark_where_the_photos_are():
    right = opened(charts.confusion(judged([0, 1, 2] * 20, [0, 1, 2] * 20)))
    wrong = opened(charts.confusion(judged([0, 1, 2] * 20, [1, 2, 0] * 20)))
    assert right.size == wrong.size
    places = [np.asarray(picture.convert("L"))[:, : right.width // 3] for picture in (right, wrong)]
    assert (places[0] != places[1]).any()
    assert right.width == charts.FIGURE_WIDTH * charts.DPI


def test_confusion_of_a_class_without_photos_and_of_many_classes():
    assert opened(charts.confusion(judged([0, 1, 0, 1], [0, 1, 1, 1])))
    names = [f"class {n}" for n in range(20)]
    many = evaluate.evaluation_report(np.eye(20), np.arange(20), names, np.arange(20))
    tall = opened(charts.confusion(many))
    assert tall.height > tall.width / 2


def test_certainty_marks_every_bin():
    rows = calibration.reliability_bins(
        np.array([0.55, 0.95, 0.96]), np.array([True, True, False]), np.arange(3)
    )
    assert len(rows) == 2
    more = calibration.reliability_bins(
        np.linspace(0.35, 0.99, 40), np.ones(40, dtype=bool), np.arange(40)
    )
    few, many = (shows(opened(charts.certainty(r)), charts.BLUE) for r in (rows, more))
    assert 0 < few < many
    assert opened(charts.certainty([]))


@pytest.mark.parametrize("least", [None, -2.0])
def test_familiarity_shows_right_and_wrong_answers_and_the_limit(least):
    scores = np.linspace(-1, 1, 30)
    found = {"familiarity": metrics.score_histogram(scores, scores > 0), "least": least}
    picture = opened(charts.familiarity(found))
    assert shows(picture, charts.BLUE) > 1000
    assert shows(picture, charts.ORANGE) > 1000
    nothing = metrics.score_histogram(np.array([]), np.array([], dtype=bool))
    assert opened(charts.familiarity({"familiarity": nothing, "least": least}))
