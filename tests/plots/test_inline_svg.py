"""Charts as SVG in the report's page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from bear_classifier.plots import charts
from bear_classifier.plots.inline_svg import figure_svg
from bear_classifier.report import metrics
from bear_classifier.stats import calibration

EPOCHS = [{"epoch": n, "train_loss": 0.9 / n, "valid_loss": 0.8, "error": 0.1} for n in (1, 2, 3)]
RECORD = {
    "history": EPOCHS, "valid": 40, "kept_epoch": 2, "lr": 3e-4,
    "valid_loss": {"probe": 0.9}, "valid_wrong": {"probe": 9},
    "mixtures": {
        "shares": [0.0, 0.5, 1.0],
        "valid": {"n": 40, "wrong": [9, 7, 8]},
        "unseen": {"n": 80, "wrong": [30, 20, 25]},
    },
    "finder": {
        "rates": [1e-6 * 10 ** (n / 4) for n in range(20)],
        "losses": [1.0 - n / 40 if n < 14 else 2.0**n for n in range(20)],
        "smoothed": [1.0 - n / 50 if n < 15 else 2.0**n for n in range(20)],
    },
}  # fmt: skip
SCORES = np.linspace(-1, 1, 30)
REJECTION = {"familiarity": metrics.score_histogram(SCORES, SCORES > 0), "least": -0.5}
ROWS = calibration.reliability_bins(np.linspace(0.35, 0.99, 30), SCORES > -0.8, np.arange(30))
FIGURES = {
    "loss": lambda: charts.narrow_chart(charts.loss_history, RECORD),
    "error": lambda: charts.narrow_chart(charts.error_history, RECORD),
    "interpolation": lambda: charts.narrow_chart(charts.interpolation_errors, RECORD),
    "finder": lambda: charts.narrow_chart(charts.lr_finder, RECORD),
    "certainty": lambda: charts.certainty(ROWS, narrow=True),
    "familiarity": lambda: charts.familiarity(REJECTION, narrow=True),
}


def parts(svg, tag):
    return list(ElementTree.fromstring(svg).iter(tag))


def points(svg):
    """Of each path its points."""
    return [
        [
            tuple(map(float, point))
            for point in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d"))
        ]
        for path in parts(svg, "path")
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_a_chart_takes_font_and_colours_from_the_page(name):
    svg = figure_svg(FIGURES[name](), name)
    assert svg == figure_svg(FIGURES[name](), name)
    root = ElementTree.fromstring(svg)
    assert (root.get("role"), root.get("aria-label"), root.get("class")) == ("img", name, "chart")
    assert {e.tag for e in root.iter()} <= {"svg", "defs", "path", "text", "use"}
    assert not re.search(r"#[0-9a-f]{6}\b|font-family|font:|url\(|http|xmlns|clip|nan", svg)
    drawn = "".join(e.get("style", "") for e in root.iter())
    assert set(re.findall(r"var\((.*?)\)", drawn)) <= {"--ink", "--soft", "--line", "--a", "--b"}
    assert "var(--a)" in drawn or "var(--b)" in drawn
    assert len(parts(svg, "text")) > 4


def test_no_id_stands_twice_on_the_page_and_each_use_has_its_shape():
    page = "".join(figure_svg(draw(), name) for name, draw in FIGURES.items())
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) >= 5
    assert set(re.findall(r' href="#([^"]+)"', page)) <= set(ids)


def test_nothing_is_drawn_outside():
    """There are no clip paths: what lies beyond an axis would be seen there."""
    for name, draw in FIGURES.items():
        svg = figure_svg(draw(), name)
        width, height = map(float, ElementTree.fromstring(svg).get("viewBox").split()[2:])
        places = [point for path in points(svg) for point in path]
        places += [(float(use.get("x")), float(use.get("y"))) for use in parts(svg, "use")]
        assert all(-4 <= x <= width and -4 <= y <= height for x, y in places), name


@pytest.mark.parametrize("draw", [charts.loss_history, charts.error_history])
def test_one_epoch_is_a_dot(draw):
    one = {"history": EPOCHS[:1]}
    svg = figure_svg(charts.narrow_chart(draw, one), "one")
    assert len(parts(svg, "use")) >= 1
    assert "nan" not in svg


def test_a_record_of_an_earlier_version_is_drawn():
    """Without what the first model did, the photos of validation, or the epoch kept."""
    for draw in (charts.loss_history, charts.error_history):
        assert "<use" in figure_svg(charts.narrow_chart(draw, {"history": EPOCHS}), "early")


def test_losses_that_hardly_differ_have_a_scale():
    rows = [{**row, "train_loss": 0.43, "valid_loss": 0.44} for row in EPOCHS]
    svg = figure_svg(charts.narrow_chart(charts.loss_history, {"history": rows}), "flat")
    numbers = [text.text for text in parts(svg, "text") if re.fullmatch(r"0?\.\d+", text.text)]
    assert numbers


def test_what_explodes_is_left_out_of_the_finder():
    svg = figure_svg(charts.narrow_chart(charts.lr_finder, RECORD), "finder")
    assert "2.0" in svg and "1e5" not in svg
    assert {"1e-6", "1e-5", "taken"} <= {text.text for text in parts(svg, "text")}
