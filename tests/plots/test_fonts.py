"""Names of classes in pictures: dollar signs, other scripts, fonts that are here or not."""

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager, mathtext
from matplotlib.figure import Figure

from bear_classifier.experiments.compare import plot
from bear_classifier.judge import evaluate
from bear_classifier.plots import charts, fonts
from bear_classifier.stats import calibration

NAMES = [
    ["$", "$$"],
    ["US$ and A$ coins", "notes"],
    ["熊", "猫"],
    ["🐻", r"\frac $x^2"],
    ["a_b", "%"],
]


@pytest.fixture
def formulas(monkeypatch):
    """Texts that matplotlib took for formulas; a warning is an error."""
    taken, parse = [], mathtext.MathTextParser.parse
    monkeypatch.setattr(
        mathtext.MathTextParser,
        "parse",
        lambda self, text, *a, **k: (taken.append(text), parse(self, text, *a, **k))[1],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield taken


@pytest.mark.series
@pytest.mark.parametrize("names", NAMES)
def test_names_are_no_formulas(names, formulas):
    made = evaluate.evaluation_report(np.eye(2), np.arange(2), names, np.arange(2))
    assert charts.figure_png(charts.confusion(made)).startswith(b"\x89PNG")
    figure, (axes,) = charts.panels(3, 1)
    axes.plot([1], [1], "o", label=names[0])
    axes.text(1, 1, names[1])
    axes.legend()
    axes.set_xticks([1], names[:1])
    charts.set_title(axes, f"{names[0]} and {names[1]}")
    figure.suptitle(names[0])
    assert charts.figure_png(figure).startswith(b"\x89PNG")
    assert formulas == []


def test_settings_in_a_comparison_are_no_formulas(formulas):
    row = {"mean": 0.1, "difference": 0.1, "low": 0.0, "high": 0.2, "verdict": "no difference"}
    rows = [{"name": name, "loss": row, "error": row, "macro": row} for name in ("$a$", "x = '$'")]
    found = {"rows": rows, "by": "loss", "seeds": 3, "photos": 9}
    assert plot.draw(found, ["$$ costs more than $"]).startswith(b"\x89PNG")
    assert formulas == []


def test_powers_of_ten_stay_formulas(formulas):
    figure = Figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.plot([1e-6, 1], [0, 1])
    axes.set_xlabel("$")
    fonts.render_png(figure)
    assert any("10" in text for text in formulas)
    assert "$" not in formulas


def font(path, name, letters):
    """A font in which each of the letters is a square."""
    glyphs = [".notdef", *(f"u{ord(c):x}" for c in letters)]
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(100, 0), (100, 700), (800, 700), (800, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    square = pen.glyph()
    made = FontBuilder(1000)
    made.setupGlyphOrder(glyphs)
    made.setupCharacterMap({ord(c): f"u{ord(c):x}" for c in letters})
    made.setupGlyf(dict.fromkeys(glyphs, square))
    made.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": name, "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(path)


def test_a_font_that_has_the_letters_is_found(tmp_path, monkeypatch):
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    here = [f for f in manager.ttflist if f.name.startswith(("DejaVu", "Last Resort"))]
    manager.ttflist[:] = here
    assert fonts.fallbacks("grizzly, $ und ß") == []
    assert fonts.fallbacks("熊") == []  # a font of boxes is none
    font(tmp_path / "one.ttf", "Some Han", "熊")
    font(tmp_path / "both.ttf", "More Han", "熊猫")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    for name in ("one", "both"):
        manager.addfont(tmp_path / f"{name}.ttf")
    broken = font_manager.FontEntry(fname=str(tmp_path / "broken.ttf"), name="Broken")
    manager.ttflist.append(broken)
    assert fonts.fallbacks("熊猫") == ["More Han"]
    figure, (axes,) = charts.panels(3, 1)
    charts.set_title(axes, "熊猫 bear")
    charts.figure_png(figure)
    assert axes.get_title(loc="left") == "熊猫 bear"
    assert "More Han" in axes._left_title.get_fontfamily()


def test_a_letter_that_no_font_has_warns_nobody(formulas):
    figure, (axes,) = charts.panels(3, 1)
    charts.set_title(axes, "\U0001fabf \ue123")
    assert charts.figure_png(figure)


def test_reliability_is_drawn_of_groups(formulas):
    rows = calibration.reliability_bins(np.array([0.6, 0.9]), np.array([True, False]), np.arange(2))
    assert charts.figure_png(charts.certainty(rows)).startswith(b"\x89PNG")
