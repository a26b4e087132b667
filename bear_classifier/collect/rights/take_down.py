"""Use nothing of a site, an address or a file any more, and say where it was used."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from bear_classifier.dataset import schema
from bear_classifier.dataset.catalog import Catalog, now
from bear_classifier.dataset.decisions import bar
from bear_classifier.dataset.schema import SPLITS, Photo, Published, Source, TakeDown
from bear_classifier.dataset.web_address import canonical_url, host_of, is_ip, split_url
from bear_classifier.errors import DataError

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_SHOWN = 8  # files, photos or bundles in the text; the rest is counted
_SHA256 = re.compile(r"[0-9a-f]{64}")


def take_down(catalog: Catalog, kind: str, value: str, who: str, why: str) -> dict[str, Any]:
    """Drop what comes from there, refuse what is still to be fetched, and remember the request.

    kind: domain, url or sha256. Files stay on the disk. Raises DataError (BAD_TAKE_DOWN)."""
    value = canonical(kind, value)
    with catalog.transaction():
        photos, sources = catalog.photos(), catalog.sources()
        if kind == "sha256":
            value = _whole(value, [p.sha256 for p in photos])
        request = TakeDown(kind, value, now(), who, why)
        known = (kind, value) in {(r.kind, r.value) for r in catalog.take_downs()}
        catalog.put_take_down(request)
        hits = affected(photos, sources, kind, value)
        dropped = [photo.sha256 for photo in hits if photo.status != "dropped"]
        code, sentence = schema.TAKEN_DOWN, _sentence(request)
        for photo in hits:
            bar(catalog, photo, who, f"{code}: {sentence}")
        pending = [s for s in sources if s.code == schema.PENDING and matches(s, kind, value)]
        catalog.put_sources(
            dataclasses.replace(source, code=code, sentence=sentence) for source in pending
        )
        published = catalog.published()
    hit = {photo.sha256 for photo in hits}
    near, aside = _copies(photos, hits)
    return {
        "kind": kind,
        "value": value,
        "known": known,
        "photos": len(hits),
        "dropped": dropped,
        "already": len(hits) - len(dropped),
        "pending_refused": len(pending),
        "files": [str(path) for path in map(catalog.file, hits) if path.is_file()],
        "bundles": [_use(bundle, hit) for bundle in published if hit & bundle.photos.keys()],
        "near_copies": near,
        "copies_aside": aside,
    }


def canonical(kind: str, value: str) -> str:
    """The one way to write what is asked for. Raises DataError (BAD_TAKE_DOWN).

    domain: its host in ASCII; url: see `canonical_url`; sha256: lower case, 8 to 64 digits."""
    given = value.strip()
    if kind == "domain":
        return _domain(given)
    if kind == "url":
        if plain := canonical_url(given):
            return plain
        advice = "give all of it, beginning with http:// or https://, or the sha256 of the file"
        raise _bad(f"{given[:200]!r} is no address of the web; {advice}")
    if kind == "sha256":
        if re.fullmatch(r"[0-9a-f]{8,64}", given.lower()):
            return given.lower()
        advice = "give the 64 digits that the photo's file is named by, or at least the first 8"
        raise _bad(f"{given[:200]!r} is no sha256; {advice}")
    raise _bad(f"{kind!r} is no kind of take-down; choose domain, url or sha256")


def matches(source: Source, kind: str, value: str) -> bool:
    """Whether a source falls under a request. value: as `canonical` gives it."""
    if kind == "sha256":
        return source.sha256 == value
    places = [source.origin, source.final_url, source.page]
    if kind == "url":
        return bool(value) and value in map(canonical_url, places)
    return any(value in _lineage(host_of(place)) for place in [*places, source.thumbnail])


def affected(
    photos: Iterable[Photo], sources: Iterable[Source], kind: str, value: str
) -> list[Photo]:
    """The photos that any matching source holds, or that first came from where it leads."""
    matching = [source for source in sources if matches(source, kind, value)]
    hashes = {source.sha256 for source in matching}
    # An address that was fetched again may hold another picture by now: its row forgot the first.
    origins = set() if kind == "sha256" else {source.origin for source in matching}
    return [
        photo
        for photo in photos
        if photo.sha256 in hashes
        or photo.origin in origins
        or matches(Source(photo.origin, photo.label, "", sha256=photo.sha256), kind, value)
    ]


def refusal_of(take_downs: Iterable[TakeDown]) -> Callable[[str], str]:
    """A function from an address, or the sha256 of a file, to why it may not be used, or ""."""
    requests = {(r.kind, r.value): r for r in take_downs if r.value}

    def reason(place: str) -> str:
        keys = [("sha256", place)]
        if not _SHA256.fullmatch(place):
            domains = _lineage(host_of(place))
            keys = [("url", canonical_url(place)), *(("domain", domain) for domain in domains)]
        return next((_sentence(requests[key]) for key in keys if key in requests), "")

    return reason if requests else lambda place: ""


def _sentence(request: TakeDown) -> str:
    why = f" ({request.why})" if request.why else ""
    name = _name(request.kind, request.value)
    return f"since {request.at[:10]} nothing of {name} may be used{why}"


def _name(kind: str, value: str) -> str:
    what = {"domain": "the site", "url": "the address", "sha256": "the file"}[kind]
    return f"{what} {value[:12] + '...' if kind == 'sha256' else value}"


def _bad(sentence: str) -> DataError:
    return DataError("BAD_TAKE_DOWN", sentence)


def _lineage(host: str) -> list[str]:
    """img.bears.example: itself, bears.example and example. An IP address has no parents."""
    labels = host.split(".")
    last = 1 if labels[-1].isdigit() else len(labels)
    return [".".join(labels[at:]) for at in range(last)] if host else []


def _domain(given: str) -> str:
    """The host that was given, alone or inside an address."""
    advice = "give the name of one site, such as example.com: sites below it are included"
    address = given if "://" in given else f"http://{given}"
    parts = split_url(address)
    is_bare = parts and "@" not in parts.netloc and given.split() == [given]
    host = host_of(address) if is_bare else ""
    if is_ip(host.strip("[]")):
        return host
    labels = host.split(".")
    if len(host) > 253 or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        raise _bad(f"{given[:200]!r} is not the name of a site; {advice}")
    if _suffixes().privatesuffix(host) is None:
        raise _bad(f"{host!r} is the end of many sites' names; {advice}")
    return host


@cache
def _suffixes() -> Any:
    """Ends of many sites' names. Not blogspot.com, say: its owner may ask for all of itself."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


