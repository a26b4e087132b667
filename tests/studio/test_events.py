"""What open pages hear of a project: states, faults that pass, and that the studio is there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from waiting import STUCK

from bear_classifier.errors import DataError
from bear_classifier.studio import events
from bear_classifier.studio.events import Channel, PageChannels
from bear_classifier.studio.projects import make_project
from bear_classifier.studio.workspace import Workspace

LOOKS: Counter[Channel] = Counter()
_MANY = 20  # looks, of which the first one that is begun after a change shows it


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    make_project(tmp_path, "mine", {"a": ["a"], "b": ["b"]})
    monkeypatch.setattr(events, "PAUSE", 0.01)
    look = Channel._next

    def counted(channel: Channel) -> str:
        LOOKS[channel] += 1
        return look(channel)

    monkeypatch.setattr(Channel, "_next", counted)
    return Workspace(tmp_path)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, STUCK))


def read(text: str) -> tuple[str, Any]:
    """Name and data of an event."""
    lines = dict(line.split(": ", 1) for line in text.split("\n") if line)
    return lines["event"], json.loads(lines["data"])


async def heard(channel: Channel, number: int) -> tuple[int, str, Any]:
    """The next event that is no ping. AssertionError if it never comes."""
    before = LOOKS[channel]
    while channel.number == number:
        assert watchers(), "nobody watches any more"
        assert LOOKS[channel] - before < _MANY, "many looks saw nothing new"
        await asyncio.sleep(0.001)
    told, text = await channel.after(number)
    return (told, *read(text))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (DataError("CATALOG_BUSY", "somebody writes"), "CATALOG_BUSY"),
        (PermissionError(13, "Permission denied", "x"), "SYSTEM"),
        (KeyError("of our own"), "INTERNAL"),
    ],
    ids=["ours", "of the system", "unforeseen"],
)
def test_a_fault_is_said_and_goes_when_it_is_over(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, fault: Exception, code: str
) -> None:
    def failing(_: object) -> tuple[Any, ...]:
        raise fault

    async def listen() -> None:
        with PageChannels(space).joined("mine") as channel:
            number, name, first = await heard(channel, 0)
            assert name == "state"
            with monkeypatch.context() as patched:
                patched.setattr(space, "token", failing)
                number, name, said = await heard(channel, number)
            assert (name, said["error"]["code"]) == ("fault", code)
            number, name, again = await heard(channel, number)
            assert (name, again) == ("state", first)

    run(listen())


def watchers() -> int:
    """Tasks that watch a project."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return names.count("Channel.watch")


async def settled() -> None:
    """Whatever was cancelled has ended."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_task_watches_however_often_pages_come_and_go(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAUSE", 60.0)

    async def listen() -> None:
        channels = PageChannels(space)
        for _ in range(5):
            with channels.joined("mine") as channel:
                await heard(channel, 0)
        with channels.joined("mine") as first, channels.joined("mine") as second:
            await settled()
            assert first is second
            assert watchers() == 1
        await settled()
        assert watchers() == 0

    run(listen())


def test_a_page_that_comes_back_hears_nothing_old(space: Workspace) -> None:
    async def listen() -> None:
        channels = PageChannels(space)
        with channels.joined("mine") as channel:
            await heard(channel, 0)
        job = await asyncio.to_thread(space.jobs.submit, space.place("mine"), "report", {})
        with channels.joined("mine") as channel:
            _, _, state = await heard(channel, 0)
        assert [row["id"] for row in state["jobs"]] == [job.id]

    run(listen())


def test_a_page_hears_that_the_studio_is_there(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An EventSource passes on no comments, and no event without a line of data."""
    assert events.PING <= 10.0

    async def listen() -> None:
        with PageChannels(space).joined("mine") as channel:
            number, *_ = await heard(channel, 0)
            monkeypatch.setattr(events, "PING", 0.0)
            assert await channel.after(number) == (number, "event: ping\ndata: \n\n")

    run(listen())
