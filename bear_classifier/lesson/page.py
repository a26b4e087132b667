"""A page that checks what it claims: words, code, pictures, and claims with figures.

A page is HTML that needs nothing else; beside it lie its pictures, the glossary and a list of all.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from bear_classifier.lesson.contents import TITLES
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.templates import template

if TYPE_CHECKING:
    import numpy as np

_FOLDER = Path(__file__).parent
_KINDS = {b"\x89PNG": "png", b"GIF8": "gif"}
_TERM = re.compile(r"\[\[([^]|]+)(?:\|([^]]+))?\]\]")  # [[term]] or [[term|as it is written here]]
TERMS = dict(  # the glossary: HTML by term
    re.findall(
        r"<dt>(.+?)</dt>\s*<dd>(.+?)</dd>",
        (_FOLDER / "templates" / "glossary.html").read_text(encoding="utf-8"),
        re.DOTALL,
    )
)


@dataclass(frozen=True)
class Claim:
    """said: the claim; found: the figures for or against it. Both are plain text."""

    said: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Page:
    """body: HTML; files: what is written beside it, by name, such as the pictures of `body`."""

    name: str
    title: str
    body: Markup
    claims: tuple[Claim, ...]
    files: Mapping[str, bytes]

    @property
    def holds(self) -> bool:
        return all(claim.holds for claim in self.claims)

    def html(self) -> str:
        return html_document(self.title, self.body)

    def _repr_html_(self) -> str:
        """As a notebook shows it: in a frame of its own, since it has a style and scripts."""
        return str(_html().frame(self.title, self.html()))


class Sheet:
    """A page that is being written, from top to bottom.

    Its words are the blocks of templates/NAME.html: HTML in which [[term]], or [[term|another
    form]], leads to the glossary. Each method takes a block's name and the values in its words.
    Raises KeyError (no such block or term) and jinja2's UndefinedError (no such value)."""

    def __init__(self, name: str, title: str = "", **constants: Any) -> None:
        """title: if not that of the contents; constants: values that any block may use."""
        self.name, self.title, self._constants = name, title or TITLES[name], constants
        self._parts: list[Markup] = []
        self._claims: list[Claim] = []
        self._files: dict[str, bytes] = {}

    def say(self, block: str, /, **values: Any) -> None:
        """A heading, paragraphs, a formula, a table."""
        self._parts.append(self._words(block, values))

    def code(self, *functions: Callable[..., Any]) -> None:
        """Their source, as it runs."""
        text = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
        text = re.sub(r"  # (type: ignore|fmt|noqa)\S*( \S+)?", "", text)  # for machines
        self._parts.append(_html().code(text))

    def picture(self, block: str, data: bytes, suffix: str = "", /, **values: Any) -> None:
        """A PNG, or a GIF that moves. The block says what there is to see. suffix: of the name of
        its file, where several pictures have one block."""
        kind = _KINDS[data[:4]]
        self._files[f"{self.name}-{block}{suffix}.{kind}"] = data
        source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        self._parts.append(_html().picture(source, self._words(block, values).striptags()))

    def file(self, name: str, data: bytes) -> None:
        """One that is only written beside the page, for other programs."""
        self._files[f"{self.name}-{name}"] = data

    def live(self, script: str, data: Mapping[str, Any], /, **values: Any) -> None:
        """Something to play with. script: NAME.js of static/, which may call `values()`, the JSON
        of `data`; the block of this name is what it moves."""
        text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
        code = (_FOLDER / "static" / f"{script}.js").read_text(encoding="utf-8")
        html = self._words(script, values)
        self._parts.append(_html().live(script, Markup(text), html, Markup(code)))

    def claim(self, block: str, holds: bool | np.bool_, /, **values: Any) -> None:
        """The block has the claim, and in <small> the figures. holds: whether they bear it out."""
        words = self._words(block, values)
        claim, _, figures = words.partition("<small>")
        self._claims.append(Claim(claim.striptags(), bool(holds), figures.striptags()))
        self._parts.append(_html().claim(words, holds))

    def page(self) -> Page:
        body = Markup("\n").join(self._parts)
        return Page(self.name, self.title, body, tuple(self._claims), dict(self._files))

    def _words(self, block: str, values: Mapping[str, Any]) -> Markup:
        words = template(__file__, f"{self.name}.html")
        context = words.new_context({**self._constants, **values})
        return linked("".join(words.blocks[block](context)).strip())


def _html() -> Any:
    """Macros of what pages are made of."""
    return template(__file__, "lesson_parts.html").module


def anchor(term: str) -> str:
    """Its place on the page. Raises KeyError where the glossary lacks it."""
    if term not in TERMS:
        raise KeyError(f"the glossary has no {term!r}")
    return term.lower().replace(" ", "-")


def linked(words: str) -> Markup:
    """HTML with links to the glossary. Raises KeyError at a term that is not in it."""

    def link(match: re.Match[str]) -> str:
        term, shown = match[1], match[2] or match[1]
        return f'<a class="term" href="glossary.html#{anchor(term)}">{shown}</a>'

    return Markup(_TERM.sub(link, words))


def html_document(title: str, body: Markup) -> str:
    """An HTML document."""
    style = Markup((_FOLDER / "static" / "lesson.css").read_text(encoding="utf-8"))
    page = template(__file__, "lesson.html")
    return page.render(title=title, body=body, style=style, terms=TERMS, linked=linked) + "\n"


def glossary() -> str:
    rows = [(anchor(term), term, linked(words)) for term, words in TERMS.items()]
    return html_document("Words", _html().glossary(rows))


def index_page(pages: Mapping[str, str], there: Sequence[str]) -> str:
    """pages: titles by name, in their order; there: names of those that lie beside it."""
    return html_document("The lesson, idea by idea", _html().contents(pages, there))


def save(page: Page, folder: Path, titles: Mapping[str, str]) -> Path:
    """The page, its pictures, the glossary and the list of what lies there. titles: of all pages,
    by name. Returns the page's path. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
    path = folder / f"{page.name}.html"
    files = {path: page.html().encode(), folder / "glossary.html": glossary().encode()}
    files |= {folder / name: data for name, data in page.files.items()}
    for place, data in files.items():
        write_atomic(place, data)
    there = [name for name in titles if (folder / f"{name}.html").is_file()]
    write_atomic(folder / "index.html", index_page(titles, there).encode())
    return path


def page_text(page: Page) -> str:
    """Each claim with its figures, as lines for a terminal."""
    lines = [f"{page.name}: {page.title}"]
    for claim in page.claims:
        lines.append(f"  {'holds' if claim.holds else 'FAILS'}  {claim.said}")
        lines.append(f"         {claim.found}")
    return "\n".join(lines)
