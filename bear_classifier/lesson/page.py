"""A page that shows what it claims, and checks it: words, code, pictures, and claims with figures.

A page is HTML that needs nothing else; beside it lie its pictures, the glossary and a list of all.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bear_classifier.lesson.glossary import TERMS, anchor
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.templates import template

_STATIC = Path(__file__).parent / "static"
_TERM = re.compile(r"\[\[([^]|]+)(?:\|([^]]+))?\]\]")  # [[term]] or [[term|as it is written here]]
_KINDS = {b"\x89PNG": "png", b"GIF8": "gif"}


@dataclass(frozen=True)
class Claim:
    """said: what is claimed; found: the figures that speak for it, or against it."""

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


@dataclass
class Sheet:
    """A page that is being written, from top to bottom.

    Words are HTML in which [[term]], or [[term|another form]], leads to the glossary."""

    name: str
    title: str
    _parts: list[Markup] = field(default_factory=list)
    _claims: list[Claim] = field(default_factory=list)
    _files: dict[str, bytes] = field(default_factory=dict)

    def say(self, *paragraphs: str) -> None:
        self._parts += [_html().paragraph(linked(words)) for words in paragraphs]

    def head(self, words: str) -> None:
        self._parts.append(_html().heading(words))

    def code(self, *functions: Callable[..., Any]) -> None:
        """Their source, as it runs."""
        text = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
        text = re.sub(r"  # (type: ignore|fmt|noqa)\S*( \S+)?", "", text)  # for machines
        self._parts.append(_html().code(text))

    def formula(self, html: str) -> None:
        self._parts.append(_html().formula(Markup(html)))

    def picture(self, name: str, data: bytes, alt: str) -> None:
        """A PNG, or a GIF that moves. alt: what there is to see, for those who cannot."""
        kind = _KINDS[data[:4]]
        self._files[f"{self.name}-{name}.{kind}"] = data
        source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        self._parts.append(_html().picture(source, alt))

    def file(self, name: str, data: bytes) -> None:
        """One that is only written beside the page, for other programs."""
        self._files[f"{self.name}-{name}"] = data

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._parts.append(_html().table(head, rows))

    def live(self, script: str, values: Mapping[str, Any], html: str) -> None:
        """Something to play with. script: NAME.js of this folder, which may call `values()`, the
        JSON of these; html: what it moves."""
        data = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
        code = (_STATIC / f"{script}.js").read_text(encoding="utf-8")
        self._parts.append(_html().live(script, Markup(data), Markup(html), Markup(code)))

    def claim(self, said: str, holds: bool, found: str) -> None:
        """holds: whether the figures bear the claim out. found: the figures."""
        self._claims.append(Claim(without_markup(said), bool(holds), found))
        self._parts.append(_html().claim(linked(said), holds, found))

    def page(self) -> Page:
        body = Markup("\n").join(self._parts)
        return Page(self.name, self.title, body, tuple(self._claims), dict(self._files))


def _html() -> Any:
    """Macros of what pages are made of."""
    return template(__file__, "lesson_parts.html").module


def linked(words: str) -> Markup:
    """HTML with links to the glossary. Raises KeyError at a term that is not in it."""

    def link(match: re.Match[str]) -> str:
        term, shown = match[1], match[2] or match[1]
        return f'<a class="term" href="glossary.html#{anchor(term)}">{shown}</a>'

    return Markup(_TERM.sub(link, words))


def without_markup(words: str) -> str:
    """The same words without links and markup, for a terminal."""
    return re.sub(r"<[^>]+>", "", _TERM.sub(lambda found: found[2] or found[1], words))


def html_document(title: str, body: Markup) -> str:
    """An HTML document."""
    style = Markup((_STATIC / "lesson.css").read_text(encoding="utf-8"))
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
        lines += [
            f"  {'holds' if claim.holds else 'FAILS'}  {claim.said}",
            f"         {claim.found}",
        ]
    return "\n".join(lines)
