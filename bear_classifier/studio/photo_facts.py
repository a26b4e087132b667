"""What the page shows of the photos of a project, counted in its catalog; no model is loaded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bear_classifier.dataset import schema
from bear_classifier.dataset.backups import CATALOG, damage_explained
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import photo_counts
from bear_classifier.dataset.sources import usable_sites
from bear_classifier.errors import DataError

_FINE = (schema.OK, schema.PENDING, schema.SPARE, schema.GONE)
_UPLOAD = f"*/uploads/photos/*/{'[0-9a-f]' * 64}.*"
_PLACES = {"ok": "usable", "unusable": "set_aside", "duplicate": "set_aside", "dropped": "dropped"}


class OpenCatalog:
    """The catalog of a project, kept open for threads that take turns; there may be none yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._catalog: Catalog | None = None
        self._inode = 0
        self._lock = threading.RLock()

    @contextmanager
    def turn(self) -> Iterator[Catalog | None]:
        """None where there is no catalog. Raises DataError."""
        with self._lock:
            path = self.root / CATALOG
            inode = path.stat().st_ino if path.is_file() else 0
            if inode != self._inode or not inode:  # made, deleted or put back meanwhile
                self.close()
            if inode and self._catalog is None:
                self._catalog, self._inode = Catalog(self.root, shared=True), inode
            yield self._catalog

    def close(self) -> None:
        with self._lock:
            if self._catalog:
                self._catalog.close()
            self._catalog, self._inode = None, 0

    def token(self) -> tuple[int, int]:
        """Changes when somebody has written."""
        with self.turn() as catalog:
            if catalog is None:
                return (0, 0)
            with damage_explained(catalog.path):
                rows = catalog.stream(["data_version"], "pragma_data_version").fetchall()
            return (self._inode, int(rows[0][0]))


def photo_facts(catalog: Catalog | None, labels: list[str]) -> dict[str, Any]:
    """Counts by class and split, by class and source, and refusals by code. labels: of the project;
    classes that only the catalog knows are left out."""
    names = ("usable", *schema.SPLITS, "set_aside", "dropped", "waiting")
    by_class = {label: dict.fromkeys(names, 0) for label in labels}
    facts: dict[str, Any] = {
        "usable": 0, "unlabelled": 0, "by_class": by_class, "by_source": {}, "refused": {},
        "drawn": False,
    }  # fmt: skip
    if catalog is None:
        return facts
    for (label, split, status), n in photo_counts(catalog).items():
        facts["unlabelled"] += n * (status == "unlabelled")
        if (row := by_class.get(label)) is None or status not in _PLACES:
            continue
        row[_PLACES[status]] += n
        if status == "ok":
            facts["usable"] += n
            if split:
                row[split] += n
    for label, n in _waiting(catalog).items():
        if label in by_class:
            by_class[label]["waiting"] += n
    facts["by_source"] = catalog.once("sources of the studio", lambda: _by_source(catalog, labels))
    facts["refused"] = catalog.once("refusals of the studio", lambda: _refused(catalog))
    facts["drawn"] = catalog.once("drawings of the studio", lambda: _has_drawings(catalog))
    return facts


def _waiting(catalog: Catalog) -> dict[str, int]:
    """Candidates of each class; not uploads, which `uploads.waiting` knows before and meanwhile."""
    upload = f"kind = 'folder' AND replace(origin, char(92), '/') GLOB '{_UPLOAD}'"
    pending = f"source WHERE code = '{schema.PENDING}' AND NOT ({upload})"
    which = f"(SELECT label, count(*) AS n FROM {pending}"
    with damage_explained(catalog.path):
        return dict(catalog.stream(["label", "n"], f"{which} GROUP BY label)").fetchall())


def _by_source(catalog: Catalog, labels: list[str]) -> dict[str, dict[str, int]]:
    """Usable photos by class and web site, "" for files of one's own."""
    with damage_explained(catalog.path):
        rows = catalog.stream(["label"], "photo WHERE status = 'ok' ORDER BY sha256").fetchall()
    pairs = Counter(zip((label for (label,) in rows), usable_sites(catalog, ""), strict=False))
    found: dict[str, dict[str, int]] = {label: {} for label in labels}
    for (label, site), n in sorted(pairs.items(), key=lambda pair: -pair[1]):
        if label in found:
            found[label][site] = n
    return found


def _has_drawings(catalog: Catalog) -> bool:
    with damage_explained(catalog.path):
        drawings = "source WHERE kind = 'starter' LIMIT 1"
        return bool(catalog.stream(["origin"], drawings).fetchall())


def _refused(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """By code how many candidates and photos, and one of their sentences."""
    fine = ", ".join(f"'{code}'" for code in _FINE)
    sources = (
        "(SELECT code, count(*) AS n, min(sentence) AS sentence FROM source"
        f" WHERE code NOT IN ({fine}) GROUP BY code)"
    )
    photos = (
        "(SELECT substr(reason, 1, instr(reason || ':', ':') - 1) AS code, count(*) AS n,"
        " min(ltrim(substr(reason, instr(reason || ':', ':') + 1))) AS sentence FROM photo"
        " WHERE status = 'unusable' GROUP BY 1)"
    )
    found: dict[str, dict[str, Any]] = {}
    with damage_explained(catalog.path):
        for table in (sources, photos):
            for code, n, sentence in catalog.stream(["code", "n", "sentence"], table):
                row = found.setdefault(code, {"n": 0, "sentence": sentence})
                row["n"] += n
    return found


def class_photos(catalog: Catalog | None, label: str, offset: int, limit: int) -> dict[str, Any]:
    """A page of the photos of a class, those last stored first; label "": without one."""
    if catalog is None:
        return {"total": 0, "offset": offset, "rows": []}
    with damage_explained(catalog.path):
        ((total,),) = catalog.stream(["n"], "(SELECT count(*) AS n FROM photo WHERE label = ?)",
                                     (label,)).fetchall()  # fmt: skip
        rows = catalog.stream(
            ["sha256", "status", "reason", "split", "origin"],
            "photo WHERE label = ? ORDER BY rowid DESC LIMIT ? OFFSET ?",
            (label, limit, offset),
        ).fetchall()
    names = ("sha256", "status", "reason", "split", "source")
    return {"total": total, "offset": offset,
            "rows": [dict(zip(names, row, strict=True)) for row in rows]}  # fmt: skip


def cover(catalog: Catalog | None) -> str | None:
    """The hash of a usable photo that stands for the project, if there is one."""
    if catalog is None:
        return None
    with damage_explained(catalog.path):
        rows = catalog.stream(["sha256"], "photo WHERE status = 'ok' LIMIT 1").fetchall()
    return next((str(sha256) for (sha256,) in rows), None)


def stored_file(catalog: Catalog | None, sha256: str) -> Path:
    """Raises DataError (NO_SUCH_PHOTO)."""
    photo = catalog.photo(sha256) if catalog else None
    if catalog is None or photo is None:
        raise DataError("NO_SUCH_PHOTO", f"there is no photo {sha256[:80]!r} in this project")
    return catalog.file(photo)
