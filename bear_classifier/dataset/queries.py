"""What is asked of a catalog without making an object of each of its rows."""

from __future__ import annotations

from collections.abc import Iterator

from bear_classifier.dataset.backups import damage_explained
from bear_classifier.dataset.catalog import Catalog


def photo_counts(catalog: Catalog) -> dict[tuple[str, str, str], int]:
    """How many photos there are of each label, split ("": none yet) and status."""
    kinds = ("label", "split", "status")
    grouped = (
        "(SELECT label, split, status, count(*) AS n FROM photo GROUP BY label, split, status)"
    )
    with damage_explained(catalog.path):
        rows = catalog.stream([*kinds, "n"], f"{grouped} ORDER BY label, split, status")
        return {(label, split or "", status): n for label, split, status, n in rows}


def hashes_from(catalog: Catalog, start: str) -> list[str]:
    """The hashes of photos that begin like that."""
    which = "photo WHERE sha256 >= ? AND sha256 < ? ORDER BY sha256"
    with damage_explained(catalog.path):
        return [sha256 for (sha256,) in catalog.stream(["sha256"], which, (start, f"{start}~"))]


def usable_origins(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """The origin of each usable photo, in the order of their hashes, and the web page that showed
    it, "" where there is none; one at a time."""
    if catalog.is_frozen:
        pages = catalog.pages()
        yield from ((photo.origin, pages.get(photo.origin, "")) for photo in catalog.photos("ok"))
        return
    joined = (
        "(SELECT photo.origin AS origin, coalesce(source.page, '') AS page FROM photo"
        " LEFT JOIN source ON source.origin = photo.origin"
        " WHERE photo.status = 'ok' ORDER BY photo.sha256)"
    )
    with damage_explained(catalog.path):
        yield from catalog.stream(["origin", "page"], joined)
