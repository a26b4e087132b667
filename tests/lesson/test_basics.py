"""The pages that need no photos: their claims hold, and each falls when it is broken."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corpus import ROOT
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from bear_classifier.cli import main
from bear_classifier.lesson import animation, contents
from bear_classifier.lesson import page as sheet
from bear_classifier.lesson.basics import (
    cross_entropy,
    learning_rate,
    loss_surface,
    minibatch,
    overfitting,
    relu,
    sgd,
    sliders,
)
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.runtime.templates import template

DRAWN = [name for name in contents.TITLES if name not in contents.PHOTOS]


right_page = contents.page


class Made(dict[str, Page]):
    """Each page, made when it is first asked for; none of them throws the dice of others."""

    def __missing__(self, name: str) -> Page:
        torch.manual_seed(5)
        np.random.seed(5)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
        self[name] = right_page(name)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]
        return self[name]


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    """Of moving pictures the first, the middle and the last frame: the others take the time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sgd, loss_surface):
            patch.setattr(module, "gif", few_frames)
        yield Made()


def few_frames(draw: Callable[[int], Figure], steps: Sequence[int], *more: int) -> bytes:
    return animation.gif(draw, [steps[0], steps[len(steps) // 2], steps[-1]], *more)


LONG = ("relu",)  # trains for thousands of steps
EACH = [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in DRAWN]


@pytest.mark.parametrize("name", EACH)
def test_every_claim_holds(made: Made, name: str) -> None:
    page = made[name]
    assert [claim for claim in page.claims if not claim.holds] == []
    assert len(page.claims) >= 3
    assert page.title == contents.TITLES[name]


@pytest.mark.parametrize("name", EACH)
def test_a_page_stands_alone(made: Made, name: str) -> None:
    html = made[name].html()
    assert re.findall(r'(?:src|href)="(?!data:|#|glossary\.html#|index\.html)[^"]*"', html) == []
    assert "[[" not in re.sub(r"<(script|pre)\b.*?</\1>", "", html, flags=re.S)
    assert html.count("<img ") == html.count('alt="') > 0 or name == "sliders"
    assert len(html) < 5_000_000


# what each page claims, broken on purpose


def wrong_step(X: Any, y: Any, a: Any, rate: float) -> Any:
    """The gradient is never zeroed."""
    loss = sgd.mse(X @ a, y)
    loss.backward()
    with torch.no_grad():
        a.sub_(rate * a.grad)
    return loss.detach()


def uphill(X: Any, y: Any, a: Any, rate: float) -> Any:
    loss = sgd.mse(X @ a, y)
    loss.backward()
    with torch.no_grad():
        a.add_(rate * a.grad)
        a.grad.zero_()
    return loss.detach()


def always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


right_fit, right_heights, right_train = (
    overfitting.fit_polynomial,
    loss_surface.heights,
    minibatch.train_minibatch,
)
FAULTS: list[tuple[str, Any, str, Any, str]] = [
    ("sgd", sgd, "looped", lambda X, a: X[:, 0] * a[0], "the matrix product is the loop"),
    ("sgd", sgd, "mse", lambda a, b: (a - b).abs().mean(), "a loss of about 8.9"),
    ("sgd", sgd, "slopes", always((torch.ones(2), torch.zeros(2))), "backward() gives what"),
    ("sgd", sgd, "step", wrong_step, "lowers the loss, or leaves it"),
    ("sgd", sgd, "step", uphill, "the closed form of least squares"),
    ("rates", learning_rate, "critical", lambda k: 1 / k, "2 % below it and diverge 2 % above"),
    ("rates", learning_rate, "critical", lambda k: 3 / k, "on the line the border"),
    ("rates", learning_rate, "run_verdict", always("converges"), "of 1.3 times diverges"),
    ("rates", learning_rate, "steepest", lambda r, losses: float(r[losses.argmin()]),
    "of the lowest loss"),
    ("rates", learning_rate, "sweep", lambda X, y: (np.array([0.1, 0.2]), np.ones(2)),
    "explodes only"),
    ("minibatch", minibatch, "train_minibatch", lambda X, y, b, *a, **k: right_train(X, y, len(X),
    *a, **k),
     "an epoch of 1,024"),
    ("minibatch", minibatch, "train_minibatch", lambda X, y, b, *a, **k: right_train(X, y, len(X),
    *a, **k),
     "after equal epochs"),
    ("minibatch", minibatch, "gradient", lambda X, y, a: X.T @ (X @ a - y) / len(X) + len(X) / 1e4,
     "right on average"),
    ("minibatch", minibatch, "expected_noise", always(0.1), "with the root of the batch"),
    ("surface", loss_surface, "heights", lambda *a: right_heights(*a) ** 0.5,
    "lies on the landscape"),
    ("surface", loss_surface, "curvatures", always(np.array([-1.0, 2.0])), "it is a bowl"),
    ("fit", overfitting, "fit_polynomial", lambda x, y, d, p=0.0: right_fit(x, y, d),
    "with a penalty does as"),
    ("fit", overfitting, "fit_polynomial", lambda x, y, d, p=0.0: right_fit(x, y, d, p + 1),
    "overfitting:"),
    ("fit", overfitting, "truth", lambda x: 1 + 0.5 * x, "underfitting: the line"),
    ("classes", cross_entropy, "softmax", lambda z: torch.exp(z), "sum to one"),
    ("classes", cross_entropy, "cross_entropy", lambda z,
    t: 2 * torch.nn.functional.cross_entropy(z, t),
     "the same loss as torch"),
    ("classes", cross_entropy, "accuracy", always(0.5), "most points come out right"),
    ("classes", cross_entropy, "nudged", always((1.0, 0.9)), "accuracy hardly ever"),
    ("relu", relu, "relu", lambda x: x, "meets the curve at 13"),
    ("relu", relu, "relu", np.round, "a quarter of the distance"),
    ("relu", relu, "staircase", relu.wave, "with a jump"),
    ("relu", relu, "train_wave", always((1.0, np.zeros(500))), "it learns the wave"),
    ("sliders", sliders, "by_hand", always((1.0, 10)), "a place that hands can find"),
    ("sliders", sliders, "by_hand", always((0.1, 3)), "fewer steps than hands"),
]  # fmt: skip


@pytest.mark.series
@pytest.mark.parametrize(
    ("name", "module", "kernel", "fault", "claim"),
    FAULTS,
    ids=[f"{name}-{kernel}-{number}" for number, (name, _, kernel, *_rest) in enumerate(FAULTS)],
)
def test_a_broken_kernel_breaks_its_claim(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, kernel: str, fault: Any, claim: str
) -> None:
    monkeypatch.setattr(module, kernel, fault)
    monkeypatch.setattr(Sheet, "code", lambda *_: None)  # whose source a lambda has not
    for drawing, picture in (("png", b"\x89PNG"), ("gif", b"GIF8")):  # which take most of the time
        if hasattr(module, drawing):
            monkeypatch.setattr(module, drawing, always(picture))
    monkeypatch.setattr(overfitting, "DRAWS", 20)
    monkeypatch.setattr(relu, "STEPS", 20)  # that it learns the wave is another claim
    page = contents.page(name)
    fallen = [c.said for c in page.claims if not c.holds]
    assert any(claim in said for said in fallen), fallen
    assert not page.holds
    assert "does not hold" in page.html()


# the kernels, by numbers worked out by hand


def test_the_mean_squared_error_of_two() -> None:
    assert float(sgd.mse(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))) == 2.5


def test_one_step_by_hand() -> None:
    """Of y = a: loss (a - 1)², slope 2 (a - 1)."""
    X, y = torch.tensor([[0.0, 1.0]]), torch.tensor([1.0])
    a = torch.tensor([5.0, 3.0], requires_grad=True)
    assert float(sgd.step(X, y, a, 0.25)) == 4
    assert a.tolist() == [5, 2]
    assert a.grad is not None
    assert a.grad.tolist() == [0, 0]


def test_a_parabola_of_known_steps() -> None:
    assert learning_rate.parabola(0.125, start=8.0, steps=3).tolist() == [8, 4, 2, 1]
    assert learning_rate.parabola(0.5, start=1.0, steps=3).tolist() == [1, -1, 1, -1]
    assert learning_rate.critical(4) == 0.5


@pytest.mark.parametrize(
    ("excess", "word"),
    [
        ([1, 0.5, 1e-4], "converges"),
        ([1, 0.9, 0.5], "crawls"),
        ([1, 2, 4], "diverges"),
        ([1, 0.1, math.nan], "diverges"),
        ([1, math.inf, 0], "diverges"),
    ],
)
def test_the_verdict(excess: list[float], word: str) -> None:
    assert learning_rate.run_verdict(np.array(excess)) == word


def test_an_epoch_counts_a_last_batch_that_is_not_full() -> None:
    X, y = sgd.points(100)
    assert minibatch.train_minibatch(X, y, 64, epochs=3).steps == 6
    assert minibatch.train_minibatch(X, y, 100, epochs=3).steps == 3


def test_heights_are_the_loss() -> None:
    X, y = torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1.0, 3.0])
    found = loss_surface.heights(X, y, np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]))
    assert found.tolist() == [[2.0, 0.0]]


