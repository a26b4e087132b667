"""Say whose photos these are: a table and a page, made to be published beside a model."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.credits import CLAIM as CLAIM
from bear_classifier.dataset.credits import address_of, best_source, licence_of_source, web_parts
from bear_classifier.dataset.credits import public as public
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import write_atomic, write_table
from bear_classifier.runtime.templates import template
from bear_classifier.runtime.terminal import count, one_line, progress_bar

_STYLE = Path(__file__).parent / "static" / "attribution.css"
UNKNOWN = "unknown"
_TOP = 10  # sites in the page's table
_UNSHOWN = ("heic",)  # formats that browsers cannot show
_THUMB = 320  # pixels, longer side of what is shown in their place
_LONG = 90  # letters of a title on a card; the whole one is in the details


@dataclass(frozen=True)
class Credit:
    """One row of the table: a photo, and what its best source says of it."""

    file: str  # below the dataset's folder
    sha256: str
    label: str
    side: str
    title: str
    author: str
    licence: str
    licence_url: str
    page: str
    address: str
    date: str
    found_by: str  # the search engine, or the kind of source
    query: str
    rank: str
    via: str  # "thumbnail" where the picture itself was gone
    further_sources: int


def attribution(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Write attribution.csv and attribution.html beside the photos. Raises DataError (NO_PHOTOS).

    One row per photo in use; the others are counted as left out."""
    everything = [photo for photo in catalog.photos() if photo.label]
    photos = [photo for photo in everything if photo.status == "ok"]
    sources: dict[str | None, list[Source]] = defaultdict(list)
    for source in catalog.sources():
        sources[source.sha256].append(source)
    if not photos or not sources:
        raise DataError(
            "NO_PHOTOS",
            f"{catalog.root} has no photo in use to say anything of ({len(everything)} set aside);"
            " run: bears run --until screen",
        )
    rows = [
        credit(p, sources[p.sha256], catalog.file(p).relative_to(catalog.root).as_posix())
        for p in sorted(photos, key=lambda photo: (photo.label, photo.sha256))
    ]
    left_out = len(everything) - len(photos)
    table, page = catalog.root / "attribution.csv", catalog.root / "attribution.html"
    columns = ["class" if f.name == "label" else f.name for f in fields(Credit)]
    write_table(table, [columns, *map(astuple, rows)])
    shown = _thumbnails(catalog, photos)
    write_atomic(page, as_page(config.name, rows, left_out, shown).encode(errors="replace"))
    paths = {"csv": str(table), "html": str(page)}
    return {"photos": len(rows), **_known(rows), **paths, "left_out": left_out}


def _thumbnails(catalog: Catalog, photos: Sequence[Photo]) -> dict[str, str]:
    """sha256 -> a small JPEG as a data: address, for photos whose format browsers cannot show; ""
    where the file cannot be read."""
    wanted = [photo for photo in photos if photo.format in _UNSHOWN]
    thumbnails = {photo.sha256: "" for photo in wanted}
    for photo in progress_bar(wanted, desc="attribution", unit="photo", leave=False):
        with suppress(PhotoError):
            image, _ = decoder.decode_with_size(catalog.file(photo), least=_THUMB)
            image.thumbnail((_THUMB, _THUMB))
            small = base64.b64encode(decoder.encode(image, quality=80)).decode()
            thumbnails[photo.sha256] = f"data:image/jpeg;base64,{small}"
    return thumbnails


def credit(photo: Photo, sources: Sequence[Source], file: str) -> Credit:
    """What the source that knows most says of a photo; never a mixture of two.

    Its author may differ from that of another source, and then so may the licence."""
    best = best_source(photo, sources)
    return Credit(
        file=file,
        sha256=photo.sha256,
        label=photo.label,
        side=photo.split or "",
        title=best.title,
        author=best.author.strip() or UNKNOWN,
        licence=licence_of_source(best) or UNKNOWN,
        licence_url=public(best.licence_url),
        page=public(best.page),
        address=address_of(best),
        date=best.at,
        found_by=best.engine or best.kind,
        query=best.query,
        rank=str(best.rank or ""),
        via=best.via,
        further_sources=max(0, len(sources) - 1),
    )


def _site(row: Credit) -> str:
    """The host of the page that shows a photo, else that of the photo."""
    parts = web_parts(row.page) or web_parts(row.address)
    return (parts.hostname or "").removeprefix("www.") if parts else "a folder"


def _known(rows: Sequence[Credit]) -> dict[str, int]:
    return {
        "with_author": sum(row.author != UNKNOWN for row in rows),
        "with_licence": sum(row.licence != UNKNOWN for row in rows),
        "claimed": sum(row.licence.endswith(CLAIM) for row in rows),
    }


def as_page(
    name: str, rows: Sequence[Credit], left_out: int, shown: Mapping[str, str] | None = None
) -> str:
    """One page that needs nothing but the photos beside it. shown: as `_thumbnails`."""
    by_label: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(_card(row, (shown or {}).get(row.sha256)))
    known, sites = _known(rows), Counter(map(_site, rows))
    figures = {
        "photos": len(rows),
        "with a known author": known["with_author"],
        "with a known licence": known["with_licence"] - known["claimed"],
    }
    if known["claimed"]:
        figures["with a licence that a search service claims"] = known["claimed"]
    style = _STYLE.read_text(encoding="utf-8")
    page = template(__file__, "attribution.html").render(
        name=name,
        style=Markup(style),
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        unknown=UNKNOWN,
        claim=CLAIM,
        claimed=known["claimed"],
        left_out=left_out,
        figures=figures,
        licences=Counter(row.licence for row in rows).most_common(),
        sites=sites.most_common(_TOP),
        more_sites=len(sites) - _TOP,
        classes=by_label,
        on_web=web_parts,
    )
    return page + "\n"


def _card(row: Credit, picture: str | None) -> dict[str, Any]:
    """A photo with its credit. picture: its address, "" where nothing can be shown, None where the
    file itself can."""
    title = row.title.strip() or "Untitled"
    query = (f", “{row.query}”" if row.query else "") + (f", place {row.rank}" if row.rank else "")
    return {
        "credit": row,
        "picture": row.file if picture is None else picture,
        "title": title,
        "short": title if len(title) <= _LONG else f"{title[: _LONG - 1]}…",
        "site": _site(row),
        "found_by": row.found_by + query,
    }


def attribution_text(outcome: Mapping[str, Any]) -> str:
    """What was written, and how much of it is known."""
    claimed = f", {outcome['claimed']} of them by a search service" if outcome["claimed"] else ""
    known = f"{outcome['with_author']} with a known author, {outcome['with_licence']} with a stated"
    more = f"{outcome['left_out']} more {'is' if outcome['left_out'] == 1 else 'are'}"
    rest = f"{more} kept but not used, and left out here"
    lines = [f"{count(outcome['photos'], 'photo')}: {known} licence{claimed}"]
    lines += [rest] * bool(outcome["left_out"])
    return "\n".join([*lines, one_line(outcome["csv"]), one_line(outcome["html"])])
