"""Opt-outs of sites: robots.txt (RFC 9309) and X-Robots-Tag."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from protego import Protego

from bear_classifier.collect.http.client import REDIRECTS, Client
from bear_classifier.collect.http.rate_limit import ELSEWHERE, RateLimit
from bear_classifier.collect.http.ssrf_guard import in_time
from bear_classifier.collect.http.url import Target, follow, parse_url
from bear_classifier.errors import PhotoError

AGENT = "bear-classifier"  # the product token that rules may name
REFUSALS = {"noai", "noimageai", "noindex", "noimageindex", "none"}  # none: noindex, nofollow
MOST_BYTES = 512_000  # RFC 9309, 2.5: at least 500 KiB have to be read
HOPS = 5  # RFC 9309, 2.3.1.2
KEEP = 24 * 3600.0  # seconds; RFC 9309, 2.4
_AGENT_NAME = re.compile(r"\s*[a-z*][\w*.-]*\s*")
_AGENT_LINE = re.compile(r"(\s*user[-\s]*agent(?:\s*:\s*|\s+))(.*)", re.IGNORECASE | re.DOTALL)
_WITH_VALUE = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}


def opt_out(tags: Iterable[str]) -> str:
    """The first refusing directive among X-Robots-Tag headers, for everybody or for us; or "".

    A header is a list of directives, optionally after the name of the agent that it is for."""
    for tag in tags:
        applies = True
        for word in tag.lower().split(","):
            name, colon, rest = word.partition(":")
            if colon and _AGENT_NAME.fullmatch(name) and name.strip() not in _WITH_VALUE:
                applies, word = name.strip() in (AGENT, "*"), rest
            if applies and word.strip() in REFUSALS:
                return word.strip()
    return ""


def _renamed(line: str) -> str:
    """A line of robots.txt, all other agents under one name: the parser keeps every rule of a group
    once per name, and a hostile file has 20,000 of each.

    Agents stand with a version or without; the parser takes "bear" for us too."""
    match = _AGENT_LINE.match(line)
    if not match:
        return line
    name = match[2].partition("#")[0].strip().lower()
    token = name.partition("/")[0].replace("*", "").strip()
    ours = token if token and AGENT.startswith(token) else "somebody-else"
    return match[1] + ("*" if name == "*" else ours)


@dataclass
class _Known:
    until: float
    rules: Protego | None  # None: nothing may be fetched
    why: str = ""


@dataclass
class Robots:
    """The rules of each host, asked for once in 24 hours."""

    client: Client
    turns: RateLimit
    _known: dict[str, asyncio.Task[_Known]] = field(default_factory=dict)

    async def refusal(self, target: Target) -> str:
        """Why the host's robots.txt keeps us from this address, or "". Raises PhotoError of the
        network: a host that cannot be asked for its rules is not asked for anything else."""
        root = target.origin
        task = self._known.get(root)
        failed = task and task.done() and (task.cancelled() or task.exception())
        if not task or failed or (task.done() and task.result().until < self.turns.clock.now()):
            task = self._known[root] = asyncio.create_task(self._ask(f"{root}/robots.txt"))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        known = await asyncio.shield(task)
        if known.rules is None:
            return known.why
        allowed = known.rules.can_fetch(target.url, AGENT)
        return "" if allowed else f"{root}/robots.txt does not allow it"

    async def _ask(self, url: str) -> _Known:
        """After too many redirects as if there were no rules (RFC 9309, 2.3.1.2). Where one leads
        to a place that cannot be read, nothing may be fetched."""
        until, target, has_moved = self.turns.clock.now() + KEEP, parse_url(url), False
        for _ in range(HOPS + 1):
            try:
                async with self.turns.at(target.host):
                    answer = await in_time(self._one(target), self.client.limits.total)
                if not isinstance(answer, str):
                    break
                has_moved = True
                target = follow(target, answer)
            except PhotoError as exc:
                if not has_moved or exc.code == ELSEWHERE:
                    raise
                return _Known(until, None, f"{url} leads where we do not go: {exc.sentence}")
        status, text = (404, "") if isinstance(answer, str) else answer
        if status >= 500 or status == 429:
            why = f"{url} answers {status}, so nothing of the site may be fetched"
            return _Known(until, None, why)
        return _Known(until, Protego.parse("\n".join(map(_renamed, text.splitlines()))))

    async def _one(self, target: Target) -> str | tuple[int, str]:
        """The place that it moved to, or status and text."""
        async with self.client.open(target) as answer:
            if answer.status in REDIRECTS and "Location" in answer.headers:
                return answer.headers["Location"]
            if answer.status >= 300:
                return answer.status, ""
            with await answer.read(most=MOST_BYTES) as body:
                return answer.status, body.read().decode("utf-8-sig", errors="replace")
