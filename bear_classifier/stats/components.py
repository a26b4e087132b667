"""Connected sets of a graph that is given as pairs of nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bear_classifier.stats.arrays import Bools


def set_names(n: int, pairs: NDArray[np.intp]) -> NDArray[np.intp]:
    """(n,) the first node of the connected set that each node is in. pairs: (m, 2)."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(np.unique(numbers, return_index=True)[1][numbers], dtype=np.intp)


def components(
    n: int, pairs: NDArray[np.intp], alive: Sequence[bool] | Bools
) -> list[NDArray[np.intp]]:
    """Indices of each connected set of living nodes, lone ones included. pairs: (m, 2)."""
    living = np.asarray(alive, dtype=bool)
    pairs = pairs[living[pairs].all(axis=1)] if len(pairs) else pairs.reshape(0, 2)
    nodes = np.flatnonzero(living)
    names = set_names(n, pairs)[nodes]
    order = np.argsort(names, kind="stable")
    cuts = np.flatnonzero(np.diff(names[order])) + 1
    return np.split(nodes[order], cuts) if len(order) else []


def adjacency(n: int, pairs: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The neighbours of each node, one node after the other, and (n + 1,) where those of each begin
    and end: (starts, neighbours). pairs: (m, 2), each once."""
    ones = np.ones(len(pairs), dtype=np.int8)
    half = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    whole = half + half.T
    whole.sort_indices()
    return whole.indptr.astype(np.intp), whole.indices.astype(np.int32)
