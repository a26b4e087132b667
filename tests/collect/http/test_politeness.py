"""D10 without a network: who may ask a site when, by a clock that only waiting moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

import pytest

from bear_classifier.collect.http.rate_limit import Clock, PolitenessLimits, RateLimit
from bear_classifier.dataset.sources import site_of

USUAL = PolitenessLimits()
SPINS = 40  # turns of the loop in which all that needs no time has happened


class Time:
    """A clock that goes on when nobody can do anything but wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self.clock = Clock(lambda: self.now, self.sleep, lambda: 0.0)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return await asyncio.sleep(0)
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._asleep, (self.now + seconds, next(self._order), woken))
        return await woken

    async def settle(self) -> None:
        for _ in range(SPINS):
            await asyncio.sleep(0)

    async def until(self, moment: float) -> None:
        await self.settle()
        while self._asleep and self._asleep[0][0] <= moment:
            self.now, _, woken = heapq.heappop(self._asleep)
            if not woken.done():
                woken.set_result(None)
            await self.settle()
        self.now = moment


class Visitors:
    """Each waits for its turn, stays, and leaves; starts and ends are written down."""

    def __init__(self, lines: int = 99, manners: PolitenessLimits = USUAL) -> None:
        self.time = Time()
        self.turns = RateLimit(lines, manners, self.time.clock)
        self.starts: dict[str, list[float]] = defaultdict(list)
        self.spans: list[tuple[float, float, str]] = []

    async def visit(self, host: str, stay: float = 0.0) -> None:
        async with self.turns.at(host):
            start = self.time.now
            self.starts[host].append(start)
            try:
                await self.time.sleep(stay)
            finally:
                self.spans.append((start, self.time.now, host))

    def begin(self, host: str, stay: float = 0.0) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.visit(host, stay))

    def most_at_once(self, hosts: str = "") -> int:
        spans = [(start, end) for start, end, host in self.spans if host.endswith(hosts)]
        return max(sum(a <= start < b for a, b in spans) for start, _ in spans)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def test_starts_at_one_site_are_half_a_second_apart() -> None:
    async def work() -> None:
        v = Visitors()
        tasks = [v.begin("a.example") for _ in range(5)]
        await v.time.until(100)
        assert v.starts == {"a.example": [0.0, 0.5, 1.0, 1.5, 2.0]}
        tasks += [v.begin("a.example") for _ in range(2)]
        await v.time.until(200)
        assert v.starts["a.example"][5:] == [100.0, 100.5]
        assert all(task.done() for task in tasks)

    run(work())


def test_two_at_once_and_the_third_when_one_has_left() -> None:
    async def work() -> None:
        v = Visitors()
        for stay in (10, 3, 1, 1, 1):
            v.begin("a.example", stay)
        await v.time.until(100)
        assert v.starts["a.example"] == [0.0, 0.5, 3.5, 4.5, 5.5]
        assert v.most_at_once() == 2

    run(work())


@pytest.mark.parametrize(("together", "starts"), [(1, [0, 4, 8, 12]), (3, [0, 1, 2, 4])])
def test_manners_are_a_setting(together: int, starts: list[float]) -> None:
    async def work() -> None:
        v = Visitors(manners=PolitenessLimits(together, apart=1.0))
        for _ in range(4):
            v.begin("a.example", 4)
        await v.time.until(100)
        assert v.starts["a.example"] == starts

    run(work())
    assert PolitenessLimits() == PolitenessLimits(together=2, apart=0.5)


def test_hosts_of_one_site_share_its_turns_and_other_sites_do_not() -> None:
    async def work() -> None:
        v = Visitors()
        for host in ("a.site.example", "b.site.example", "site.example", "a.other.example"):
            v.begin(host, 10)
            v.begin("me.github.io", 10)
            v.begin("you.github.io", 10)
        await v.time.until(9)
        assert v.starts == {
            "a.site.example": [0.0],
            "b.site.example": [0.5],
            "a.other.example": [0.0],
            "me.github.io": [0.0, 0.5],
            "you.github.io": [0.0, 0.5],
        }
        await v.time.until(100)
        assert v.starts["site.example"] == [10.0]
        assert v.most_at_once("site.example") == 2

    run(work())


