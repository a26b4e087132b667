"""Say whose photos these are: a table and a page, made to be published beside a model."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from html import escape
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import write_atomic, write_table
from bear_classifier.runtime.terminal import count, one_line, progress_bar

UNKNOWN = "unknown"
CLAIM = "(search filter)"  # ends a licence that nobody but the search service spoke of
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
    everything = catalog.photos()
    photos = [photo for photo in everything if photo.status == "ok"]
    sources: dict[str | None, list[Source]] = {}
    for source in catalog.sources():
        sources.setdefault(source.sha256, []).append(source)
    if not photos or not sources:
        raise DataError(
            "NO_PHOTOS",
            f"{catalog.root} has no photo in use to say anything of ({len(everything)} set aside);"
            " run: bears run --until screen",
        )
    rows = [
        credit(p, sources.get(p.sha256, []), catalog.file(p).relative_to(catalog.root).as_posix())
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
    found = {}
    for photo in progress_bar(wanted, desc="attribution", unit="photo", leave=False):
        found[photo.sha256] = ""
        try:
            image, _ = decoder.decode_with_size(catalog.file(photo), least=_THUMB)
        except PhotoError:
            continue
        image.thumbnail((_THUMB, _THUMB))
        small = base64.b64encode(decoder.encode(image, quality=80)).decode()
        found[photo.sha256] = f"data:image/jpeg;base64,{small}"
    return found


def credit(photo: Photo, sources: Sequence[Source], file: str) -> Credit:
    """What the source that knows most says of a photo; never a mixture of two.

    Its author may differ from that of another source, and then so may the licence."""
    best = max(sources, key=_facts, default=Source(photo.origin, photo.label, ""))
    fetched = best.thumbnail if best.via == "thumbnail" and best.thumbnail else best.origin
    return Credit(
        file=file,
        sha256=photo.sha256,
        label=photo.label,
        side=photo.split or "",
        title=best.title,
        author=best.author.strip() or UNKNOWN,
        licence=best.licence.strip() or public(best.licence_url) or UNKNOWN,
        licence_url=public(best.licence_url),
        page=public(best.page),
        address=public(best.final_url or fetched),
        date=best.at,
        found_by=best.engine or best.kind,
        query=best.query,
        rank=str(best.rank or ""),
        via=best.via,
        further_sources=max(0, len(sources) - 1),
    )


def _facts(source: Source) -> int:
    facts = (source.title, source.author, source.licence, source.licence_url, source.page)
    return sum(bool(fact.strip()) for fact in facts)


def public(place: str) -> str:
    """An address without the name and password in it; of a path only the file and its folder.

    What lies above them is nobody's business: it names the user of this computer."""
    parts = _web(place)
    if parts is None:
        return "/".join(re.split(r"[\\/]", place)[-2:])
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return bare.geturl() if "@" in parts.netloc else place