def test_a_penalty_leaves_the_mean_alone() -> None:
    x, y = np.linspace(-1, 1, 9), np.full(9, 7.0)
    assert overfitting.fit_polynomial(x, y, 5, penalty=1e9) == pytest.approx(
        [7, 0, 0, 0, 0, 0], abs=1e-6
    )
    assert overfitting.fit_polynomial(x, 3 * x, 1) == pytest.approx([0, 3], abs=1e-12)


def test_the_cross_entropy_of_known_odds() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    assert cross_entropy.softmax(logits)[0].tolist() == pytest.approx([0.75, 0.25])
    found = float(cross_entropy.cross_entropy(logits, torch.tensor([0, 1])))
    assert found == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    assert cross_entropy.accuracy(logits, torch.tensor([1, 0])) == 0.5


def test_two_kinks_by_hand() -> None:
    t, w, b = relu.kinks(lambda x: np.abs(x - 0.5), 2)
    assert (t.tolist(), w.tolist(), b) == ([0, 0.5], [-1, 2], 0.5)
    assert relu.summed(np.array([0.25, 0.75]), t, w, b).tolist() == [0.25, 0.25]


@pytest.mark.parametrize("turn", range(-60, 300, 60))
def test_no_name_of_an_axis_is_cut_off_as_the_bowl_turns(turn: int) -> None:
    a1, a2 = np.meshgrid(np.linspace(-2, 8, 9), np.linspace(0, 5, 9))
    at = np.array([[0, 1], [3, 2.5]], np.float32)
    figure = loss_surface._bowl(
        a1, a2, (a1 - 3) ** 2 + a2, at, np.array([9.0, 2.0]), turn, small=True
    )
    figure.draw_without_rendering()
    (axes,) = figure.axes
    for name in (axes.xaxis.label, axes.yaxis.label, axes.zaxis.label):  # type: ignore[attr-defined]
        box = name.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


