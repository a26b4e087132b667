"""What is asked of a catalog without making an object of each of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

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


def unlabelled(catalog: Catalog, most: int) -> list[str]:
    """The hashes of the first photos without a label, in their order."""
    which = "photo WHERE status = 'unlabelled' ORDER BY sha256 LIMIT ?"
    with damage_explained(catalog.path):
        return [sha256 for (sha256,) in catalog.stream(["sha256"], which, (most,))]


def learnable(catalog: Catalog, labels: Sequence[str], most: int) -> list[tuple[str, str]]:
    """Hash and label of the first photos of these classes that a model may learn from, in the order
    of their hashes."""
    which = (
        "photo WHERE status = 'ok' AND coalesce(split, '') <> 'test'"
        " AND label IN (SELECT value FROM json_each(?)) ORDER BY sha256 LIMIT ?"
    )
    with damage_explained(catalog.path):
        rows = catalog.stream(["sha256", "label"], which, (json.dumps(list(labels)), most))
        return rows.fetchall()


def usable_origins(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """The origin of each usable photo, in the order of their hashes, and the web page that showed
    it, "" where there is none; one at a time."""
    if catalog.is_frozen:
        pages = catalog.pages()
        yield from ((photo.origin, pages.get(photo.origin, "")) for photo in catalog.photos("ok"))
        return
    joined = _joined("WHERE photo.status = 'ok' ORDER BY photo.sha256")
    with damage_explained(catalog.path):
        yield from catalog.stream(["origin", "page"], joined)


def every_origin(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    """Hash, origin and page of each photo, as they lie in the file; one at a time."""
    with damage_explained(catalog.path):
        yield from catalog.stream(["sha256", "origin", "page"], _joined(""))


def _joined(which: str) -> str:
    return (
        "(SELECT photo.sha256 AS sha256, photo.origin AS origin, coalesce(source.page, '') AS page"
        f" FROM photo LEFT JOIN source ON source.origin = photo.origin {which})"
    )
