"""The interface of a search engine: a function from query and page to hits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bear_classifier.dataset.web_address import host_of

LONGEST_URL = 2_048  # characters; a longer one is data rather than an address
LONGEST_TEXT = 300  # characters of a title or a name
# Control characters, turns of the writing direction, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


@dataclass(frozen=True)
class Hit:
    """One answer. url: of the picture; page: of the web page that shows it."""

    url: str
    page: str = ""
    thumbnail: str = ""
    title: str = ""
    author: str = ""
    licence: str = ""
    licence_url: str = ""


class NoAnswer(Exception):
    """A page of answers that did not come. detail: why, in words; wait: seconds asked for.

    kind: unreachable (no connection, or no complete answer in time), refused (an answer that is
    none), or empty (no results; of many engines also the way to refuse)."""

    def __init__(
        self, kind: Literal["unreachable", "refused", "empty"], detail: str, wait: float = 0.0
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.wait = kind, detail, wait


@dataclass(frozen=True)
class Engine:
    """ask: (query, page from 1) -> hits in their order, or NoAnswer.

    sure: whether an empty answer means that there is nothing, and never a refusal; safe: whether it
    keeps out what is not for everybody, as it is asked to."""

    name: str
    ask: Callable[[str, int], list[Hit]]
    pause: float  # seconds between two requests
    pages: int  # at most, for each query
    sure: bool = False
    safe: bool = True


def hit_of(answer: object, names: Mapping[str, str]) -> Hit | None:
    """A hit from what an engine sent, which may be anything; None without a usable address. names:
    field of Hit -> key in `answer`."""
    if not isinstance(answer, Mapping):
        return None
    addresses = ("url", "page", "thumbnail", "licence_url")
    values = {
        field: (http_url if field in addresses else plain_text)(answer.get(key))
        for field, key in names.items()
    }
    return Hit(**values) if values.get("url") else None


def http_url(value: object) -> str:
    """An http or https address of at most 2,048 characters as it came, or nothing."""
    if not isinstance(value, str) or len(value) > LONGEST_URL:
        return ""
    url = _UNPRINTABLE.sub("", value).strip()
    return url if host_of(url) else ""


def plain_text(value: object) -> str:
    """Text on one line of at most 300 characters, or nothing."""
    if not isinstance(value, str):
        return ""
    text = _UNPRINTABLE.sub(" ", value[: 4 * LONGEST_TEXT])
    return " ".join(text.split())[:LONGEST_TEXT]