# the sheet and the command


def test_terms_lead_to_the_glossary() -> None:
    found = sheet.linked("a [[loss]], two [[gradient|gradients]]")
    assert '<a class="term" href="glossary.html#loss">loss</a>' in found
    assert ">gradients</a>" in found
    assert found.striptags() == "a loss, two gradients"
    with pytest.raises(KeyError, match="no 'lost'"):
        sheet.linked("[[lost]]")


def test_the_glossary_has_the_words_of_the_course() -> None:
    asked = {"learning rate", "epoch", "mini-batch", "SGD", "architecture", "parameters", "loss"}
    assert asked <= set(sheet.TERMS)
    html = sheet.glossary()
    for term in sheet.TERMS:
        assert f'id="{sheet.anchor(term)}"' in html
    assert "metric gets worse" in sheet.TERMS["overfitting"]
    assert "<em>higher</em> than that of validation" in sheet.TERMS["underfitting"]


def test_what_strangers_wrote_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    made = Sheet("sgd", "<b>", steps=evil)
    made.say("slopes_table", slopes=[(evil, 1, 1)])
    made.claim("first_loss", True, first=1, seed=evil)
    made.picture("losses", b"\x89PNG")
    made.live("line", {"x": "</script><script>alert(1)"})
    page = made.page()
    assert "<script>alert(1)" not in page.html()
    assert "<title>&lt;b&gt;</title>" in page.html()
    assert page.claims[0].found == f"1.000 with seed {evil}", "plain text for a terminal"


