"""What can be taken away from a project: its model, pages made of it, its photos, all of it.

Each is sent as it is packed. A sentence says who can reach it: nobody does by this alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from bear_classifier.dataset.backups import CATALOG
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.formats.earlier_export import EXPORT_MARKER
from bear_classifier.ship.space import MARKER
from bear_classifier.studio import uploads
from bear_classifier.studio.projects import Place
from bear_classifier.studio.zip_stream import Content, archive_entries, zipped
from bear_classifier.web.guard import Refused

_YOURS = "It lies in your project's folder; nobody else has it until you pass it on."


@dataclass(frozen=True)
class DownloadKind:
    """folder: below the place that `Parent` names; marker: a file in it that is there once it is
    whole; of_model: whether it is made from the published model; reach: who can reach it."""

    folder: str
    marker: str
    name: str
    of_model: bool
    reach: str


DOWNLOADS = {
    "bundle": DownloadKind(
        "", "bundle.json", "model", True,
        f"{_YOURS} Whoever has the model can use it on any computer, without this studio.",
    ),
    "static": DownloadKind(
        "static", MARKER, "page", True,
        f"{_YOURS} Put on a web server, everybody who reaches that server can use the page and copy"
        " the model; no photo leaves a visitor's device.",
    ),
    "space": DownloadKind(
        "space", MARKER, "space", True,
        f"{_YOURS} Uploaded to Hugging Face, everybody can open it unless you make it private;"
        " visitors' photos go to that server and are not kept.",
    ),
    "dataset": DownloadKind(
        "dataset-folders", EXPORT_MARKER, "photos", False,
        f"{_YOURS} Photos from the web belong to their authors: look at their licences before you"
        " pass them on.",
    ),
}  # fmt: skip
REPORT_REACH = f"{_YOURS} It shows photos that were answered wrongly."


class FileRow(TypedDict):
    """One download. name: of the file that is sent; href: relative to the studio; bytes: of its
    content before it is packed; made: when, UTC; current: made of what is published now."""

    kind: str
    name: str
    href: str
    bytes: int
    made: str
    current: bool
    reach: str


def download_folder(place: Place, kind: str) -> Path:
    """Where it lies, made or not. kind: of DOWNLOADS."""
    return place.own / "results" / DOWNLOADS[kind].folder if DOWNLOADS[kind].folder else place.model


def file_rows(place: Place) -> list[FileRow]:
    """Every download that is there."""
    rows = []
    published = _made(place.model / DOWNLOADS["bundle"].marker)
    for kind, about in DOWNLOADS.items():
        folder = download_folder(place, kind)
        if (made := _made(folder / about.marker)) is None:
            continue
        current = not about.of_model or (published is not None and made >= published)
        name = f"{place.name}-{about.name}.zip"
        rows.append(_row(place, kind, name, _size(folder, made), made, current, about.reach))
    report = place.data / "report" / "report.html"
    if (made := _made(report)) is not None:
        name, size = f"{place.name}-report.html", report.stat().st_size
        current = published is not None and made >= published
        rows.append(_row(place, "report", name, size, made, current, REPORT_REACH))
    return rows


def _row(
    place: Place, kind: str, name: str, size: int, made: float, current: bool, reach: str
) -> FileRow:
    at = datetime.fromtimestamp(made, timezone.utc).isoformat(timespec="seconds")
    return {
        "kind": kind, "name": name, "href": f"p/{place.name}/files/{name}", "bytes": size,
        "made": at, "current": current, "reach": reach,
    }  # fmt: skip


def _made(marker: Path) -> float | None:
    try:
        return marker.stat().st_mtime
    except OSError:
        return None


@lru_cache(100)
def _size(folder: Path, made: float) -> int:
    """Bytes of a folder. made: when it was, so that another one is counted anew."""
    return sum(path.stat().st_size for _, path in archive_entries(folder, ""))


def packed(place: Place, name: str) -> Iterator[bytes]:
    """The archive of this name, in pieces. Raises DataError (NO_FILE) before the first piece."""
    if name == f"{place.name}-project.zip":
        return zipped_project(place)
    kind = next(
        (k for k, about in DOWNLOADS.items() if name == f"{place.name}-{about.name}.zip"), ""
    )
    if not kind or not (download_folder(place, kind) / DOWNLOADS[kind].marker).is_file():
        raise Refused(404, "NO_FILE", f"{name[:80]!r} has not been made yet")
    top = f"{place.name}-{DOWNLOADS[kind].name}"
    return zipped(archive_entries(download_folder(place, kind), top, (MARKER, EXPORT_MARKER)))


def zipped_project(place: Place) -> Iterator[bytes]:
    """A project as an archive of its folder: project file, photos, uploads that wait, and one state
    of the catalog; without what can be computed anew. The command line opens it wherever it is
    unpacked."""
    copy, waiting = None, waiting_uploads(place, None)
    if (place.data / CATALOG).is_file():
        with Catalog(place.data) as catalog, catalog.copied() as path:
            waiting = waiting_uploads(place, catalog)
            copy = path.rename(path.with_name(f".{path.name}"))  # other threads may send it
    try:
        yield from zipped(_files(place, copy, waiting))
    finally:
        if copy:
            copy.unlink(missing_ok=True)


def _files(
    place: Place, catalog: Path | None, waiting: Sequence[Path]
) -> Iterator[tuple[str, Content]]:
    """catalog: a copy of it; waiting: uploads that are not in it."""
    yield f"{place.name}/{place.file.name}", place.file.read_bytes()
    below = f"{place.name}/data/{place.config.name}"
    if catalog:
        yield f"{below}/{CATALOG}", catalog
        yield from archive_entries(place.data / "photos", f"{below}/photos")
    for path in waiting:
        inside = path.relative_to(place.own).as_posix()
        yield f"{place.name}/studio/{inside}", path


def waiting_uploads(place: Place, catalog: Catalog | None) -> list[Path]:
    """Files of uploads that no job has taken in yet."""
    folder = uploads.uploads_folder(place)
    return [
        folder / uploads.FOLDERS[kind] / name
        for kind, names in uploads.waiting(place, catalog).items()
        for name in names
    ]
