"""The request queue: models, worker processes, admission.

A photo is admitted or refused at once; what was admitted is answered, also while the service stops.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bear_classifier.errors import ModelError
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.process_worker import WORKER_MEMORY
from bear_classifier.runtime.processors import processors
from bear_classifier.serve import capacity, messages
from bear_classifier.ship.bundle import load, pictures_to_try, standing
from bear_classifier.ship.manifest import optional_field
from bear_classifier.ship.sandbox import trust
from bear_classifier.web.guard import Refused

_MODULE = "bear_classifier.serve.inference_worker"
Do = Literal["answer", "explain", "copy"]
_MOST_RETRY = 60  # seconds
_LOG = logging.getLogger("bears")


@dataclass(frozen=True)
class ServedModel:
    """A verified bundle, without its weights. card: Markdown; examples: class and JPEG of pictures
    to try."""

    name: str
    path: Path
    about: dict[str, Any]
    card: str
    examples: Sequence[tuple[str, bytes]] = ()

    def description(self) -> dict[str, Any]:
        """What a page says about it."""
        labels = list(self.about["labels"])
        test = optional_field(self.about, "metrics.test", dict) or {}
        return {
            "name": self.name,
            "title": messages.page_title(labels),
            "labels": labels,
            "version": optional_field(self.about, "version", (int, str)),
            "figures": messages.test_figures(test),
            "refuses": self.about["rejection"]["least"] is not None,
            "limits": messages.limits(self.about["rejection"]),
        }

    def to_try(self, folder: str) -> list[dict[str, str]]:
        """Pictures to try, for a page. folder: the address that theirs begin with."""
        return [
            {"label": label, "image": f"{folder}{number}.jpeg"}
            for number, (label, _) in enumerate(self.examples)
        ]


def served_models(place: Path) -> list[ServedModel]:
    """The bundle at this place, or all that lie in it, each of which has to pass its self-test.

    Raises ModelError and SelfTestError."""
    if (standing(place) / "bundle.json").is_file() or not place.is_dir():
        paths = [place]
    else:
        paths = sorted(p.parent for p in place.glob("*/bundle.json") if p.parent.name[0] != ".")
    if not paths:
        words = f"there is no model in {place}; name another folder, or make one; run: bears run"
        raise ModelError("NO_MODEL", words)
    return [_served(name, path) for name, path in named(paths)]


def named(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Bundles by the names of their folders. Where links lead to different folders of one name, as
    dated releases have, by the names of the links; what two links lead to is named once."""
    places = {path.resolve(): path for path in reversed(paths)}  # of two links the first
    bundles = [(place.name, path) for place, path in reversed(places.items())]
    many = Counter(name for name, _ in bundles)
    apart = [(path.name if many[name] > 1 else name, path) for name, path in bundles]
    if len({name for name, _ in apart}) < len(apart):  # a link is called as another's folder is
        return [(path.name, path) for _, path in bundles]
    return apart


def _served(name: str, path: Path) -> ServedModel:
    trust(bundle := load(path))
    return ServedModel(name, path, dict(bundle.about), bundle.card(), pictures_to_try(bundle))


