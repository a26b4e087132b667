"""Whose a photo is, and what its licence allows, as far as its sources say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from bear_classifier.dataset.schema import Photo, Source

CLAIM = "(search filter)"  # ends a licence that nobody but the search service spoke of
LicensedUse = Literal["any", "share", "commercial", "public"]  # what an author has to allow
_WIDER = ("share", "commercial", "public")  # each allows what is before it, too


def best_source(photo: Photo, sources: Sequence[Source]) -> Source:
    """The source that says most of a photo; never a mixture of two.

    Its author may differ from that of another source, and then so may the licence."""
    return max(sources, key=_facts, default=Source(photo.origin, photo.label, ""))


def _facts(source: Source) -> int:
    facts = (source.title, source.author, source.licence, source.licence_url, source.page)
    return sum(bool(fact.strip()) for fact in facts)


def licence_of_source(source: Source) -> str:
    """Its name or else its address; "" where the source names none."""
    return source.licence.strip() or public(source.licence_url)


def address_of(source: Source) -> str:
    """Where the picture was fetched, as `public` has it."""
    fetched = source.thumbnail if source.via == "thumbnail" and source.thumbnail else source.origin
    return public(source.final_url or fetched)


def allows(licence: str, use: LicensedUse) -> bool:
    """Whether a licence, by its name or address, allows a use: to share, to use commercially, or
    anything (public domain).

    Only Creative Commons and the public domain are known; what a search filter claims is nobody's
    licence."""
    return use == "any" or _WIDER.index(use) <= _reach(licence)


def _reach(licence: str) -> int:
    """The place in `_WIDER` of the widest use that it allows, -1 if none is known."""
    words = set(re.findall(r"[a-z0-9]+", licence.lower()))
    if licence.strip().endswith(CLAIM):
        return -1
    if words & {"cc0", "pdm", "publicdomain"} or (
        {"public", "domain"} <= words and "not" not in words
    ):
        return 2
    parts = {"sa", "nc", "nd", "cc", "creativecommons"}
    if {"creative", "commons", "attribution"} <= words or ("by" in words and words & parts):
        return 0 if words & {"nc", "noncommercial"} else 1
    return -1


def public(place: str) -> str:
    """An address without the name and password in it; of a path only the file and its folder.

    What lies above them is nobody's business: it names the user of this computer."""
    parts = web_parts(place)
    if parts is None:
        return "/".join(re.split(r"[\\/]", place)[-2:])
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return bare.geturl() if "@" in parts.netloc else place


def web_parts(address: str) -> SplitResult | None:
    """The parts of an address that a page may link to; None for anything else."""
    try:
        parts = urlsplit(address)
        return parts if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None
