"""The source of each photo: its web site, or its entry in a table."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import usable_origins
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.web_address import host_of
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import read_text


def sites(catalog: Catalog, photos: Sequence[Photo], table: str) -> list[str]:
    """The source of each photo, "" where it is unknown.

    From the web: the registrable domain of the page that showed it, or else of the file. table: a
    file of paths (or ends of paths, with / or \\) and sources, which takes precedence; "" for none.
    Raises DataError (BAD_TABLE)."""
    named = read_table(Path(table).expanduser()) if table else {}
    pages = catalog.pages()
    return [
        (named and named_for(p.origin, named)) or web_site(pages.get(p.origin) or p.origin)
        for p in photos
    ]


def usable_sites(catalog: Catalog, table: str) -> Iterator[str]:
    """`sites` of the usable photos in the order of their hashes, one at a time."""
    return sites_of(usable_origins(catalog), table)


def sites_of(origins: Iterable[tuple[str, str]], table: str) -> Iterator[str]:
    """`sites` of photos, one at a time. origins: origin and page of each."""
    named = read_table(Path(table).expanduser()) if table else {}
    for origin, page in origins:
        yield (named and named_for(origin, named)) or web_site(page or origin)


def homes(groups: Sequence[str], sources: Sequence[str]) -> list[str]:
    """(n,) the source that each photo counts to: near-copies of several sources count to the one
    with most of them, and each group of unknown source is a source of its own.

    groups, sources ("": unknown): (n,). Joining the sources instead would leave only one: the same
    pictures are everywhere on the web."""
    shown: dict[str, Counter[str]] = defaultdict(Counter)
    for group, source in zip(groups, sources, strict=True):
        shown[group][source or f"group {group}"] += 1
    home = {g: min(counts, key=lambda s, c=counts: (-c[s], s)) for g, counts in shown.items()}  # type: ignore[misc]
    return [home[group] for group in groups]


def read_table(path: Path) -> dict[str, str]:
    """path -> source, from the first two columns of a file with a heading: separated by tabs,
    commas or semicolons. Raises DataError (BAD_TABLE)."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError("BAD_TABLE", f"{path} cannot be read: {exc}") from exc
    heading = text.partition("\n")[0]
    delimiter = next((d for d in "\t;," if d in heading), ",")
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:]
    if not rows or any(row and len(row) < 2 for row in rows):
        columns = "a heading and two columns: the path of a photo, its source"
        raise DataError("BAD_TABLE", f"{path} needs {columns}")
    return {_plain(row[0].strip()).strip("/"): row[1].strip() for row in rows if row}


def named_for(origin: str, named: Mapping[str, str]) -> str:
    """The source of the longest end of a path that is in the table."""
    parts = _plain(origin).split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((named[end] for end in ends if end in named), "")


def _plain(path: str) -> str:
    """One form for paths of all systems: a table may come from another one than the photos."""
    return unicodedata.normalize("NFC", path.replace("\\", "/"))


def web_site(address: str) -> str:
    """The registrable domain of an address, "" of anything else."""
    return _site_of_start("/".join(address.split("/", 3)[:3]))  # the rest is another each time


@lru_cache(100_000)
def _site_of_start(address: str) -> str:
    return site_of(host_of(address))


@lru_cache(100_000)
def site_of(host: str) -> str:
    """The registrable domain by the Public Suffix List; an IP address is its own site."""
    return host if host[-1:].isdigit() else _suffixes().privatesuffix(host) or host


@cache
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
