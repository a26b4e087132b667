"""Integrity of stored photos: files that were cut, changed or lost are set aside.

A stored file is named by the hash of its content. One that changed since the last check is hashed.
One with another hash is moved aside with its photo, and its source becomes a candidate again.
"""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import PENDING, STORED, Photo, usable_status
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import hash_of, write_atomic, write_errors
from bear_classifier.runtime.processors import processors
from bear_classifier.runtime.terminal import count

_NOTE = ".checked"  # when all of them were last looked at, ns since 1970
_SLACK = 2_000_000_000  # ns by which the time of a file may be coarse
_MOST, _SHARE = 20, 0.05  # photos at once, as a number and of all; more is no accident of a few
_SHOWN = 8


def set_aside(catalog: Catalog, everything: bool = False) -> list[str]:
    """Set aside the usable photos whose stored files are not what they were; sentences on each.

    everything: hash all of them, however many are lost, and ask again for those set aside before.
    Raises DataError (STORED_GONE) where so many are lost that a disk may be missing."""
    now = time.time_ns()
    since = 0 if everything else _last(catalog.root)
    photos = catalog.photos("ok") + catalog.photos("unlabelled")
    with ThreadPoolExecutor(processors()) as pool:
        flaws = list(pool.map(lambda photo: _flaw(catalog.file(photo), photo, since), photos))
    lost = {p.sha256: why for p, why in zip(photos, flaws, strict=True) if why}
    bad = [photo for photo in photos if photo.sha256 in lost]
    if len(bad) > max(_MOST, _SHARE * len(photos)) and not everything:
        raise DataError(
            "STORED_GONE",
            f"{len(bad)} of {count(len(photos), 'stored photo')} are gone or changed, such as"
            f" {_named(catalog, bad[0])} ({lost[bad[0].sha256]}); put the folder back, or, to fetch"
            " them again, run: bears run --retry",
        )
    for photo in bad:
        _move(catalog, photo)
    before = catalog.photos("unusable") if everything else []
    missing = [p for p in before if not catalog.file(p).is_file()]
    waiting = bad + [p for p in missing if p.reason.startswith(STORED)]
    if waiting:
        hashes, origins = {p.sha256 for p in waiting}, {p.origin for p in waiting}
        with catalog.transaction():
            catalog.put_photos(
                replace(p, status="unusable", reason=f"{STORED}: its stored file {lost[p.sha256]}")
                for p in bad
            )
            catalog.put_sources(
                replace(source, code=PENDING, sentence="", sha256=None)
                for source in catalog.sources()
                if source.sha256 in hashes or source.origin in origins
            )
    if photos:
        write_atomic(catalog.root / _NOTE, str(now - _SLACK).encode())
    lines = [f"stored photo {_named(catalog, p)} {lost[p.sha256]}; it is set aside" for p in bad]
    rest = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *rest]


def brought_back(catalog: Catalog, photo: Photo) -> Photo:
    """The photo, usable again if it was set aside here and its file is stored anew."""
    aside = photo.status == "unusable" and photo.reason.startswith(STORED)
    back = aside and catalog.file(photo).is_file()
    return replace(photo, status=usable_status(photo.label), reason="") if back else photo


def _flaw(path: Path, photo: Photo, since: int) -> str:
    """What has become of the file, "" if nothing. since: when it was last hashed."""
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return "is no file any more"
        if facts.st_size != photo.bytes:
            return "was cut" if facts.st_size < photo.bytes else "was changed"
        if max(facts.st_mtime_ns, facts.st_ctime_ns) < since:
            return ""
        return "" if hash_of(path) == photo.sha256 else "was changed"
    except FileNotFoundError:
        return "is gone"
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"


def _move(catalog: Catalog, photo: Photo) -> None:
    """Out of the way of the photo that is fetched again; kept, as it may be all that is left."""
    path = catalog.file(photo)
    if not os.path.lexists(path):
        return
    aside = catalog.root / "damaged" / path.name
    with write_errors(aside):
        aside.parent.mkdir(exist_ok=True)
        if aside.is_dir() and not aside.is_symlink():
            aside = aside.with_name(f"{path.name}.{time.time_ns()}")
        path.replace(aside)


def _named(catalog: Catalog, photo: Photo) -> str:
    return catalog.file(photo).relative_to(catalog.root).as_posix()


def _last(root: Path) -> int:
    with suppress(OSError, ValueError):
        return int((root / _NOTE).read_text(encoding="ascii"))
    return 0
