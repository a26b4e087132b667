"""The engine that the settings name."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bear_classifier.config.settings import EngineConfig
from bear_classifier.errors import ConfigError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_RAY = f"{__package__}.ray"
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without GPUs sees none
}


def each(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], engine: EngineConfig
) -> Iterator[tuple[_Task, _Result]]:
    """Each task with its result, in the order in which they end.

    function: at the top level of a module; doing a task twice leaves what doing it once leaves,
    for the task of a worker that died is done again. It writes its file under a temporary name,
    renames it, and returns little. tasks: paths, strings and numbers. With Ray both are pickled,
    and paths have to lead to the same files on every node.

    Raises what `function` raises; with Ray also ConfigError (NO_RAY, NO_CLUSTER, NO_WORKERS) and
    DataError (WORKERS_DIED). What has ended stays; tasks that have begun are stopped."""
    if engine.name == "local":
        return _in_turn(function, tasks)
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "NO_RAY",
            'engine.name = "ray" needs the package ray, which is not installed; either leave it at'
            ' "local" or run: pip install "bear-classifier[ray]"',
        )
    prepare_ray()
    from bear_classifier.engine import ray

    return ray.each_on_ray(function, tasks, engine)


def in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], engine: EngineConfig
) -> Iterator[tuple[_Task, _Result]]:
    """As `each`, in the order of the tasks: the result of one that ends early is held until those
    before it have ended. tasks: hashable, and no two alike."""
    due: deque[_Task] = deque()
    ended: dict[_Task, _Result] = {}

    def begun() -> Iterator[_Task]:
        for task in tasks:
            due.append(task)
            yield task

    for task, result in each(function, begun(), engine):
        ended[task] = result
        while due and due[0] in ended:
            yield due[0], ended.pop(due.popleft())


def _in_turn(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task]
) -> Iterator[tuple[_Task, _Result]]:
    """In this process, one after another; the next one begins when it is asked for."""
    for task in tasks:
        yield task, function(task)


def prepare_ray() -> None:
    """What Ray reads from the environment when it is imported: no usage statistics, and who joins
    the cluster has to know its token."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def close_engine() -> None:
    """End what an engine started and keeps for the next stage. Does nothing otherwise."""
    if _RAY in sys.modules:
        sys.modules[_RAY].leave_ray()
