"""The engine of many machines: Ray Core tasks. Photos never pass its object store: a task holds
paths, its worker reads and writes the files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import ray

from bear_classifier import __version__
from bear_classifier.config.settings import EngineConfig
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.processors import OVERRIDE, processors

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_PACKAGE = Path(__file__).resolve().parents[1]
_RETRIES = 3  # of a task whose worker died
_AHEAD = 2  # tasks in flight for each worker: one that ends need not wait for the next
_OBJECT_STORE = 80 * 2**20  # bytes; Ray takes no less than 75 MiB, and results are small
_PATIENCE = 10.0  # seconds for an answer of the cluster's address
_ours: list[bool] = []  # not empty: this process started or joined the cluster


def each_on_ray(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], engine: EngineConfig
) -> Iterator[tuple[_Task, _Result]]:
    """See `choice.each`. At most two tasks for each worker are in flight. Without a task Ray is not
    started."""
    todo = iter(tasks)
    first = list(islice(todo, 1))
    if not first:
        return
    _connect(engine)
    remote: Any = ray.remote(
        max_retries=_RETRIES, num_cpus=engine.cpus, num_gpus=engine.gpus or None
    )(_work)
    todo = chain(first, todo)
    running: dict[Any, _Task] = {}
    try:
        while True:
            room = _AHEAD * _workers(engine) - len(running)
            for task in islice(todo, max(0, room)):
                words = engine.cpus, str(Path.cwd()), code_digest()
                running[remote.remote(function, task, *words)] = task
            if not running:
                return
            (done,), _ = ray.wait(list(running))
            task = running.pop(done)
            yield task, _result(done, task)
    finally:
        for reference in running:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)


def leave_ray() -> None:
    """Leave the cluster, and end it where this process started it."""
    if _ours:
        _ours.clear()
        ray.shutdown()


def _work(
    function: Callable[[_Task], _Result], task: _Task, cpus: int, folder: str, code: str
) -> _Result:
    """One task in a worker, which takes no more processors than were asked for, draws no bars, and
    works in the folder of the head, so that a relative path leads to the same file. Ray itself sets
    OMP_NUM_THREADS. Raises ConfigError (OTHER_VERSION): other code may give other results."""
    if code != code_digest():
        raise ConfigError(
            "OTHER_VERSION",
            f"the worker on {socket.gethostname()} has another bear-classifier than this command"
            f" ({__version__} in {_PACKAGE}); install the same one on every machine",
        )
    with contextlib.suppress(OSError):  # a machine that has no such folder
        os.chdir(folder)
    os.environ[OVERRIDE] = str(cpus)
    os.environ["TQDM_DISABLE"] = "1"
    return function(task)


@cache
def code_digest() -> str:
    """Hash of this package's modules."""
    sha = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        sha.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return sha.hexdigest()


def _result(done: Any, task: object) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as exc:
        if isinstance(exc.cause, ray.exceptions.RaySystemError):  # the task could not be unpickled
            first = str(exc.cause).partition("\n")[0]
            raise ConfigError(
                "OTHER_VERSION",
                f"a worker does not know what this command does ({first}); install the same"
                " bear-classifier on every machine",
            ) from exc
        raise exc.cause from None
    except ray.exceptions.RayError as exc:
        raise DataError(
            "WORKERS_DIED",
            f"{task} was begun {_RETRIES + 1} times, and each time its worker or its machine died"
            f" ({type(exc).__name__}), as where memory is short; what is finished is kept: give a"
            " task more processors (engine.cpus), so that fewer run at once, and run again",
        ) from exc


def _connect(engine: EngineConfig) -> None:
    """Join the cluster, or start one on this computer, unless this process has one already."""
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if engine.address:
            _knock(engine.address)
            ray.init(address=engine.address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=processors(),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE,
                **quiet,
            )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as exc:
        why = str(exc).strip().partition("\n")[0]
        where = f"engine.address = {engine.address!r}: no Ray cluster can be joined there ({why})"
        advice = (
            "start it with ray start --head; every machine needs the same version of Ray and the"
            " same token (RAY_AUTH_TOKEN, or the file ~/.ray/auth_token)"
        )
        if not engine.address:
            where = f"Ray cannot be started on this computer ({why})"
            advice = 'leave engine.name at "local", or name a cluster in engine.address'
        raise ConfigError("NO_CLUSTER", f"{where}; {advice}") from exc
    _ours.append(True)


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


def _workers(engine: EngineConfig) -> int:
    """Tasks that the present nodes can do at the same time. Raises ConfigError (NO_WORKERS)."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = 0
    for node in nodes:
        most = int(node.get("CPU", 0) // engine.cpus)
        total += min(most, int(node.get("GPU", 0) / engine.gpus)) if engine.gpus else most
    if not total:
        there = ", ".join(f"{n.get('CPU', 0):g} and {n.get('GPU', 0):g}" for n in nodes)
        raise ConfigError(
            "NO_WORKERS",
            f"a task needs engine.cpus = {engine.cpus} and engine.gpus = {engine.gpus:g}, and no"
            f" machine of the cluster has both; processors and GPUs of each: {there}",
        )
    return total
