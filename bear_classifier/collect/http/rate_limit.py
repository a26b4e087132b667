"""Per-domain rate limit: two requests at once, 0.5 s apart."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import InitVar, dataclass, field

from bear_classifier.dataset.sources import site_of
from bear_classifier.errors import PhotoError

ELSEWHERE = "ELSEWHERE"  # an address leads to a site that is not to be asked here


@dataclass(frozen=True)
class Clock:
    """Seconds, waiting, and a number between 0 and 1; tests pass their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True)
class PolitenessLimits:
    """together: requests at once to one site; apart: seconds between two starts there."""

    together: int = 2
    apart: float = 0.5


@dataclass
class _Site:
    slots: asyncio.Semaphore
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    due: float = 0.0  # the next request may start then
    here: int = 0  # who waits for a turn or has one


@dataclass
class RateLimit:
    """One site is one registrable domain: a.example.com and b.example.com take turns.

    only: the sites that may be asked, as others are asked by other machines; none: any."""

    connections: InitVar[int]  # at once, to all sites
    manners: PolitenessLimits = PolitenessLimits()
    clock: Clock = Clock()
    only: frozenset[str] = frozenset()
    _sites: dict[str, _Site] = field(default_factory=dict)

    def __post_init__(self, connections: int) -> None:
        self._free = asyncio.Semaphore(connections)

    @asynccontextmanager
    async def at(self, host: str) -> AsyncIterator[None]:
        """Wait for a turn at the host's site, and hold it. Raises PhotoError (ELSEWHERE)."""
        if self.only and site_of(host) not in self.only:
            raise PhotoError(ELSEWHERE, f"{host} is of another site")
        site = self._site(host)
        site.here += 1
        try:
            async with site.slots:
                async with site.gate:
                    await self._wait(site)
                try:
                    yield
                finally:
                    self._free.release()
        finally:
            site.here -= 1

    def others(self, host: str) -> bool:
        """Whether somebody else is waiting for the host's site, or there."""
        return self._site(host).here > 1

    async def _wait(self, site: _Site) -> None:
        """Until the site is due and a connection is free, both at once."""
        while True:
            # Without a wait, too: whoever comes at the same time is then seen by `others`.
            await self.clock.sleep(max(0.0, site.due - self.clock.now()))
            await self._free.acquire()
            if self.clock.now() >= site.due:
                break
            self._free.release()
        site.due = self.clock.now() + self.manners.apart

    def hold(self, host: str, seconds: float) -> None:
        """Leave the host's site alone for so long."""
        site = self._site(host)
        site.due = max(site.due, self.clock.now() + seconds)

    def _site(self, host: str) -> _Site:
        site = _Site(asyncio.Semaphore(self.manners.together))
        return self._sites.setdefault(site_of(host), site)