def test_a_missing_block_or_value_is_an_error() -> None:
    made = Sheet("sgd", n=100)
    with pytest.raises(KeyError, match="no_such_block"):
        made.say("no_such_block")
    with pytest.raises(UndefinedError, match="'shapes' is undefined"):
        made.claim("shapes", True)
    with pytest.raises(KeyError, match="no_such_page"):
        Sheet("no_such_page")


def modules(name: str) -> list[Path]:
    """Those that write a page."""
    path = ROOT / "bear_classifier" / "lesson" / f"{contents.MODULES[name].replace('.', '/')}.py"
    return [path, path.with_name("saliency.py")] if name == "features" else [path]


@pytest.mark.parametrize("name", contents.TITLES)
def test_the_code_uses_each_block_of_the_template_and_no_other(name: str) -> None:
    words = template(sheet.__file__, f"{name}.html")
    used = [
        call.args[0].value
        for path in modules(name)
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("say", "picture", "live", "claim")
        and isinstance(call.args[0], ast.Constant)
    ]
    assert sorted(used) == sorted(words.blocks)
    assert list(words.blocks) == re.findall("{% block (.+) %}", source(name)), "no block twice"


def source(name: str) -> str:
    return (Path(sheet.__file__).parent / "templates" / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*contents.TITLES, "glossary"])
def test_every_term_is_in_the_glossary(name: str) -> None:
    sheet.linked(source(name))


def test_pages_are_saved_with_what_they_lead_to(tmp_path: Path, made: Made) -> None:
    sheet.save(made["sgd"], tmp_path, contents.TITLES)
    sheet.save(made["rates"], tmp_path, contents.TITLES)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"sgd.html", "rates.html", "glossary.html", "index.html", "sgd-descent.gif"} <= names
    assert (tmp_path / "sgd-descent.gif").read_bytes().startswith(b"GIF8")
    for path in tmp_path.glob("*.html"):
        for link in re.findall(r'href="([^"#]+)', path.read_text(encoding="utf-8")):
            assert (tmp_path / link).is_file(), (path.name, link)
    assert "bears lesson minibatch" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_notebook_shows_the_page_in_a_frame(made: Made) -> None:
    shown = made["sliders"]._repr_html_()
    assert shown.startswith("<iframe ")
    assert shown.count("<script") == 0, "it is escaped"


def test_the_command_lists_runs_and_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["lesson"]) == 0
    listed = capsys.readouterr().out
    assert all(title in listed for title in contents.TITLES.values())
    assert main.main(["lesson", "sliders", "--save", str(tmp_path / "out"), "--quiet"]) == 0
    assert "holds  the least loss is a place" in capsys.readouterr().out
    assert (tmp_path / "out" / "sliders.html").is_file()
    assert main.main(["lesson", "sliders", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"]
    assert told["claims"][0]["found"]
    assert main.main(["lesson", "slides"]) == 2
    assert "there is no page 'slides'; there are sgd, rates" in capsys.readouterr().err


def test_a_claim_that_fails_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sliders, "by_hand", always((9.0, 10)))
    assert main.main(["lesson", "sliders"]) == 1
    assert "FAILS  the least loss is a place" in capsys.readouterr().out


# the notebooks


@pytest.mark.parametrize("name", EACH)
def test_its_notebook_is_as_it_is_made_and_runs(
    made: Made, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "page", made.__getitem__)  # it ran a moment ago
    spec = importlib.util.spec_from_file_location("books", ROOT / "docs" / "lesson_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    books = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(books)
    text = (ROOT / "notebooks" / "lesson" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text == books.notebook(name), "run: make docs"
    space: dict[str, Any] = {}
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)  # noqa: S102  # our own
    assert space["page"].holds
    assert "FAILS" not in capsys.readouterr().out
