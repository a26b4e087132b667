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


def labels_of_test(catalog: Catalog) -> dict[str, tuple[str, str]]:
    """sha256 -> label and group of near-copies of the usable photos of the test split, in the order
    of their hashes."""
    columns = ["sha256", "label", "group"]
    with damage_explained(catalog.path):
        rows = catalog.stream(
            columns, "photo WHERE status = 'ok' AND split = 'test' ORDER BY sha256"
        )
        return {sha256: (label, group or sha256) for sha256, label, group in rows}


def group_sizes(catalog: Catalog) -> dict[str, list[int]]:
    """The sizes of the groups of near-copies of each class, of usable photos that were screened."""
    grouped = (
        "(SELECT label, count(*) AS n FROM photo WHERE status = 'ok' AND \"group\" IS NOT NULL"
        ' GROUP BY label, "group") ORDER BY label, n'
    )
    sizes: dict[str, list[int]] = {}
    with damage_explained(catalog.path):
        for label, n in catalog.stream(["label", "n"], grouped):
            sizes.setdefault(label, []).append(n)
    return sizes


def decisions_after(catalog: Catalog, at: str) -> int:
    """How many photos have a decision in force that was made from this time on."""
    which = (
        "event WHERE at >= ? AND request <> '' AND undoes IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM event AS later WHERE later.undoes = event.id)"
    )
    grouped = f"(SELECT count(DISTINCT sha256) AS n FROM {which})"
    with damage_explained(catalog.path):
        (row,) = catalog.stream(["n"], grouped, (at,))
        return int(row[0])