def test_lines_are_for_all_sites_together() -> None:
    async def work() -> None:
        v = Visitors(lines=3)
        for n in range(8):
            v.begin(f"{n}.example", 1)
        await v.time.until(100)
        assert sorted(itertools.chain(*v.starts.values())) == [0, 0, 0, 1, 1, 1, 2, 2]
        assert v.most_at_once() == 3

    run(work())


def test_who_waits_for_a_site_occupies_no_line() -> None:
    """One line: while the second of a waits for half a second to pass, others are served."""

    async def work() -> None:
        v = Visitors(lines=1)
        v.begin("a.example", 0.125)
        v.begin("a.example", 0.125)
        await v.time.until(0.25)
        v.begin("b.example", 0.125)
        await v.time.until(0.375)
        v.begin("c.example", 0.25)  # until 0.625, when the second of a is late
        await v.time.until(100)
        assert v.starts == {"a.example": [0, 0.625], "b.example": [0.25], "c.example": [0.375]}
        assert v.most_at_once() == 1

    run(work())


def test_a_site_stays_apart_also_when_the_line_came_late() -> None:
    """Spacing counts from when the request could really start."""

    async def work() -> None:
        v = Visitors(lines=2)
        v.begin("a.example", 3)
        v.begin("b.example", 3)
        v.begin("c.example", 0)
        v.begin("c.example", 0)
        await v.time.until(100)
        assert v.starts["c.example"] == [3.0, 3.5]

    run(work())


def test_hold_delays_who_comes_and_who_waits_already() -> None:
    async def work() -> None:
        v = Visitors()
        v.turns.hold("www.a.example", 30)
        v.begin("a.example")
        v.begin("b.example")
        await v.time.until(20)
        assert v.starts == {"b.example": [0.0]}
        v.turns.hold("a.example", 20)  # until 40, while somebody sleeps until 30
        await v.time.until(39.9)
        assert "a.example" not in v.starts
        await v.time.until(100)
        assert v.starts["a.example"] == [40.0]

    run(work())


def test_hold_never_shortens() -> None:
    async def work() -> None:
        v = Visitors()
        v.turns.hold("a.example", 30)
        v.turns.hold("a.example", 1)
        v.begin("a.example")
        await v.time.until(100)
        assert v.starts["a.example"] == [30.0]
        v.begin("a.example")
        await v.time.until(100)
        v.turns.hold("a.example", 0.1)
        v.begin("a.example")
        await v.time.until(200)
        assert v.starts["a.example"] == [30.0, 100.0, 100.5]

    run(work())


