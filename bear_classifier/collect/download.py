"""Download candidates, verify them with the decoder, and store the pictures."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from bear_classifier.collect.http.client import in_own_loop
from bear_classifier.collect.http.fetch_many import INTERNET, Net, Outcome, fetch_all
from bear_classifier.collect.http.ingest import Facts, examine
from bear_classifier.collect.integrity import brought_back
from bear_classifier.collect.placeholders import placeholders
from bear_classifier.collect.rights.take_down import refusal_of
from bear_classifier.collect.sources.folder_changes import overwritten
from bear_classifier.collect.sources.registry import LOCAL
from bear_classifier.collect.spare_candidates import lacking, replacements
from bear_classifier.config.settings import Config, DownloadConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, relabel
from bear_classifier.dataset.schema import (
    CONFLICT,
    DUPLICATE,
    GONE,
    OK,
    PENDING,
    PLACEHOLDER,
    SPARE,
    TAKEN_DOWN,
    Photo,
    Source,
)
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import clear_partial, move, write_atomic
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.processors import processors
from bear_classifier.runtime.terminal import SHORT_BAR, progress_bar, room

_CHUNK = 64  # files stored and recorded together: what an interruption costs at most
_EACH = 32  # addresses that are worth starting another process for
_MOST = 8  # such processes: 35 MB each, and once in a while 300
_SECONDS = 30.0  # for one picture; those within the limits take 2 at most
_Keep = Callable[[Source, Facts, Callable[[Path], None]], Photo]
PASSING = re.compile(r"NAME_ERROR|CONNECT_ERROR|TLS_ERROR|TIMEOUT_\w+|HTTP_(408|429|5\d\d)")


@dataclass(frozen=True)
class Fetched:
    """A picture that decodes, with the file as it was found."""

    data: bytes
    facts: Facts


@dataclass(frozen=True)
class Failure:
    """Why a candidate is no picture."""

    code: str
    sentence: str


def fetch_file(source: Source) -> Fetched | Failure:
    """Read one file of this computer."""
    try:
        data = decoder.read_file(Path(source.origin))
        return Fetched(data, examine(data))
    except PhotoError as exc:
        return Failure(exc.code, exc.sentence)


def download(
    catalog: Catalog,
    config: Config,
    fetch: Callable[[Source], Fetched | Failure] = fetch_file,
    net: Net = INTERNET,
) -> dict[str, Any]:
    """Fetch every pending candidate; each ends as one row with a code. Resumes where it stopped."""
    if config.download.retry:
        _ask_again(catalog)
    pending = [s for s in catalog.sources(PENDING) if s.label in config.labels]
    asked = {source.origin for source in pending}
    here = [source for source in pending if source.kind in LOCAL]
    there = [source for source in pending if source.kind not in LOCAL]
    refusal = refusal_of(catalog.take_downs())
    keep = partial(_keep, catalog, refusal)
    with progress_bar(
        total=len(pending),
        desc="download",
        unit="photo",
        hidden=not pending,
        bar_format=SHORT_BAR,
    ) as bar:
        progress, settled = DownloadBar(bar, len(pending)), False
        try:
            for group in _from_files(here, fetch, keep):
                _record(catalog, group)
                progress.add(group)
            while there:
                in_own_loop(_from_web(catalog, there, config.download, net, refusal, progress))
                _reconcile(catalog, config)  # which of them are copies or placeholders
                settled = True
                there = replacements(catalog, config)
                asked |= {source.origin for source in there}
                progress.expect(len(there))
        except DataError as exc:
            if exc.code != "DISK_FULL":
                raise
            raise DataError(
                "DISK_FULL",
                f"{progress.stored} of {len(asked)} images saved in {catalog.root}; free"
                " space and run again to continue",
            ) from exc
        finally:
            clear_partial(catalog.root)  # what this run left, or one that was killed
    if not settled:
        _reconcile(catalog, config)
    spares = {"spares": len(asked) - len(pending), "lacking": lacking(catalog, config)}
    return _outcome(catalog, asked) | spares


def _outcome(catalog: Catalog, asked: set[str]) -> dict[str, Any]:
    sources, kept = catalog.sources(), catalog.photos()
    codes = Counter(source.code for source in sources)
    failed = [s for s in sources if s.code not in (OK, DUPLICATE, GONE, CONFLICT, SPARE)]
    return {
        "fetched": len(asked),
        "photos": len(kept),
        "replaced": len(overwritten(kept, sources)),
        "exact_duplicates": codes[DUPLICATE],
        "label_conflicts": codes[CONFLICT],
        "thumbnails": sum(s.via == "thumbnail" for s in sources),
        "failed": dict(Counter(s.code for s in failed)),
        "passing": sum(bool(PASSING.fullmatch(s.code)) for s in failed),
        "own_failed": sum(s.kind == "folder" and s.origin in asked for s in failed),
        "failed_now": {s.origin: f"{s.code}: {s.sentence}" for s in failed if s.origin in asked},
    }


def _ask_again(catalog: Catalog) -> None:
    """Failures that may have passed become candidates again."""
    with catalog.transaction():
        catalog.put_sources(
            dataclasses.replace(source, code=PENDING, sentence="")
            for source in catalog.sources()
            if PASSING.fullmatch(source.code)
        )


async def _from_web(
    catalog: Catalog,
    sources: Sequence[Source],
    settings: DownloadConfig,
    net: Net,
    refusal: Callable[[str], str],
    progress: DownloadBar,
) -> None:
    most = min(2 * processors(), _MOST, 1 + len(sources) // _EACH)  # half wait for disks
    header = {"folder": str(catalog.root / "photos")}
    async with Workers("bear_classifier.collect.http.ingest", most, _SECONDS) as workers:

        async def use(source: Source, body: IO[bytes]) -> Photo:
            found = await workers.ask(header, body.read())
            path = Path(found.pop("partial"))
            try:
                return _keep(catalog, refusal, source, Facts(**found), partial(move, path))
            finally:
                path.unlink(missing_ok=True)

        visits = fetch_all(
            sources, settings, net, lambda s: partial(use, s), refusal, str(catalog.root)
        )
        async with aclosing(visits) as groups:
            async for group in groups:
                _record(catalog, group)
                progress.add(group)


class DownloadBar:
    """The bar: done of found, how many photos came of it, and the most frequent reasons for having
    none, up to three."""

    def __init__(self, bar: Any, total: int) -> None:
        self.bar, self.total, self.stored = bar, total, 0
        self._codes: Counter[str] = Counter()

    def expect(self, more: int) -> None:
        self.total += more
        self.bar.total = self.total

    def add(self, group: Sequence[Outcome]) -> None:
        self.stored += sum(photo is not None for _, photo in group)
        self._codes.update(row.code for row, photo in group if photo is None)
        self.bar.set_postfix_str(self.words(room("download", self.total)), refresh=False)
        self.bar.update(len(group))

    def words(self, room: int) -> str:
        """As many of the reasons as fit into so many characters."""
        text = f"{self.stored} downloaded"
        if not self._codes:
            return text
        text += f", {self._codes.total()} refused"
        for number, (code, n) in enumerate(self._codes.most_common(3)):
            longer = f"{text}{', ' if number else ': '}{n} {code}"
            if len(longer) > room:
                break
            text = longer
        return text


def _from_files(
    sources: Sequence[Source], fetch: Callable[[Source], Fetched | Failure], keep: _Keep
) -> Iterator[list[Outcome]]:
    def work(source: Source) -> Outcome:
        result = fetch(source)
        try:
            if isinstance(result, Fetched):
                photo = keep(source, result.facts, partial(write_atomic, data=result.data))
                return dataclasses.replace(source, code=OK, sentence="", sha256=photo.sha256), photo
        except PhotoError as exc:
            result = Failure(exc.code, exc.sentence)
        row = dataclasses.replace(source, code=result.code, sentence=result.sentence, sha256=None)
        return row, None

    with ThreadPoolExecutor(min(8, processors())) as pool:
        remaining = iter(sources)
        while chunk := list(islice(remaining, _CHUNK)):
            yield list(pool.map(work, chunk))


def _keep(
    catalog: Catalog,
    refusal: Callable[[str], str],
    source: Source,
    facts: Facts,
    put: Callable[[Path], None],
) -> Photo:
    """Store the file, under its hash; a row must never point at a file that is not there."""
    photo = Photo(origin=source.origin, label=source.label, **vars(facts))
    if why := refusal(photo.sha256):
        raise PhotoError(TAKEN_DOWN, why)
    if not catalog.file(photo).exists():
        put(catalog.file(photo))
    return photo


def _record(catalog: Catalog, group: Sequence[Outcome]) -> None:
    """recode decides at the end which photos are copies of others."""
    with catalog.transaction():
        catalog.add_photos(photo for _, photo in group if photo)
        catalog.put_sources(source for source, _ in group)


def _reconcile(catalog: Catalog, config: Config) -> None:
    """Follow files that were moved to another class; set aside photos filed under two, and pictures
    that a site shows in place of many."""
    sources: dict[str, list[Source]] = {}
    for source in catalog.sources():
        if source.sha256:
            sources.setdefault(source.sha256, []).append(source)
    with catalog.transaction():
        moves = catalog.events("WHERE who = 'folder' AND request = '' ORDER BY id")
        followed = {event.sha256: event.new for event in moves if event.undoes is None}
        photos = catalog.photos()
        empty = placeholders(photos, catalog.sources(), config.screen.same, decided(catalog))
        for photo in photos:
            files = sources.get(photo.sha256, [])  # none: the only one was overwritten
            verdict = brought_back(catalog, settle(photo, files))
            if verdict.label == followed.get(photo.sha256):  # once; what somebody decided since
                verdict = dataclasses.replace(verdict, label=photo.label)  # is not overruled
            verdict = _stood_in(verdict, empty.get(photo.sha256, ""))
            if verdict.label != photo.label:
                relabel(catalog, photo, verdict.label, "folder", "the file was moved there")
                photo = dataclasses.replace(photo, label=verdict.label)
            if verdict != photo:
                catalog.put_photos([verdict])
            catalog.put_sources(recode(verdict, files))


def _stood_in(photo: Photo, why: str) -> Photo:
    """The photo, set aside as a placeholder, or not any more. why: in words, "" if it is none."""
    if photo.status != "dropped" and why:
        return dataclasses.replace(photo, status="unusable", reason=f"{PLACEHOLDER}: {why}")
    if photo.status == "unusable" and photo.reason.startswith(PLACEHOLDER):
        return dataclasses.replace(photo, status="ok", reason="")
    return photo


def settle(photo: Photo, sources: Sequence[Source]) -> Photo:
    """What the files that hold a photo say about its label and use.

    One label: that one, if the file was moved; several at once: nobody can know, set aside."""
    there = [s for s in sources if s.code != GONE]
    if there:  # the first that was found, whichever came first over the network
        photo = dataclasses.replace(photo, origin=there[0].origin)
    labels = sorted({s.label for s in there})
    if len(labels) > 1 and photo.status != "dropped":
        here = any(s.kind in LOCAL for s in there)
        advice = "keep it in one" if here else "nobody can know which of them it shows"
        reason = f"{CONFLICT}: the same file stands under {' and '.join(labels)}; {advice}"
        return dataclasses.replace(photo, status="unusable", reason=reason)
    was_filed = {s.label for s in sources if s.code == GONE}
    if len(labels) == 1 and photo.label != labels[0] and photo.label in was_filed:
        photo = dataclasses.replace(photo, label=labels[0])
    if photo.reason.startswith(CONFLICT):
        return dataclasses.replace(photo, status="ok", reason="")
    return photo


def recode(photo: Photo, sources: Sequence[Source]) -> list[Source]:
    """The files that hold a photo and whose codes change: the first there is OK, the others are its
    copies."""
    there = sorted((s for s in sources if s.code != GONE), key=lambda s: s.origin != photo.origin)
    if not there:
        return []
    if photo.reason.startswith(PLACEHOLDER):
        sentence = photo.reason.partition(": ")[2]
        return [
            dataclasses.replace(source, code=PLACEHOLDER, sentence=sentence)
            for source in there
            if (source.code, source.sentence) != (PLACEHOLDER, sentence)
        ]
    words = there[0].sentence if there[0].code == OK else ""  # of a thumbnail
    clash = photo.reason.startswith(CONFLICT)
    code = CONFLICT if clash else DUPLICATE
    sentence = photo.reason if clash else f"same file as {there[0].origin}"
    verdicts = [(OK, words), *[(code, sentence)] * (len(there) - 1)]
    return [
        dataclasses.replace(source, code=code, sentence=sentence)
        for source, (code, sentence) in zip(there, verdicts, strict=True)
        if (source.code, source.sentence) != (code, sentence)
    ]
