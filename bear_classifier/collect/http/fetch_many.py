"""Fetch many URLs concurrently, and record the results in small batches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice

from bear_classifier.collect.http.client import Client
from bear_classifier.collect.http.fetch_one import Use, Visitor
from bear_classifier.collect.http.rate_limit import Clock, PolitenessLimits, RateLimit
from bear_classifier.collect.http.robots import Robots
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.config.settings import DownloadConfig
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.dataset.sources import web_site
from bear_classifier.errors import DataError

Outcome = tuple[Source, Photo | None]
_AHEAD = 4  # addresses in work per line: most of them wait for their site's turn
_FILES = 2_048  # connections, those kept open for a moment, and pictures too large for memory
_GROUP = 0.05  # seconds between two groups of rows: what a kill may cost
_OFFLINE = {"NAME_ERROR", "CONNECT_ERROR", "TIMEOUT_CONNECT"}
_UNASKED = {"BAD_ADDRESS", "BLOCKED_SCHEME", "BLOCKED_PORT", "BLOCKED_ADDRESS", "TAKEN_DOWN"}
_NO_ANSWER = _OFFLINE | _UNASKED  # codes for which nobody need have answered
_SURE = 10  # addresses; if so many fail like that and none otherwise, it is our network
_PATIENCE = 15.0  # seconds until that is said


@dataclass(frozen=True)
class Net:
    """Everything between us and the Internet; tests pass a small Internet of their own."""

    world: World = World()
    limits: Limits = Limits()
    manners: PolitenessLimits = PolitenessLimits()
    clock: Clock = Clock()


INTERNET = Net()


class HeldBack:
    """Failures of the network wait until somebody has answered: offline none is recorded."""

    def __init__(self) -> None:
        self._held: list[Outcome] = []
        self._reached = False

    @staticmethod
    def is_doubtful(row: Source) -> bool:
        """Whether our own network may be the reason."""
        return row.code in _OFFLINE

    def sure(self, group: Sequence[Outcome]) -> list[Outcome]:
        """What may be recorded, now that these rows have come."""
        answered = (row.http > 0 or row.code not in _NO_ANSWER for row, _ in group)
        self._reached = self._reached or any(answered)
        self._held += [outcome for outcome in group if self.is_doubtful(outcome[0])]
        sure = [outcome for outcome in group if not self.is_doubtful(outcome[0])]
        if self._reached:
            sure, self._held = self._held + sure, []
        return sure

    @property
    def are_many(self) -> bool:
        return len(self._held) >= _SURE

    def rest(self) -> list[Outcome]:
        """Few that nobody has answered. Raises DataError (OFFLINE) where they are many."""
        if self.are_many:
            raise DataError(
                "OFFLINE",
                f"none of {len(self._held)} addresses could be reached"
                f" ({self._held[0][0].sentence}); check the network and run again: nothing was"
                " given up",
            )
        return self._held


async def fetch_all(
    sources: Sequence[Source],
    settings: DownloadConfig,
    net: Net,
    use: Callable[[Source], Use],
    refused: Callable[[str], str],
    spool: str | None,
    only: frozenset[str] = frozenset(),
) -> AsyncGenerator[list[Outcome], None]:
    """Rows and photos in groups, as they end. Raises DataError (OFFLINE, and what `use` raises).

    only: the sites that may be asked, none: any. Who asks some of many sites cannot know whether it
    is offline, and gets failures of the network at once."""
    _allow_files(_FILES)
    turns = RateLimit(settings.connections, net.manners, net.clock, only)
    began = net.clock.now()
    held = HeldBack()
    async with Client(net.world, net.limits, settings.contact, spool) as client:
        robots = None if settings.ignore_opt_outs else Robots(client, turns)
        visitor = Visitor(client, turns, robots, refused)
        ahead = settings.connections * _AHEAD
        visits = _as_they_end(in_turns(sources), visitor, use, ahead)
        async with aclosing(visits) as groups:
            async for group in groups:
                if sure := group if only else held.sure(group):
                    yield sure
                if held.are_many and net.clock.now() - began > _PATIENCE:
                    break
    if rest := held.rest():
        yield rest


async def _as_they_end(
    sources: Sequence[Source], visitor: Visitor, use: Callable[[Source], Use], ahead: int
) -> AsyncGenerator[list[Outcome], None]:
    """At most `ahead` visits at once. Leaving early cancels them."""
    waiting = iter(sources)
    working: set[asyncio.Task[Outcome]] = set()
    try:
        while True:
            for source in islice(waiting, ahead - len(working)):
                working.add(asyncio.create_task(visitor.visit(source, use(source))))
            if not working:
                return
            done, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            if rows := [task.result() for task in done if task.exception() is None]:
                yield rows
            for task in done:
                task.result()  # raises what one raised, now that the rows beside it are kept
            await asyncio.sleep(_GROUP)
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


def _allow_files(number: int) -> None:
    """macOS allows a program 256 open files unless it asks for more; Windows counts otherwise."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def in_turns(sources: Sequence[Source]) -> list[Source]:
    """The first of every site, then the second of every site: nobody waits behind a slow one."""
    sites: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        sites[web_site(source.origin) or source.origin].append(source)
    place = {id(s): n for line in sites.values() for n, s in enumerate(line)}
    return sorted(sources, key=lambda s: place[id(s)])
