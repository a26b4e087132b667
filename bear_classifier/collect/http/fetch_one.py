"""Fetch one URL: redirects, opt-outs, limits, retries; a picture or an error code.

An address is asked for at most three times, and again only after what may pass: no connection,
408, 429 and 5xx. Retry-After is kept up to a minute; a site that wants more is left alone for the
rest of the run, and so is a host that three times in a row did not answer.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO

from bear_classifier.collect.http.client import REDIRECTS, Client, HttpResponse, retry_after
from bear_classifier.collect.http.rate_limit import ELSEWHERE, RateLimit
from bear_classifier.collect.http.robots import Robots, opt_out
from bear_classifier.collect.http.ssrf_guard import in_time
from bear_classifier.collect.http.url import Target, follow, parse_url
from bear_classifier.dataset.catalog import now
from bear_classifier.dataset.schema import OK, TAKEN_DOWN, Photo, Source
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime import git_lfs

Use = Callable[[IO[bytes]], Awaitable[Photo]]
ATTEMPTS = 3
MOST_REDIRECTS = 5
MAX_RETRY_AFTER = 60.0  # seconds that a Retry-After is kept
SILENT = {"CONNECT_ERROR", "TIMEOUT_CONNECT", "TIMEOUT_READ", "TIMEOUT_TOTAL"}
AGAIN = re.compile(r"CONNECT_ERROR|TIMEOUT_CONNECT|HTTP_(408|429|5\d\d)")
# What may have gone from the site while the search service still shows its thumbnail; never what
# the site or a take-down refuses.
MISSING = re.compile(
    r"HTTP_[45]\d\d|NAME_ERROR|CONNECT_ERROR|TLS_ERROR|TIMEOUT_\w+|TOO_MANY_REDIRECTS|BAD_ANSWER"
    r"|BAD_ENCODING|TRUNCATED|EMPTY_FILE|NOT_AN_IMAGE|UNSUPPORTED_FORMAT|TOO_LARGE|DAMAGED"
)


class _Later(PhotoError):
    """The server asks to come back. wait: seconds, None where it does not say."""

    def __init__(self, code: str, sentence: str, wait: float | None) -> None:
        super().__init__(code, sentence)
        self.wait = wait


class _Closed(PhotoError):
    """Not even asked: the host had its chances."""


@dataclass
class _Trail:
    """What a source row will say of the way; overwritten by each answer."""

    final_url: str = ""
    address: str = ""
    at: str = ""
    http: int = 0
    type: str = ""
    bytes: int = 0
    opt_out: str = ""

    def follow(self, answer: HttpResponse) -> None:
        self.final_url, self.http = answer.target.url, answer.status
        self.address, self.type, self.at = answer.peer, answer.type, now()

    def end(self, source: Source, code: str, sentence: str, sha256: str | None = None) -> Source:
        row = dataclasses.replace(source, code=code, sentence=sentence, sha256=sha256)
        return dataclasses.replace(row, **vars(self))


@dataclass
class Visitor:
    """refused: address -> why a take-down keeps us from it, or ""."""

    client: Client
    turns: RateLimit
    robots: Robots | None  # None: opt-outs are ignored, on sites of one's own
    refused: Callable[[str], str] = lambda url: ""
    _closed: dict[str, tuple[str, str]] = field(default_factory=dict)
    _silent: Counter[str] = field(default_factory=Counter)
    _robots_errors: dict[str, PhotoError] = field(default_factory=dict)  # the last of each host

    async def visit(self, source: Source, use: Use) -> tuple[Source, Photo | None]:
        """The row as it ends, and what `use` made of the picture, None where there is none.

        use: makes a photo of the bytes, or raises PhotoError."""
        row, photo = await self._ask(source, source.origin, use)
        if photo or not source.thumbnail or not MISSING.fullmatch(row.code):
            return row, photo
        small, photo = await self._ask(source, source.thumbnail, use)
        if small.code == ELSEWHERE:
            return small, None
        if photo is None:
            both = f"{row.sentence}; its thumbnail: {small.code}"
            return dataclasses.replace(row, sentence=both), None
        words = f"the picture itself is gone ({row.code}: {row.sentence})"
        return dataclasses.replace(small, sentence=words, via="thumbnail"), photo

    async def _ask(self, source: Source, url: str, use: Use) -> tuple[Source, Photo | None]:
        trail = _Trail()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                photo = await self._attempt(parse_url(url), trail, use, attempt)
                return trail.end(source, OK, "", photo.sha256), photo
            except PhotoError as exc:
                error = exc
                if isinstance(exc, _Closed) or not AGAIN.fullmatch(exc.code):
                    break
        words = error.sentence
        if error.code == "NOT_AN_IMAGE" and trail.type:
            words = f"the server sent {trail.type}"
            if trail.type.startswith("image/") or git_lfs.ADVICE in error.sentence:
                words = f"the server says {trail.type}, but {error.sentence}"
        return trail.end(source, error.code, words), None

    async def _attempt(self, target: Target, trail: _Trail, use: Use, attempt: int) -> Photo:
        """Through the redirects; the time of all answers together is limited."""
        left = total = self.client.limits.total
        for _ in range(MOST_REDIRECTS + 1):
            await self._permit(target, trail)
            async with self.turns.at(target.host):
                self._refuse_closed(target)  # while it waited
                began = self.turns.clock.now()
                try:
                    answer = await in_time(self._one(target, trail), total, left)
                except PhotoError as exc:
                    self._remember(target, exc, attempt)
                    raise
                self._silent.pop(target.origin, None)
                left -= self.turns.clock.now() - began
                if not isinstance(answer, Target):
                    with answer:
                        return await use(answer)
            target = answer
        raise PhotoError(
            "TOO_MANY_REDIRECTS", f"more than {MOST_REDIRECTS}, the last to {target.host}"
        )

    async def _permit(self, target: Target, trail: _Trail) -> None:
        if why := self.refused(target.url):
            raise PhotoError(TAKEN_DOWN, why)
        self._refuse_closed(target)
        if self.robots is None:
            return
        try:
            why = await self.robots.refusal(target)
        except PhotoError as exc:
            if self._robots_errors.get(target.origin) is not exc:  # once, however many waited
                self._robots_errors[target.origin] = exc
                self._remember(target, exc, 1)
            raise
        if why:
            trail.opt_out = "robots.txt"
            raise PhotoError("OPTED_OUT", f"the site asks not to be fetched ({why})")

    def _refuse_closed(self, target: Target) -> None:
        if target.origin in self._closed:
            raise _Closed(*self._closed[target.origin])

    def _remember(self, target: Target, exc: PhotoError, attempt: int) -> None:
        """How long to leave the site alone after this, and whether to come back at all."""
        self._silent[target.origin] += 1 if exc.code in SILENT else -self._silent[target.origin]
        if self._silent[target.origin] >= ATTEMPTS:
            words = f"{target.host} did not answer {ATTEMPTS} times in a row and is left alone"
            self._closed.setdefault(target.origin, (exc.code, words))
        if not AGAIN.fullmatch(exc.code):
            return
        wait = getattr(exc, "wait", None)
        if wait is None:  # full jitter: an AWS Architecture Blog post of 2015 compares it
            wait = self.turns.clock.chance() * 2.0**attempt
        if wait > MAX_RETRY_AFTER:
            words = f"asked to wait {wait:.0f} s, skipped"
            self._closed[target.origin] = exc.code, words
            raise _Closed(exc.code, words)
        self.turns.hold(target.host, wait)

    async def _one(self, target: Target, trail: _Trail) -> Target | IO[bytes]:
        """One answer: the place that it moved to, or the whole body."""
        async with self.client.open(target, keep=self.turns.others(target.host)) as answer:
            trail.follow(answer)
            if moved := moved_to(target, answer):
                return moved
            if self.robots and (directive := opt_out(answer.headers.getall("X-Robots-Tag", ()))):
                trail.opt_out = directive
                words = f"the site asks not to be used for AI (X-Robots-Tag: {directive})"
                raise PhotoError("OPTED_OUT", words)
            try:
                return await answer.read(judge=decoder.format_of_stranger)
            finally:
                trail.bytes = answer.received


def moved_to(target: Target, answer: HttpResponse) -> Target | None:
    """Where an answer sends on to; None: it has the body. Raises PhotoError at other answers."""
    if answer.status in REDIRECTS and "Location" in answer.headers:
        return follow(target, answer.headers["Location"])
    if answer.status != 200:
        raise _refusal(answer)
    return None


def _refusal(answer: HttpResponse) -> PhotoError:
    code, words = f"HTTP_{answer.status}", f"the server answers {answer.status}"
    with suppress(ValueError):
        words += f" {HTTPStatus(answer.status).phrase}"
    if AGAIN.fullmatch(code):
        return _Later(code, words, retry_after(answer.headers.get("Retry-After", "")))
    return PhotoError(code, words)
