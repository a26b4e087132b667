"""Image search with Openverse, the catalogue of openly licensed pictures, by its JSON API.

Without a key it gives 20 results a page (asked for more, it answers 401) and 240 for a query, and
announces 20 requests a minute and 200 a day in the headers of its answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from bear_classifier.collect.http.client import Reply, get_text, retry_after
from bear_classifier.collect.sources.search_engine import Engine, Hit, NoAnswer, hit_of, plain_text
from bear_classifier.config.settings import SearchConfig
from bear_classifier.errors import PhotoError

API = "https://api.openverse.org/v1/images/"
PAUSE = 3.0  # seconds: 20 requests a minute
PAGE, PAGES = 20, 12  # results; pages
_FOR_EVER = 999_999_999.0  # seconds
_UNREACHABLE = re.compile(r"(NAME|CONNECT|TLS)_ERROR|TIMEOUT_\w+")
_LICENCES = {  # everything there may be shared
    "commercial": {"license_type": "commercial"},
    "public": {"license": "cc0,pdm"},
}
_SIZES = {"small": "small", "medium": "medium", "large": "large", "wallpaper": "large"}
_NAMES = {n: n for n in ("url", "thumbnail", "title", "licence")}
_NAMES |= {"page": "foreign_landing_url", "author": "creator", "licence_url": "license_url"}
_FULL_NAMES = {"cc0": "CC0", "pdm": "Public Domain Mark"}


def engines(settings: SearchConfig, get: Callable[[str], Reply] = get_text) -> list[Engine]:
    """get: one request; raises PhotoError."""
    filters: dict[str, Any] = {"page_size": PAGE, "mature": "false"}
    filters |= _LICENCES.get(settings.licence, {})
    if settings.size in _SIZES:
        filters["size"] = _SIZES[settings.size]

    def ask(query: str, page: int) -> list[Hit]:
        address = f"{API}?{urlencode({'q': query, 'page': page, **filters})}"
        try:
            reply = get(address)
        except PhotoError as exc:
            unreachable = _UNREACHABLE.fullmatch(exc.code)
            raise NoAnswer("unreachable" if unreachable else "refused", exc.sentence) from exc
        rows = [row for row in _results(reply, page) if isinstance(row, dict)]
        named = [row | {"licence": licence_of(row)} for row in rows if _is_allowed(row, settings)]
        return [hit for row in named if (hit := hit_of(row, _NAMES))]

    return [Engine("openverse", ask, PAUSE, PAGES, sure=True)]


def _is_allowed(row: Mapping[str, Any], settings: SearchConfig) -> bool:
    """Once more what was asked for: the licence that counts is the one that the picture has."""
    name = plain_text(row.get("license")).lower()
    if settings.licence == "commercial":
        return bool(name) and "nc" not in name
    return settings.licence != "public" or name in ("cc0", "pdm")


def _results(reply: Reply, page: int) -> list[Any]:
    """What stands under "results"; raises NoAnswer where that is nothing."""
    if page > 1 and reply.status in (400, 401, 404):  # ways to say that it goes no deeper
        raise NoAnswer("empty", f"no page {page}")
    if reply.status != 200:
        raise NoAnswer("refused", *_refusal(reply))
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError) as exc:
        raise NoAnswer("refused", "its answer is no JSON") from exc
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise NoAnswer("refused", "its answer holds no list of results")
    if not results:
        raise NoAnswer("empty", "no results")
    return results


def _refusal(reply: Reply) -> tuple[str, float]:
    """In words, and the seconds to wait that it asks for (0: it names none)."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    requested = headers.get("retry-after", "")
    wait = min(retry_after(requested) or 0.0, _FOR_EVER)
    if requested:
        return f"HTTP {reply.status}, asked to wait {wait:.0f} s", wait
    text = f"HTTP {reply.status}"
    with suppress(ValueError, RecursionError, KeyError, TypeError):
        if detail := plain_text(json.loads(reply.body)["detail"])[:100]:
            text += f": {detail}"
    return text, 0.0


def licence_of(row: Mapping[str, Any]) -> str:
    """Such as CC BY-SA 4.0, CC0 1.0 or Public Domain Mark 1.0; nothing where none is named."""
    name, version = plain_text(row.get("license")), plain_text(row.get("license_version"))
    if not name:
        return ""
    return f"{_FULL_NAMES.get(name.lower(), 'CC ' + name.upper())} {version}".strip()
