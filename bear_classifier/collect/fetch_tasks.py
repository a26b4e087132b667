"""Downloads as tasks of an engine: workers read, fetch and store photos; only the head writes the
catalog.

Every registrable domain is in one task, so that two machines never ask the same site. What leads to
a site of another task (a redirect, a thumbnail) is left for a last task, which is alone. A worker
notes each row in a journal as it ends: what was noted is not asked again, whoever dies.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from bear_classifier.collect.http.client import in_own_loop
from bear_classifier.collect.http.fetch_many import HeldBack, Net, Outcome, fetch_all
from bear_classifier.collect.http.ingest import PhotoFacts, examine
from bear_classifier.collect.http.rate_limit import ELSEWHERE
from bear_classifier.collect.rights.take_down import refusal_of
from bear_classifier.collect.sources.registry import reads
from bear_classifier.config.settings import Config
from bear_classifier.dataset import schema
from bear_classifier.dataset.catalog import Catalog, photo_file
from bear_classifier.dataset.schema import OK, Photo, Source, TakeDown, usable_status
from bear_classifier.dataset.sources import web_site
from bear_classifier.engine.choice import each
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import move, write_atomic
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.processors import processors

FILES = 64  # taken in and recorded together: what an interruption costs at most
_EACH = 32  # addresses that are worth starting another process for
_MOST = 8  # such processes: 35 MB each, and once in a while 300
_SECONDS = 30.0  # for one picture; those within the limits take 2 at most
_ADDRESSES = 256  # of small sites that share a task
_JOURNALS = "download"
Fetch = Callable[[Source], tuple[bytes, PhotoFacts]]


@dataclass(frozen=True)
class FileTask:
    """root: of the dataset; sources: files of this computer."""

    root: Path
    sources: tuple[Source, ...]
    take_downs: tuple[TakeDown, ...]


@dataclass(frozen=True)
class SiteTask:
    """sites: the registrable domains that may be asked; none: any."""

    root: Path
    sources: tuple[Source, ...]
    take_downs: tuple[TakeDown, ...]
    config: Config
    net: Net
    sites: frozenset[str] = frozenset()

    @property
    def journal(self) -> Path:
        names = "\n".join([source.origin for source in self.sources])
        digest = hashlib.sha256(f"{len(self.sites)}\n{names}".encode()).hexdigest()[:32]
        return self.root / _JOURNALS / f"{digest}.jsonl"


@dataclass(frozen=True)
class SiteResult:
    """unreached: rows of a network without any answer, which may be ours; elsewhere: sources that
    lead to sites of other tasks. All other rows are in the journal of the task."""

    unreached: tuple[Outcome, ...]
    elsewhere: tuple[Source, ...]


def fetch_file(source: Source) -> tuple[bytes, PhotoFacts]:
    """One file of this computer. Raises PhotoError."""
    read = reads(source.kind)
    data = read(source) if read else decoder.read_file(Path(source.origin))
    return data, examine(data)


def keep_photo(
    root: Path,
    refusal: Callable[[str], str],
    source: Source,
    facts: PhotoFacts,
    put: Callable[[Path], None],
) -> Photo:
    """Store the file, under its hash; a row must never point at a file that is not there."""
    status = usable_status(source.label)
    photo = Photo(origin=source.origin, label=source.label, status=status, **vars(facts))
    if why := refusal(photo.sha256):
        raise PhotoError(schema.TAKEN_DOWN, why)
    if not photo_file(root, photo).exists():
        put(photo_file(root, photo))
    return photo


# -- files of this computer ------------------------------------------------------------------------


def take_in(
    root: Path,
    sources: Sequence[Source],
    take_downs: Sequence[TakeDown],
    config: Config,
    fetch: Fetch = fetch_file,
) -> Iterator[list[Outcome]]:
    """Rows and photos of files in groups, as they end."""
    known = tuple(take_downs)
    tasks = (
        FileTask(root.absolute(), tuple(sources[first : first + FILES]), known)
        for first in range(0, len(sources), FILES)
    )
    for _, group in each(partial(take_in_files, fetch=fetch), tasks, config.engine):
        yield group


def take_in_files(task: FileTask, fetch: Fetch = fetch_file) -> list[Outcome]:
    """Decode, hash and store them. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
    refusal = refusal_of(task.take_downs)

    def work(source: Source) -> Outcome:
        try:
            data, facts = fetch(source)
            photo = keep_photo(task.root, refusal, source, facts, partial(write_atomic, data=data))
        except PhotoError as exc:
            row = dataclasses.replace(source, code=exc.code, sentence=exc.sentence, sha256=None)
            return row, None
        return dataclasses.replace(source, code=OK, sentence="", sha256=photo.sha256), photo

    with ThreadPoolExecutor(min(8, processors())) as pool:
        return list(pool.map(work, task.sources))


# -- addresses -------------------------------------------------------------------------------------