def test_no_site_waits_behind_another() -> None:
    """20 sites with 5 addresses each, the busiest first, on 4 lines: everybody's first turn comes
    before anybody's third."""

    async def work() -> None:
        v = Visitors(lines=4)
        for n in range(20):
            for _ in range(5):
                v.begin(f"{n}.example", 0.1)
        await v.time.until(100)
        firsts = sorted(starts[0] for starts in v.starts.values())
        assert firsts == pytest.approx([n // 4 / 10 for n in range(20)])
        assert max(firsts) < min(starts[2] for starts in v.starts.values())
        assert [len(starts) for starts in v.starts.values()] == [5] * 20
        assert v.most_at_once() == 4
        # 4 lines of 0.1 s carry 100 visits in 2.5 s, which spacing stretches a little
        assert max(starts[-1] for starts in v.starts.values()) < 3

    run(work())


def test_a_slow_site_keeps_nobody_waiting() -> None:
    async def work() -> None:
        v = Visitors(lines=4)
        for _ in range(50):
            v.begin("slow.example", 20)
        for n in range(10):
            v.begin(f"{n}.example", 0.1)
        await v.time.until(10)
        assert len(v.starts) == 11
        assert max(starts[-1] for starts in v.starts.values()) < 1

    run(work())


def test_who_is_cancelled_frees_what_it_held() -> None:
    """Staying, waiting for the site to be due, for one of its two places, for a line."""

    async def work() -> None:
        v = Visitors(lines=3)
        tasks = [v.begin("a.example", 1000) for _ in range(4)]
        tasks += [v.begin(f"{n}.example", 1000) for n in range(3)]
        await v.time.until(0.1)  # one of a stays, one waits for 0.5, two for places
        assert v.starts == {"a.example": [0.0], "0.example": [0.0], "1.example": [0.0]}
        assert (v.turns.others("a.example"), v.turns.others("0.example")) == (True, False)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not v.turns.others("a.example")
        v.starts.clear()
        for _ in range(3):
            v.begin("a.example", 10)
        v.begin("b.example", 10)
        v.begin("c.example", 10)
        await v.time.until(9)
        assert v.starts == {"a.example": [0.5], "b.example": [0.1], "c.example": [0.1]}
        await v.time.until(11)
        assert v.starts["a.example"] == pytest.approx([0.5, 10.1, 10.6])

    run(work())


def test_a_failure_frees_what_it_held() -> None:
    async def work() -> None:
        v = Visitors(lines=1)
        for _ in range(5):
            with pytest.raises(OSError):
                async with v.turns.at("a.example"):
                    raise OSError
            await v.time.until(v.time.now + 1)
        v.begin("a.example")
        await v.time.until(100)
        assert v.starts == {"a.example": [5.0]}

    run(work())


def test_whether_others_are_there() -> None:
    async def work() -> None:
        v = Visitors()
        seen = []

        async def visit() -> None:
            async with v.turns.at("a.site.example"):
                seen.append(v.turns.others("b.site.example"))
                await v.time.sleep(0.1)

        assert not v.turns.others("site.example")
        for _ in range(3):
            asyncio.ensure_future(visit())
        await v.time.until(100)
        assert seen == [True, True, False]
        assert not v.turns.others("site.example")

    run(work())


def test_many_random_visits_keep_every_rule() -> None:
    async def work() -> None:
        dice = random.Random(4)
        v = Visitors(lines=5)
        tasks = []
        for _ in range(300):
            tasks.append(
                v.begin(f"{dice.randrange(3)}.{dice.randrange(12)}.example", dice.random())
            )
            if dice.random() < 0.2:
                await v.time.until(v.time.now + dice.random())
            if dice.random() < 0.1:
                dice.choice(tasks).cancel()
            if dice.random() < 0.1:
                v.turns.hold(f"{dice.randrange(12)}.example", dice.random())
        await v.time.until(1000)
        assert all(task.done() for task in tasks)
        assert sum(not task.cancelled() for task in tasks) > 200
        assert v.most_at_once() == 5
        for n in range(12):
            site = f".{n}.example"
            assert v.most_at_once(site) <= 2
            starts = sorted(start for start, _, host in v.spans if host.endswith(site))
            gaps = [b - a for a, b in itertools.pairwise(starts)]
            assert min(gaps) >= 0.5 - 1e-9

    run(work())


SITES = [
    ("example.com", "example.com"),
    ("upload.wikimedia.org", "wikimedia.org"),
    ("a.b.c.example.com", "example.com"),
    ("bbc.co.uk", "bbc.co.uk"),
    ("news.bbc.co.uk", "bbc.co.uk"),
    ("co.uk", "co.uk"),
    ("www.city.kawasaki.jp", "city.kawasaki.jp"),  # an exception of the list
    ("a.b.x.kawasaki.jp", "b.x.kawasaki.jp"),  # a wildcard of the list
    ("me.github.io", "me.github.io"),
    ("photos.me.github.io", "me.github.io"),
    ("github.io", "github.io"),
    ("bucket.s3.amazonaws.com", "bucket.s3.amazonaws.com"),
    ("a.site.example", "site.example"),  # no suffix in the list: the last word is one
    ("localhost", "localhost"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
    ("93.184.215.14", "93.184.215.14"),
    ("94.184.215.14", "94.184.215.14"),
    ("2606:4700::1111", "2606:4700::1111"),
    ("2606:4700::abcd", "2606:4700::abcd"),
    ("", ""),
    ("a..b", "a..b"),
]


@pytest.mark.parametrize(("host", "site"), SITES)
def test_site_of(host: str, site: str) -> None:
    assert site_of(host) == site
