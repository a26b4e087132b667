"""Two machines of one processor each, as Ray plays them on this one, and what workers need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corpus import ROOT

from bear_classifier.engine import choice

SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@contextmanager
def two_machines() -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster`."""
    choice.prepare_ray()
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **SMALL})
    try:
        made.add_node(num_cpus=1, **SMALL)
        yield made
    finally:
        choice.close_engine()
        made.shutdown()


def environment() -> dict[str, str]:
    """In which workers find the package and the tasks of the tests."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def remove_machine(cluster: Any) -> None:
    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
