"""Image search with DuckDuckGo and Bing, through ddgs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bear_classifier.collect.sources.search_engine import Engine, Hit, NoAnswer, hit_of
from bear_classifier.config.settings import SearchConfig

if TYPE_CHECKING:
    from ddgs import DDGS

PAUSE = 3.0  # seconds; the makers of ddgs ask for occasional use
REQUEST_SECONDS = 5  # seconds for one request; DuckDuckGo needs two for a page
PAGES = {"duckduckgo": 10, "bing": 20}  # of 100 and of 35 answers
_UNSAFE = {"bing"}  # ddgs 9.16.1 does not pass on that safe search is asked for
_NAMES = {"url": "image", "page": "url"} | {n: n for n in ("thumbnail", "title", "licence")}
_LICENCES = {"share": "Share", "commercial": "ShareCommercially", "public": "Public"}
_NOTHING = "No results found."  # and what ddgs makes of HTTP 202, 403 and 429
# ddgs passes on errors of its HTTP library primp as text that begins with the name of the class.
_UNREACHABLE = {
    "DNSError": "its name cannot be resolved",
    "ConnectError": "no connection",
    "RequestError": "the connection broke",
    "TimeoutError": "no answer in time",
    "DNSTimeoutError": "its name cannot be resolved in time",
}


def engines(settings: SearchConfig, client: DDGS | None = None) -> list[Engine]:
    """In order of preference: safe search first. Bing ignores filters, so it is left out where
    there are some.

    client: another ddgs.DDGS, such as one with a proxy."""
    from ddgs import DDGS  # imports every engine that it knows

    session = client or DDGS(timeout=REQUEST_SECONDS)
    filtered = (settings.licence, settings.size) != ("any", "any")
    names = ["duckduckgo"] if filtered else ["duckduckgo", "bing"]
    return [_engine(name, settings, session) for name in names]


def _engine(name: str, settings: SearchConfig, client: DDGS) -> Engine:
    filters: dict[str, Any] = {"region": settings.region, "safesearch": "on"}
    licence = ""
    if settings.licence != "any":
        filters["license_image"] = _LICENCES[settings.licence]
        licence = f"{settings.licence} (search filter)"
    if settings.size != "any":
        filters["size"] = settings.size.capitalize()

    def ask(query: str, page: int) -> list[Hit]:
        rows = _images(client, {**filters, "query": query, "page": page, "backend": name})
        return [hit for row in rows if (hit := hit_of({**row, "licence": licence}, _NAMES))]

    return Engine(name, ask, PAUSE, PAGES[name], safe=name not in _UNSAFE)


def _images(client: DDGS, request: dict[str, Any]) -> list[dict[str, Any]]:
    """One page. Whatever goes wrong is a NoAnswer."""
    from ddgs.exceptions import DDGSException, TimeoutException

    try:
        return client.images(**request, max_results=None)
    except TimeoutException as exc:
        raise NoAnswer("unreachable", _UNREACHABLE["TimeoutError"]) from exc
    except (DDGSException, TypeError, ValueError, KeyError, AttributeError) as exc:
        if str(exc) == _NOTHING:
            raise NoAnswer("empty", "no results, which it also says when it refuses") from exc
        if why := _UNREACHABLE.get(str(exc).partition(":")[0]):
            raise NoAnswer("unreachable", why) from exc
        raise NoAnswer("refused", f"its answer cannot be read ({_short(exc)})") from exc
    except Exception as exc:
        if type(exc).__module__ == "primp":  # its HTTP library, about the proxy or certificates
            raise NoAnswer("unreachable", _short(exc)) from exc
        raise


def _short(exc: Exception) -> str:
    return " ".join(str(exc).split())[:120]