def _whole(digits: str, known: Collection[str]) -> str:
    """All 64 digits. Those of a file that is not here may be refused too, but must be complete."""
    if len(digits) == 64:
        return digits
    matching = [sha256 for sha256 in known if sha256.startswith(digits)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise _bad(f"{len(matching)} photos begin with {digits}; give more digits of the sha256")
    raise _bad(f"no photo here begins with {digits}; give all 64 digits of the sha256")


def _copies(photos: Iterable[Photo], hits: Sequence[Photo]) -> tuple[list[str], list[str]]:
    """Other photos near to the hits: in use, and set aside as copies until the next screening,
    which puts one of them in the place of a photo that is gone."""
    hit = {photo.sha256 for photo in hits}
    groups = {photo.group for photo in hits if photo.group}
    others = [photo for photo in photos if photo.sha256 not in hit]
    near = [p.sha256 for p in others if p.status == "ok" and p.group in groups]
    aside = [
        p.sha256
        for p in others
        if p.status == "duplicate" and (p.group in groups or hit & set(_SHA256.findall(p.reason)))
    ]
    return near, aside


def _use(bundle: Published, hit: set[str]) -> dict[str, Any]:
    used = [split for sha256, split in bundle.photos.items() if sha256 in hit]
    current = False
    with suppress(OSError, ValueError, KeyError, TypeError):
        now_there = json.loads((Path(bundle.model) / "bundle.json").read_bytes())
        # The time as well: a model that was deleted and made anew begins at version 1.
        current = (now_there["version"], now_there["created"]) == (bundle.version, bundle.at)
    about = {"model": bundle.model, "version": bundle.version, "at": bundle.at}
    return {**about, **{split: used.count(split) for split in SPLITS}, "current": current}


def take_down_text(outcome: Mapping[str, Any]) -> str:
    """What was done, and what is left to a person."""
    name = _name(outcome["kind"], outcome["value"])
    before = "; it was asked for before" if outcome["known"] else ""
    photos = f"photos dropped: {len(outcome['dropped'])}, before: {outcome['already']}"
    none = "No photo here came from there; the request is remembered."
    lines = [f"Nothing of {name} is used from now on, nor fetched again{before}."]
    lines.append(photos if outcome["photos"] else none)
    if outcome["pending_refused"]:
        lines.append(f"not fetched yet, and refused: {outcome['pending_refused']}")
    lists = {
        "Their files stay on this computer; delete them if that was asked, too:": outcome["files"],
        "Near-copies in use were left alone; look at them:": outcome["near_copies"],
        "Copies set aside come into use at the next run; look at them:": outcome["copies_aside"],
        "Models that were made with them:": [_bundle(row) for row in outcome["bundles"]],
    }
    for title, rows in lists.items():
        rest = [f"  ... and {len(rows) - _SHOWN} more; all with --json"]
        lines += [title] if rows else []
        lines += [f"  {row}" for row in rows[:_SHOWN]] + rest * (len(rows) > _SHOWN)
    if any(row["current"] for row in outcome["bundles"]):
        lines.append("To make the models anew without those photos, run: bears run")
    return "\n".join(lines)


def _bundle(row: Mapping[str, Any]) -> str:
    counts_text = ", ".join(f"{row[split]} {split}" for split in SPLITS)
    state = "is there now" if row["current"] else "no longer there"
    return f"{row['model']}, version {row['version']} of {row['at'][:10]} ({state}): {counts_text}"