def _web(address: str) -> SplitResult | None:
    """The parts of an address that a page may link to; None for anything else."""
    try:
        parts = urlsplit(address)
        return parts if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def _site(row: Credit) -> str:
    """The host of the page that shows a photo, else that of the photo."""
    parts = _web(row.page) or _web(row.address)
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
    cards = {row.sha256: _card(row, (shown or {}).get(row.sha256, row.file)) for row in rows}
    by_label: dict[str, list[Credit]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    known = _known(rows)
    figures = {
        "photos": len(rows),
        "with a known author": known["with_author"],
        "with a known licence": known["with_licence"] - known["claimed"],
    }
    if known["claimed"]:
        figures["with a licence that a search service claims"] = known["claimed"]
    links = "".join(
        f'<a href="#class-{at}">{_text(label)} <span>{len(group):,}</span></a>'
        for at, (label, group) in enumerate(by_label.items())
    )
    sections = "".join(
        f'<section id="class-{at}"><h2>{_text(label)} <span>{len(group):,}</span></h2>'
        f"<ul>{''.join(cards[row.sha256] for row in group)}</ul></section>"
        for at, (label, group) in enumerate(by_label.items())
    )
    sites = Counter(map(_site, rows))
    more = f"<p>and {len(sites) - _TOP:,} more</p>" if len(sites) > _TOP else ""
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file: data:;\
 style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{escape(name)}: whose photos these are</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<p class="name">{_text(name)}</p>
<h1>Whose photos these are</h1>
<p>A photo belongs to those who made it. This page says what is known of each: its author, its
licence, and where it stands. <b>{UNKNOWN}</b> means that nobody said; it does not mean free.</p>
{_notes(known["claimed"], left_out)}
<dl>{"".join(f"<div><dt>{k}</dt><dd>{n:,}</dd></div>" for k, n in figures.items())}</dl>
<div class="tables">{_table("Licence", Counter(row.licence for row in rows).most_common())}
<div>{_table("Site", sites.most_common(_TOP))}{more}</div></div>
<nav aria-label="Classes">{links}</nav>
</header>
<main>{sections}</main>
</body>
</html>
"""


def _notes(claimed: int, left_out: int) -> str:
    claim = (
        f"<p>A licence that ends with <b>{CLAIM}</b> is a claim of the search service that was"
        " asked for such photos; the page that shows the photo may say otherwise.</p>"
    )
    rest = f"<p>{left_out:,} more are kept but not used (copies, unusable or taken out).</p>"
    return claim * bool(claimed) + rest * bool(left_out)


def _table(head: str, counts: Sequence[tuple[str, int]]) -> str:
    rows = "".join(f"<tr><td>{_text(what)}</td><td>{n:,}</td></tr>" for what, n in counts)
    return (
        f'<table><thead><tr><th scope="col">{head}</th><th scope="col">Photos</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _card(row: Credit, picture: str) -> str:
    """A photo with its credit; what few people ask for is folded away. picture: its address, or ""
    where there is nothing to show."""
    title = row.title.strip() or "Untitled"
    short = title if len(title) <= _LONG else f"{title[: _LONG - 1]}…"
    author = f"by {_text(row.author)}" if row.author != UNKNOWN else "author unknown"
    licence = row.licence if row.licence != UNKNOWN else "licence unknown"
    place = row.page or row.address
    query = (f", “{row.query}”" if row.query else "") + (f", place {row.rank}" if row.rank else "")
    details = {
        "Title": _text(title) if short != title else "",
        "Photo": _link(row.address) if row.page else "",
        "Found by": _text(row.found_by + query),
        "Fetched": _text(row.date[:10]),
        "Kept as": f"{_text(row.via)}; the picture itself was gone" if row.via else "",
        "Split": _text(row.side),
        "Further sources": str(row.further_sources or ""),
        "SHA-256": _text(row.sha256),
    }
    listed = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in details.items() if v)
    return (
        f'<li>{_image(picture, row.label)}<p class="title" dir="auto">{escape(short)}</p>'
        f"<p>{author}</p>"
        f"<p>{_link(row.licence_url, licence)}</p>"
        f"<p>{_link(place, _site(row)) if _web(place) else _text(place)}</p>"
        f"<details><summary>More</summary><dl>{listed}</dl></details></li>\n"
    )


def _image(picture: str, label: str) -> str:
    if not picture:
        return "<p>This photo cannot be shown: its file or its reader is missing or damaged.</p>"
    about = f'alt="Photo filed as {escape(label)}" loading="lazy" decoding="async"'
    return f'<img src="{escape(picture)}" {about}>'


def _link(address: str, words: str = "") -> str:
    """Words that lead to an address of the web; bare words where it is something else."""
    if _web(address) is None:
        return _text(words or address)
    rel = "noopener noreferrer nofollow"
    return f'<a href="{escape(address)}" rel="{rel}">{_text(words or address)}</a>'


def _text(words: str) -> str:
    """Somebody else's words: escaped, and in their own direction of writing."""
    return f"<bdi>{escape(words)}</bdi>" if words else ""


def attribution_text(outcome: Mapping[str, Any]) -> str:
    """What was written, and how much of it is known."""
    claimed = f", {outcome['claimed']} of them by a search service" if outcome["claimed"] else ""
    known = f"{outcome['with_author']} with a known author, {outcome['with_licence']} with a stated"
    more = f"{outcome['left_out']} more {'is' if outcome['left_out'] == 1 else 'are'}"
    rest = f"{more} kept but not used, and left out here"
    lines = [f"{count(outcome['photos'], 'photo')}: {known} licence{claimed}"]
    lines += [rest] * bool(outcome["left_out"])
    return "\n".join([*lines, one_line(outcome["csv"]), one_line(outcome["html"])])


_STYLE = """
:root{color-scheme:light dark;--paper:#faf9f6;--card:#fff;--ink:#26231e;--quiet:#6a645a;
--line:#e5e1d8;--link:#1d5b86;--head:ui-serif,Charter,Georgia,serif}
@media (prefers-color-scheme:dark){:root{--paper:#171613;--card:#201f1b;--ink:#e8e4db;
--quiet:#a49d90;--line:#37342d;--link:#93c4e8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:78rem;padding:clamp(1.25rem,5vw,4rem);background:var(--paper);
color:var(--ink);font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
h1,h2{font:500 clamp(2rem,5vw,3rem)/1.2 var(--head);margin:0 0 1rem}
h2{font-size:1.6rem;padding-top:2.5rem;border-top:1px solid var(--line)}
span,.name,dt,th,summary,.tables p{color:var(--quiet)} span{font-size:.85em}
header>p{max-width:42rem} .name{margin:0}
a{color:var(--link);text-underline-offset:.15em}
header>dl{display:flex;flex-wrap:wrap;align-items:start;gap:1rem 3rem;margin:2.5rem 0}
header>dl>div{display:flex;flex-direction:column-reverse;max-width:12rem}
header dd{font:500 2.25rem/1.2 var(--head)}
.tables{display:grid;gap:2rem 4rem;align-items:start;font-size:.95rem;
grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr))}
table{width:100%;border-collapse:collapse} tr{border-bottom:1px solid var(--line)}
th,td{text-align:start;padding:.4rem 0;font-weight:400}
th+th,td+td{text-align:end;padding-inline-start:1.5rem;font-variant-numeric:tabular-nums}
nav{display:flex;flex-wrap:wrap;gap:.5rem;margin:2.5rem 0}
nav a{padding:.4rem .9rem;border:1px solid var(--line);border-radius:2rem;background:var(--card);
color:var(--ink);text-decoration:none}
main ul{list-style:none;margin:0 0 3rem;padding:0;display:grid;align-items:start;gap:1.25rem;
grid-template-columns:repeat(auto-fill,minmax(clamp(9.5rem,22vw,14.5rem),1fr))}
li{background:var(--card);border:1px solid var(--line);border-radius:.6rem;overflow:hidden;
padding-bottom:.75rem;font-size:.9rem;content-visibility:auto;contain-intrinsic-size:auto 21rem}
li img{display:block;width:100%;aspect-ratio:4/3;object-fit:cover;background:var(--line);
margin-bottom:.75rem}
li p{margin:.1rem 0;padding:0 .9rem;line-height:1.4}
.title{font-weight:600} details{padding:.35rem .9rem 0} summary{cursor:pointer;width:fit-content}
details dl{margin:.5rem 0 0;font-size:.85rem;line-height:1.4} details dt{margin-top:.4rem}
dd{margin:0}
"""
