"""Fetch candidates, verify them with the one decoder, and store what is a picture."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bear_classifier import photos
from bear_classifier.catalog import Catalog
from bear_classifier.errors import PhotoError
from bear_classifier.files import write_atomic
from bear_classifier.schema import CONFLICT, DUPLICATE, GONE, OK, PENDING, Photo, Source
from bear_classifier.settings import Config

_CHUNK = 64  # photos stored and recorded together: what an interruption costs at most


@dataclass(frozen=True)
class Fetched:
    """A picture that decodes. data: the file as it was found; format: as in `photos.format_of`."""

    data: bytes
    format: str
    width: int
    height: int
    dhash: str
    contrast: float


@dataclass(frozen=True)
class Failure:
    """Why a candidate is no picture."""

    code: str
    sentence: str


def fetch_file(source: Source) -> Fetched | Failure:
    """Read one file of this computer."""
    try:
        data = photos.read(Path(source.origin))
        image = photos.decode(data)
        width, height = image.size
        return Fetched(
            data, photos.format_of(data), width, height, photos.dhash(image), contrast(image)
        )
    except PhotoError as exc:
        return Failure(exc.code, exc.sentence)


def contrast(image: Any) -> float:
    """Standard deviation of grey levels (0 to 127.5) over a 64-pixel thumbnail."""
    return float(np.asarray(image.convert("L").resize((64, 64)), dtype=np.float64).std())


def download(
    catalog: Catalog,
    config: Config,
    fetch: Callable[[Source], Fetched | Failure] = fetch_file,
) -> dict[str, Any]:
    """Fetch every pending candidate; each ends as one row with a code. Resumes where it stopped."""
    pending = catalog.sources(PENDING)
    asked = {source.origin for source in pending}
    bar = tqdm(total=len(pending), desc="download", unit="photo", disable=None)
    with bar, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        remaining = iter(pending)
        while chunk := list(islice(remaining, _CHUNK)):
            _store(catalog, chunk, pool.map(fetch, chunk))
            bar.update(len(chunk))
    _reconcile(catalog)
    sources = catalog.sources()
    codes = Counter(source.code for source in sources)
    refused = [s for s in sources if s.code not in (OK, DUPLICATE, GONE, CONFLICT)]
    return {
        "fetched": len(pending),
        "photos": len(catalog.photos()),
        "exact_duplicates": codes[DUPLICATE],
        "label_conflicts": codes[CONFLICT],
        "failed": dict(Counter(s.code for s in refused)),
        "failed_now": {s.origin: f"{s.code}: {s.sentence}" for s in refused if s.origin in asked},
    }


def _store(
    catalog: Catalog, sources: Sequence[Source], results: Iterable[Fetched | Failure]
) -> None:
    """Files first, rows after: a row never points at a file that is not there."""
    with_photo: list[tuple[Source, Photo]] = []
    failed: list[Source] = []
    for source, result in zip(sources, results, strict=True):
        if isinstance(result, Failure):
            failed.append(
                dataclasses.replace(source, code=result.code, sentence=result.sentence, sha256=None)
            )
            continue
        photo = Photo(
            hashlib.sha256(result.data).hexdigest(),
            source.origin,
            source.label,
            result.format,
            result.width,
            result.height,
            len(result.data),
            result.dhash,
            result.contrast,
        )
        if not catalog.file(photo).exists():
            write_atomic(catalog.file(photo), result.data)
        with_photo.append((source, photo))
    with catalog.transaction():
        catalog.put_sources(failed)
        for source, photo in with_photo:
            if catalog.photo(photo.sha256) is None:
                catalog.put_photos([photo])
            catalog.put_sources(
                [dataclasses.replace(source, code=OK, sentence="", sha256=photo.sha256)]
            )  # which of them are copies is told by recode


def _reconcile(catalog: Catalog) -> None:
    """Follow files that were moved to another class; set aside photos filed under two."""
    sources: dict[str, list[Source]] = {}
    for source in catalog.sources():
        if source.sha256:
            sources.setdefault(source.sha256, []).append(source)
    with catalog.transaction():
        for photo in catalog.photos():
            files = sources.get(photo.sha256, [])  # none: the only one was overwritten
            verdict = settle(photo, files)
            if verdict.label != photo.label:
                catalog.relabel(photo, verdict.label, "folder", "the file was moved there")
                photo = dataclasses.replace(photo, label=verdict.label)
            if verdict != photo:
                catalog.put_photos([verdict])
            catalog.put_sources(s for s in recode(verdict, files) if s not in files)


def settle(photo: Photo, sources: Sequence[Source]) -> Photo:
    """What the files that hold a photo say about its label and use.

    One label: that one, if the file was moved; several at once: nobody can know, set aside."""
    labels = sorted({s.label for s in sources if s.code != GONE})
    if len(labels) > 1 and photo.status != "dropped":
        reason = f"{CONFLICT}: the same file stands under {' and '.join(labels)}; keep it in one"
        return dataclasses.replace(photo, status="unusable", reason=reason)
    was_filed = {s.label for s in sources if s.code == GONE}
    if len(labels) == 1 and photo.label != labels[0] and photo.label in was_filed:
        photo = dataclasses.replace(photo, label=labels[0])
    if photo.reason.startswith(CONFLICT):
        return dataclasses.replace(photo, status="ok", reason="")
    return photo


def recode(photo: Photo, sources: Sequence[Source]) -> list[Source]:
    """The files that hold a photo, with codes: the first there is OK, the others are its copies."""
    there = sorted((s for s in sources if s.code != GONE), key=lambda s: s.origin != photo.origin)
    if not there:
        return []
    first = dataclasses.replace(there[0], code=OK, sentence="")
    clash = photo.reason.startswith(CONFLICT)
    code = CONFLICT if clash else DUPLICATE
    sentence = photo.reason if clash else f"same file as {first.origin}"
    return [first, *(dataclasses.replace(s, code=code, sentence=sentence) for s in there[1:])]