async def fetch_sites(task: SiteTask, use_groups: Callable[[list[Outcome]], None]) -> None:
    """Fetch the addresses of a task, store the photos and hand on rows and photos in groups, as
    they end. Raises DataError (OFFLINE where any site may be asked, NO_WORKER, DISK_FULL)."""
    most = min(2 * processors(), _MOST, 1 + len(task.sources) // _EACH)  # half wait for disks
    refusal = refusal_of(task.take_downs)
    header = {"folder": str(task.root / "photos")}
    async with Workers("bear_classifier.collect.http.ingest", most, _SECONDS) as workers:

        async def use(source: Source, body: IO[bytes]) -> Photo:
            facts = await workers.ask(header, body.read())
            path = Path(facts.pop("partial"))
            try:
                put = partial(move, path)
                return keep_photo(task.root, refusal, source, PhotoFacts(**facts), put)
            finally:
                path.unlink(missing_ok=True)

        visits = fetch_all(
            task.sources, task.config.download, task.net, lambda s: partial(use, s), refusal,
            str(task.root), task.sites,
        )  # fmt: skip
        async with aclosing(visits) as groups:
            async for group in groups:
                use_groups(group)


def fetch_shard(task: SiteTask) -> SiteResult:
    """Fetch the addresses of some sites and note the rows in the journal; what is noted there is
    not asked again. Raises as `fetch_sites`."""
    (task.root / _JOURNALS).mkdir(parents=True, exist_ok=True)
    noted = {before.origin for before, _ in read_journal(task.journal)}
    unreached: list[Outcome] = []
    elsewhere: list[Source] = []
    given = {source.origin: source for source in task.sources}
    left = tuple(source for source in task.sources if source.origin not in noted)
    with task.journal.open("a", encoding="utf-8") as journal:

        def note(group: list[Outcome]) -> None:
            for row, photo in group:
                if row.code == ELSEWHERE:
                    elsewhere.append(given[row.origin])
                elif HeldBack.is_doubtful(row):
                    unreached.append((row, photo))
                else:
                    values = [given[row.origin], row, photo]
                    line = json.dumps([value and dataclasses.asdict(value) for value in values])
                    journal.write(f"{line}\n")
            journal.flush()

        in_own_loop(fetch_sites(dataclasses.replace(task, sources=left), note))
    return SiteResult(tuple(unreached), tuple(elsewhere))


def read_journal(path: Path) -> list[tuple[Source, Outcome]]:
    """Each source as it was, with its row and photo; a line that was cut off is passed over."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            before, row, photo = json.loads(line)
        except ValueError:
            continue
        outcome = Source(**row), photo and Photo(**photo)
        found.append((Source(**before), outcome))
    return found


def by_site(
    root: Path,
    sources: Sequence[Source],
    take_downs: Sequence[TakeDown],
    config: Config,
    net: Net,
) -> list[SiteTask]:
    """Tasks that each have all addresses of their sites; small sites share one. What has no site
    is in none."""
    sites: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        sites[web_site(source.origin)].append(source)
    sites.pop("", None)
    make: Callable[..., SiteTask] = partial(
        SiteTask, root.absolute(), take_downs=tuple(take_downs), config=config, net=net
    )
    tasks: list[SiteTask] = []
    mine: dict[str, list[Source]] = {}
    for site, rows in sorted(sites.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        mine[site] = rows
        if sum(map(len, mine.values())) >= _ADDRESSES:
            tasks.append(_joined(make, mine))
            mine = {}
    return tasks + ([_joined(make, mine)] if mine else [])


def _joined(make: Callable[..., SiteTask], sites: Mapping[str, Sequence[Source]]) -> SiteTask:
    rows = tuple(source for each_ in sites.values() for source in each_)
    return make(sources=rows, sites=frozenset(sites))


def fetch_on_engine(
    catalog: Catalog,
    sources: Sequence[Source],
    config: Config,
    net: Net,
    use_groups: Callable[[list[Outcome]], None],
) -> None:
    """Fetch addresses by workers, one task for each site, and hand on rows and photos as tasks end.
    Raises as `fetch_sites` and `each`."""
    root, held = catalog.root.absolute(), HeldBack()
    recover_journals(root, {source.origin: source for source in sources}, use_groups)
    pending = {source.origin for source in catalog.sources(schema.PENDING)}
    left = [source for source in sources if source.origin in pending]
    tasks = by_site(root, left, catalog.take_downs(), config, net)
    with_site = {source.origin for task in tasks for source in task.sources}
    elsewhere = [source for source in left if source.origin not in with_site]

    def hand_on(tasks: Sequence[SiteTask]) -> Iterator[SiteResult]:
        for task, result in each(fetch_shard, tasks, config.engine):
            rows = [outcome for _, outcome in read_journal(task.journal)]
            if sure := held.sure([*rows, *result.unreached]):
                use_groups(sure)
            task.journal.unlink(missing_ok=True)
            yield result

    for result in hand_on(tasks):
        elsewhere += result.elsewhere
    if elsewhere:
        last = SiteTask(root, tuple(elsewhere), tuple(catalog.take_downs()), config, net)
        for _ in hand_on([last]):
            pass
    if rest := held.rest():
        use_groups(rest)


def recover_journals(
    root: Path,
    pending: Mapping[str, Source],
    use_groups: Callable[[list[Outcome]], None],
) -> None:
    """Hand on what workers noted for a head that died. pending: by origin, as they are now."""
    for path in sorted((root / _JOURNALS).glob("*.jsonl")):
        rows = [out for before, out in read_journal(path) if pending.get(before.origin) == before]
        if rows:
            use_groups(rows)
        path.unlink()
