"""Provenance: where the photos came from and what became of them, in counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import PurePath

from bear_classifier.config.settings import Config
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import CONFLICT, DUPLICATE, GONE, OK, PENDING, SPARE, Photo
from bear_classifier.dataset.sources import sites
from bear_classifier.report.schema import Provenance, SiteCount

PLACES = ("train", "valid", "test", "no split", "duplicate", "unusable", "dropped")
_NOT_FAILED = {OK, DUPLICATE, CONFLICT, GONE, PENDING, SPARE}


def story(catalog: Catalog, config: Config) -> Provenance:
    """Of what has a label: photos that nobody confirmed, and their files, are no part of it."""
    everything = catalog.photos()
    unconfirmed = {photo.sha256 for photo in everything if not photo.label}
    photos = [photo for photo in everything if photo.label]
    nobodys = {None, *unconfirmed}
    sources = [s for s in catalog.sources() if s.label or s.sha256 not in nobodys]
    usable = [photo for photo in photos if photo.status == "ok"]
    groups = Counter(photo.group for photo in usable if photo.group)
    codes = Counter(source.code for source in sources)
    unusable = Counter(p.reason.split(":")[0] for p in photos if p.status == "unusable")
    made = decisions.decided(catalog).values()
    return {
        "classes": photos_by_place(photos, config.labels),
        "candidates": len(sources),
        "fetched": codes[OK] + codes[DUPLICATE],
        "photos": len(photos),
        "usable": len(usable),
        "sides": {s: sum(p.split == s for p in usable) for s in ("train", "valid", "test")},
        "kinds": dict(Counter(source.kind for source in sources).most_common()),
        "sites": of_sites(usable, origins(catalog, usable, config.split.sources)),
        "failed": {c: n for c, n in codes.most_common() if c not in _NOT_FAILED},
        "unusable": dict(unusable.most_common()),
        "copies": {
            "same file": codes[DUPLICATE],
            "same picture": sum(photo.status == "duplicate" for photo in photos),
            "near": sum(n for n in groups.values() if n > 1),
            "two classes": codes[CONFLICT],
        },
        "decisions": dict(Counter(event.action for event in made).most_common()),
        "by_program": sum(event.who == "auto" for event in made),
    }


def photos_by_place(photos: Iterable[Photo], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Label -> place -> photos that have one; labels that are no class any more come last."""
    table = {label: dict.fromkeys(PLACES, 0) for label in labels}
    for photo in filter(lambda one: one.label, photos):
        place = (photo.split or "no split") if photo.status == "ok" else photo.status
        table.setdefault(photo.label, dict.fromkeys(PLACES, 0))[place] += 1
    return table


def origins(catalog: Catalog, photos: Sequence[Photo], table: str) -> dict[str, str]:
    """sha256 -> the source of a photo as `sites` names it, or else the folder that its file was
    in, below the one that all of them are in."""
    named = dict(zip((p.sha256 for p in photos), sites(catalog, photos, table), strict=True))
    rest = [photo for photo in photos if not named[photo.sha256]]
    short = shortened([PurePath(photo.origin).parent for photo in rest])
    return named | dict(zip((photo.sha256 for photo in rest), short, strict=True))


def shortened(folders: Sequence[PurePath]) -> list[str]:
    """Each folder below the deepest one that all are in, that one by its name. Where they share
    none (several drives, network shares), the end of the path: the rest names a user."""
    whole = all(folder.is_absolute() for folder in folders)
    alike = takewhile(
        lambda same: len(set(same)) == 1, zip(*(f.parts for f in folders), strict=False)
    )
    common = sum(1 for _ in alike) if whole else 0
    names = []
    for folder in folders:
        parts = folder.parts[common:]
        if whole and not common:
            parts = parts[1:][-2:]
        names.append("/".join(parts) or folder.name or "unknown")
    return names


def of_sites(photos: Sequence[Photo], names: Mapping[str, str]) -> list[SiteCount]:
    """The sites with the number of their photos and classes, largest first."""
    labels: dict[str, list[str]] = {}
    for photo in photos:
        labels.setdefault(names[photo.sha256], []).append(photo.label)
    order = sorted(labels, key=lambda name: (-len(labels[name]), name))
    return [{"site": s, "n": len(labels[s]), "classes": sorted(set(labels[s]))} for s in order]
