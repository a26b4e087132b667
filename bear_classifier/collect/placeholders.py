"""Placeholder pictures that a site shows for many URLs ("no longer available")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from bear_classifier.collect.sources.registry import LOCAL
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.dataset.sources import web_site
from bear_classifier.images.dhash import hash_bits
from bear_classifier.stats.components import components
from bear_classifier.stats.near_pairs import near_pairs

SHARED_BY = 3  # addresses of one site that lead to one picture


def placeholders(
    photos: Sequence[Photo], sources: Sequence[Source], same: int, kept: Collection[str] = ()
) -> dict[str, str]:
    """sha256 -> why, of the pictures that three or more addresses of one site lead to: as the same
    file, or as encodings of one picture, which differ in at most `same` bits of the hash.

    An address belongs to its own site and to the one that it was redirected to. A thumbnail counts
    as the same file only: other sites may show the picture, too. What lies in a folder of the user,
    and `kept`, what somebody decided on, is no placeholder."""
    spared = {s.sha256 for s in sources if s.kind in LOCAL} | set(kept)
    shown: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        if source.sha256 and source.sha256 not in spared:
            shown[source.sha256].append(source)
    pictures = [photo for photo in photos if photo.sha256 in shown]
    reasons = _of(shown, {photo.sha256: photo.sha256 for photo in pictures}, thumbnails=True)
    if len(pictures) > 1:
        pairs, _ = near_pairs(hash_bits([photo.dhash for photo in pictures]), same)
        heaps = components(len(pictures), pairs, [True] * len(pictures))
        heap = {pictures[i].sha256: pictures[ids[0]].sha256 for ids in heaps for i in ids}
        reasons |= _of(shown, heap, thumbnails=False)
    return reasons


def _of(
    shown: Mapping[str, Sequence[Source]], heap: Mapping[str, str], thumbnails: bool
) -> dict[str, str]:
    """heap: sha256 -> the name of all encodings of its picture."""
    addresses: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sha256, name in heap.items():
        for source in shown[sha256]:
            if thumbnails or source.via != "thumbnail":
                # A thumbnail belongs to the site that it came from.
                places = [source.final_url] if source.via else [source.origin, source.final_url]
                for site in set(map(web_site, places)) - {""}:
                    addresses[name, site].add(source.origin)
    why = {
        name: f"{len(origins)} addresses of {site} show this picture, as in place of photos that"
        " are gone"
        for (name, site), origins in sorted(addresses.items())
        if len(origins) >= SHARED_BY
    }
    return {sha256: why[name] for sha256, name in heap.items() if name in why}
