"""Download candidates, verify them with the decoder, and store the pictures."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from bear_classifier.collect.fetch_tasks import (
    Fetch,
    SiteTask,
    fetch_file,
    fetch_on_engine,
    fetch_sites,
    take_in,
)
from bear_classifier.collect.http.client import in_own_loop
from bear_classifier.collect.http.fetch_many import INTERNET, Net, Outcome
from bear_classifier.collect.integrity import brought_back
from bear_classifier.collect.placeholders import placeholders
from bear_classifier.collect.sources.folder_changes import overwritten
from bear_classifier.collect.sources.registry import LOCAL
from bear_classifier.collect.sources.search_progress import search_goal
from bear_classifier.collect.spare_candidates import lacking, share_out
from bear_classifier.config.settings import Config
from bear_classifier.dataset import schema
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, relabel
from bear_classifier.dataset.formats.metadata import decisions_of
from bear_classifier.dataset.formats.past_decisions import restore_decisions
from bear_classifier.dataset.schema import (
    CONFLICT,
    GONE,
    OK,
    PENDING,
    PLACEHOLDER,
    Photo,
    Source,
    consistent,
    usable_status,
)
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import clear_partial
from bear_classifier.runtime.terminal import SHORT_BAR, progress_bar, room

OWN_FILES = tuple(name for name in LOCAL if name != "starter")  # sources: files of the user
PASSING = re.compile(r"NAME_ERROR|CONNECT_ERROR|TLS_ERROR|TIMEOUT_\w+|HTTP_(408|429|5\d\d)")


def download(
    catalog: Catalog,
    config: Config,
    fetch: Fetch = fetch_file,
    net: Net = INTERNET,
) -> dict[str, Any]:
    """Fetch every pending candidate; each ends as one row with a code. Resumes where it stopped."""
    if config.download.retry:
        _retry_passing(catalog)
    goal = search_goal(config)
    pending = [s for s in catalog.sources(PENDING) if s.label in ("", *config.labels)]
    fetched = {source.origin for source in pending}
    here = [source for source in pending if source.kind in LOCAL]
    there = [source for source in pending if source.kind not in LOCAL]
    total, settled = len(pending), False
    with progress_bar(
        total=total, desc="download", unit="photo", hidden=not pending, bar_format=SHORT_BAR
    ) as bar:
        progress = DownloadBar(bar, total)

        def record(group: list[Outcome]) -> None:
            _record(catalog, group)
            progress.add(group)

        try:
            for group in take_in(catalog.root, here, catalog.take_downs(), config, fetch):
                record(group)
            while there:
                _fetch(catalog, there, config, net, record)
                _reconcile(catalog, config)  # which of them are copies or placeholders
                settled = True
                there = [row for row in share_out(catalog, goal) if row.code == PENDING]
                fetched |= {source.origin for source in there}
                progress.expect(len(there))
        except DataError as exc:
            if exc.code != "DISK_FULL":
                raise
            raise DataError(
                "DISK_FULL",
                f"{progress.stored} of {len(fetched)} images saved in {catalog.root}; free"
                " space and run again to continue",
            ) from exc
        finally:
            clear_partial(catalog.root)  # what this run left, or one that was killed
    if not settled:
        _reconcile(catalog, config)
    spares = {"spares": len(fetched) - total, "lacking": lacking(catalog, goal)}
    return _outcome(catalog, fetched) | spares


def _fetch(
    catalog: Catalog,
    sources: Sequence[Source],
    config: Config,
    net: Net,
    record: Callable[[list[Outcome]], None],
) -> None:
    if config.engine.name != "local":
        fetch_on_engine(catalog, sources, config, net, record)
        return
    task = SiteTask(catalog.root, tuple(sources), tuple(catalog.take_downs()), config, net)
    in_own_loop(fetch_sites(task, record))


def _outcome(catalog: Catalog, fetched: set[str]) -> dict[str, Any]:
    sources, kept = catalog.sources(), catalog.photos()
    codes = Counter(source.code for source in sources)
    no_failures = (OK, schema.DUPLICATE, GONE, CONFLICT, schema.SPARE)
    failed = [source for source in sources if source.code not in no_failures]
    return {
        "fetched": len(fetched),
        "photos": len(kept),
        "unlabelled": sum(photo.status == "unlabelled" for photo in kept),
        "replaced": len(overwritten(kept, sources)),
        "exact_duplicates": codes[schema.DUPLICATE],
        "label_conflicts": codes[CONFLICT],
        "thumbnails": sum(s.via == "thumbnail" for s in sources),
        "failed": dict(Counter(s.code for s in failed)),
        "altered": sum(bool(s.sha256 and s.expected not in ("", s.sha256)) for s in sources),
        "passing": sum(bool(PASSING.fullmatch(s.code)) for s in failed),
        "own_failed": sum(s.kind in OWN_FILES and s.origin in fetched for s in failed),
        "failed_now": {s.origin: f"{s.code}: {s.sentence}" for s in failed if s.origin in fetched},
    }


def _retry_passing(catalog: Catalog) -> None:
    """Failures that may have passed become candidates again."""
    with catalog.transaction():
        catalog.put_sources(
            dataclasses.replace(source, code=PENDING, sentence="")
            for source in catalog.sources()
            if PASSING.fullmatch(source.code)
        )


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
        if self._codes:
            text += f", {self._codes.total()} refused"
        for number, (code, n) in enumerate(self._codes.most_common(3)):
            longer = f"{text}{', ' if number else ': '}{n} {code}"
            if len(longer) > room:
                break
            text = longer
        return text


def _record(catalog: Catalog, group: Sequence[Outcome]) -> None:
    """recode decides at the end which photos are copies of others."""
    with catalog.transaction():
        catalog.add_photos(photo for _, photo in group if photo)
        catalog.put_sources(source for source, _ in group)
        for source, photo in group:
            if photo and source.decisions and source.expected in ("", photo.sha256):
                _restore(catalog, photo, source)


def _restore(catalog: Catalog, photo: Photo, source: Source) -> None:
    """The decisions that came with a photo, unless somebody decided on it here."""
    now = catalog.photo(photo.sha256)
    decided_here = catalog.events("WHERE sha256 = ?", (photo.sha256,))
    if now and now.label == source.label and not decided_here:
        restore_decisions(catalog, {photo.sha256: decisions_of(source.decisions)})


def _reconcile(catalog: Catalog, config: Config) -> None:
    """Follow files that were moved to another class; set aside photos filed under two, and pictures
    that a site shows in place of many."""
    sources: dict[str | None, list[Source]] = defaultdict(list)
    for source in catalog.sources():
        sources[source.sha256].append(source)
    with catalog.transaction():
        moves = catalog.events("WHERE who = 'folder' AND request = '' ORDER BY id")
        followed = {event.sha256: event.new for event in moves if event.undoes is None}
        photos = catalog.photos()
        empty = placeholders(photos, catalog.sources(), config.screen.same, decided(catalog))
        for photo in photos:
            files = sources[photo.sha256]  # none: the only one was overwritten
            settled = brought_back(catalog, settle(photo, files))
            if settled.label == followed.get(photo.sha256):  # once; what somebody decided since
                settled = dataclasses.replace(settled, label=photo.label)  # is not overruled
                settled = consistent(settled)
            settled = _as_placeholder(settled, empty.get(photo.sha256, ""))
            if settled.label != photo.label:
                relabel(catalog, photo, settled.label, "folder", "the file was moved there")
                photo = consistent(dataclasses.replace(photo, label=settled.label))
            if settled != photo:
                catalog.put_photos([settled])
            catalog.put_sources(recode(settled, files))


def _as_placeholder(photo: Photo, why: str) -> Photo:
    """The photo, set aside as a placeholder, or not any more. why: in words, "" if it is none."""
    if photo.status != "dropped" and why:
        return dataclasses.replace(photo, status="unusable", reason=f"{PLACEHOLDER}: {why}")
    if photo.status == "unusable" and photo.reason.startswith(PLACEHOLDER):
        return dataclasses.replace(photo, status=usable_status(photo.label), reason="")
    return photo


def settle(photo: Photo, sources: Sequence[Source]) -> Photo:
    """What the files that hold a photo say about its label and use; files without a label nothing.

    One label: that one, if the file was moved; several at once: nobody can know, set aside."""
    there = [s for s in sources if s.code != GONE]
    if there:  # the first that was found, whichever came first over the network
        photo = dataclasses.replace(photo, origin=there[0].origin)
    labels = sorted({s.label for s in there if s.label})
    if len(labels) > 1 and photo.status != "dropped":
        here = any(s.kind in LOCAL for s in there)
        advice = "keep it in one" if here else "nobody can know which of them it shows"
        reason = f"{CONFLICT}: the same file stands under {' and '.join(labels)}; {advice}"
        return dataclasses.replace(photo, status="unusable", reason=reason)
    was_filed = {s.label for s in sources if s.code == GONE}
    if len(labels) == 1 and photo.label != labels[0] and photo.label in {"", *was_filed}:
        photo = consistent(dataclasses.replace(photo, label=labels[0]))
    if photo.reason.startswith(CONFLICT):
        return dataclasses.replace(photo, status=usable_status(photo.label), reason="")
    return photo


def recode(photo: Photo, sources: Sequence[Source]) -> list[Source]:
    """The files that hold a photo and whose codes change: the first there is OK, the others are its
    copies."""
    there = sorted((s for s in sources if s.code != GONE), key=lambda s: s.origin != photo.origin)
    if not there:
        return []
    first = OK, there[0].sentence if there[0].code == OK else ""  # of a thumbnail
    if photo.reason.startswith(PLACEHOLDER):
        first = others = PLACEHOLDER, photo.reason.partition(": ")[2]
    elif photo.reason.startswith(CONFLICT):
        others = CONFLICT, photo.reason
    else:
        others = schema.DUPLICATE, f"same file as {there[0].origin}"
    verdicts = [first, *[others] * (len(there) - 1)]
    return [
        dataclasses.replace(source, code=code, sentence=sentence)
        for source, (code, sentence) in zip(there, verdicts, strict=True)
        if (source.code, source.sentence) != (code, sentence)
    ]