class Service:
    """most_waiting: photos admitted beyond those that are worked on; processes: one for each
    processor, as far as there is memory for them. memory: MB for all of these; 0: half of what may
    be used. Usage: `async with Service(...) as service: await service.check()`."""

    def __init__(self, models: Sequence[ServedModel], most_waiting: int, memory: int = 0) -> None:
        self.models = {model.name: model for model in models}
        self.default = models[0].name
        self.at_once = processors()
        self.most_waiting = most_waiting
        self.memory = memory
        self._listed = json.dumps({m.name: (str(m.path), m.about["checksum"]) for m in models})
        self._workers = Workers(
            _MODULE, self.at_once, capacity.CPU_SECONDS, [self._listed, str(WORKER_MEMORY)]
        )
        self._turns = asyncio.Semaphore(self.at_once)
        self._took = 0.1  # seconds for a photo, a running mean
        self.admitted = 0
        self.checked = False
        self.slowest = 0.0  # seconds of a processor for an answer, as measured at the start
        self.stopping_since: float | None = None

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._workers.__aexit__(*error)

    async def check(self) -> None:
        """Let each model pass its self-test, measure what it needs, and start all processes.

        Raises ModelError, SelfTestError and DataError (NO_WORKER)."""
        memory = capacity.allowed_memory(self.memory)
        need = await capacity.measure_models(_MODULE, self._listed, self.models, memory)
        share = capacity.shared(need, memory, self.at_once)
        self.slowest = need.answer
        self.at_once, self._turns = share.processes, asyncio.Semaphore(share.processes)
        words = [self._listed, str(share.addresses)]
        self._workers = Workers(_MODULE, share.processes, share.seconds, words)
        header = {"model": self.default, "do": "load"}
        await asyncio.gather(*(self._workers.ask(header, b"") for _ in range(self.at_once)))
        self.checked = True

    def not_ready(self) -> str:
        """Why no new photo is taken; empty if one is."""
        if self.stopping_since is not None:
            return "stopping"
        return "" if self.checked else "starting"

    def stop(self) -> None:
        """Admit nobody any more."""
        self.stopping_since = self.stopping_since or time.monotonic()

    def admit(self) -> None:
        """Raises Refused where there is no room for one more photo now."""
        if self.not_ready() == "stopping":
            raise Refused(503, "STOPPING", "The service is stopping. Try again in 10 seconds", 10)
        if self.not_ready():
            raise Refused(503, "STARTING", "The service is starting. Try again in 10 seconds", 10)
        waiting = max(0, self.admitted - self.at_once)
        if waiting >= self.most_waiting:
            soon = math.ceil((self.admitted + 1) * self._took / self.at_once)
            after = min(max(soon, 1), _MOST_RETRY)  # seconds, until those that wait are answered
            words = f"The service is busy ({waiting} waiting). Try again in {after} seconds"
            raise Refused(503, "BUSY", words, after)

    def model(self, name: str) -> ServedModel:
        """The model of this name, or the first. Raises Refused."""
        if (name or self.default) not in self.models:
            known = list(self.models)
            raise Refused(404, "NO_MODEL", f"There is no model {name[:50]!r}; there are {known}")
        return self.models[name or self.default]

    async def answer(
        self,
        name: str,
        photo: bytes,
        do: Do = "answer",
        gone: Callable[[], Awaitable[bool]] | None = None,
        admitted: bool = False,
    ) -> dict[str, Any]:
        """The answer of a model to the bytes of a photo: the fields of Prediction and a sentence.

        do: "explain" adds `photo` and `maps`, "copy" adds `copy`, a new JPEG in base64; gone:
        whether nobody waits any more, which is asked before work begins; admitted: it is one of a
        batch that was. Raises Refused, PhotoError, and what keeps a model from answering."""
        header = {"model": self.model(name).name, "do": do}
        if not admitted:
            self.admit()
        self.admitted += 1
        try:
            async with self._turns:
                if gone and await gone():
                    raise Refused(499, "GONE", "The connection was closed before the answer")
                began = time.monotonic()
                answer = await self._ask(header, photo)
                took = time.monotonic() - began
        finally:
            self.admitted -= 1
        self._took += 0.1 * (took - self._took)
        return {**answer, "model": header["model"], "milliseconds": round(1000 * took, 1)}

    async def _ask(self, header: dict[str, str], photo: bytes) -> dict[str, Any]:
        try:
            return await self._workers.ask(header, photo)
        except RuntimeError as exc:  # a mistake of ours in the other process
            _LOG.error("a model could not answer", extra={"trace": str(exc)})
            words = "Something went wrong with this picture; another may be fine"
            raise Refused(503, "INTERNAL", words, 1) from exc
