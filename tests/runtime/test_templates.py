"""Templates: nobody's words become HTML, and what has no value is an error."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT
from jinja2 import TemplateNotFound, UndefinedError

from bear_classifier import results
from bear_classifier.collect.rights.attribution import as_page, credit
from bear_classifier.dataset.schema import Photo
from bear_classifier.lesson.page import Sheet, index_page
from bear_classifier.plots import charts, inline_svg
from bear_classifier.runtime.templates import environment, template
from bear_classifier.serve.routes import render_card

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>&"
FOLDERS = sorted({path.parent for path in (ROOT / "bear_classifier").rglob("templates/*")})


def rendered(text: str, **values: Any) -> str:
    return environment(Path("unused")).from_string(text).render(**values)


def test_an_undefined_name_is_an_error() -> None:
    for text in ("{{ nothing }}", "{{ row.nothing }}", "{% if nothing %}{% endif %}"):
        with pytest.raises(UndefinedError, match="nothing"):
            rendered(text, row={"n": 1})
    with pytest.raises(TemplateNotFound):
        template(__file__, "nothing.html")


def test_values_are_escaped() -> None:
    assert "<" not in rendered("{{ words }}", words=EVIL)
    assert "<" not in rendered("{{ 'labelled ' ~ words }}", words=EVIL)


def test_an_item_is_meant_and_never_a_method_of_the_mapping() -> None:
    row = {"clear": None, "items": "a", "n": 3}
    assert rendered("{{ row.clear }} {{ row.items }} {{ row|items|list|length }}", row=row) == (
        "None a 3"
    )
    with pytest.raises(UndefinedError):
        rendered("{{ row.keys() }}", row=row)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_template_is_well_formed_and_escapes(folder: Path) -> None:
    made = environment(folder)
    for name in made.list_templates():
        made.get_template(name)
        source = (folder / name).read_text(encoding="utf-8")
        assert "safe" not in source.split() and "|safe" not in source, name
        assert "autoescape" not in source, name


def test_no_two_files_that_a_program_names_share_a_name() -> None:
    """A Space finds the files that go along by their names."""
    names = [path.name for path in (ROOT / "bear_classifier").rglob("templates/*")]
    names += [path.name for path in (ROOT / "bear_classifier").rglob("static/*")]
    assert sorted(set(names)) == sorted(names)


class Parsed(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.words += "".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.words += data


def lesson(words: str) -> str:
    sheet = Sheet("sgd", words, steps=words)
    sheet.picture("losses", b"\x89PNG")
    sheet.say("slopes_table", slopes=[(words, 1, 1)])
    sheet.claim("first_loss", True, first=1, seed=words)
    return sheet.page().html()


def credit_page(words: str) -> str:
    photo = Photo("0" * 64, words, words, "png", 1, 1, 1, "00", 50.0, group="0", split="test")
    return as_page(words, [credit(photo, [], f"photos/{words}.png")], 0)


def chart(words: str) -> str:
    figure, (axes,) = charts.panels(3, 1, narrow=True)
    axes.plot([1, 2], [1, 2], color=charts.BLUE, label=words)
    axes.set_xlabel(words)
    axes.legend(frameon=False)
    return inline_svg.figure_svg(figure, words)


def report_frame(words: str) -> str:
    return results.Study(words, words, ROOT / "LICENSE", {})._repr_html_()


@pytest.mark.parametrize(
    "page",
    [
        lesson,
        credit_page,
        report_frame,
        lambda words: render_card(words, words),
        lambda words: index_page({"evil": words, "there": words}, ["there"]),
        chart,
    ],
    ids=["lesson", "attribution", "notebook", "card", "contents", "chart"],
)
def test_a_hostile_name_stays_a_text(page: Callable[[str], str]) -> None:
    evil, plain = (Parsed(str(page(words))) for words in (EVIL, "plain"))
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    assert EVIL in evil.words


def test_a_report_in_a_notebook_is_a_page_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a&b.html"
    path.write_text(EVIL, encoding="utf-8")
    shown = Parsed(str(results.Report(path, {}, None)._repr_html_()))  # type: ignore[arg-type]
    assert shown.tags == ["iframe", "p"]
    assert EVIL in shown.words and "a&b.html" in shown.words
