"""Bounded groups: chains of near-copies are cut, so that no group holds half of the photos.

A near B near C, and so on, ties photos together that have nothing in common: frames of a long pan
or, among a million photos, pictures that are near by chance. A set of more than one photo in 20
is cut by growing balls of near-copies around the photo that has most of them, until the next layer
is thin (region growing: Leighton and Rao, J. ACM 46, 1999). That layer is set aside, so that no
near-copies stand in two groups. Where layers are not thin, fewer bits may differ instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bear_classifier.collect.pair_rows import behind, pair_row, spanning_pairs
from bear_classifier.stats.arrays import Bools, Ints
from bear_classifier.stats.components import adjacency, components, set_names
from bear_classifier.stats.hamming import distances_of

_SHARE = 20  # one usable photo in so many may be in a group, before it is looked at
_LEAST = 100  # photos; smaller groups are never cut
_STEPS = 2  # of near-copies from the first photo of a group: never cut
_THIN = 0.05  # of the ball: a layer that is set aside at once
_LOST = 0.1  # of a set: if more were to be set aside, fewer bits may differ
_BITS_FEWER = 5  # at each step
_MOST = 200  # near-copies of a photo, beyond which some of them are looked at
NO_OWNER = -1  # owner of a photo that has no split


class BoundedGroups(NamedTuple):
    """rows: near-copies as those of `neighbours`, without those that are too far apart in sets
    that were cut; between: (n,) near-copy of a photo that is set aside between two groups, -1: is
    not; cut: (n,) of sets that were cut; limits: (n,) bits that may differ between near-copies."""

    rows: list[NDArray[Any]]
    between: NDArray[np.intp]
    cut: Bools
    limits: Ints


@dataclass(frozen=True)
class _Graph:
    """Near-copies of nodes, in both directions. starts: (n + 1,); ends: (m,); owners: (n,)."""

    starts: NDArray[np.intp]
    ends: NDArray[np.int32]
    owners: Ints

    def edges(self, nodes: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """(m,) the nodes, each as often as it has near-copies, and (m,) these."""
        counts = self.starts[nodes + 1] - self.starts[nodes]
        firsts = np.repeat(self.starts[nodes] - np.cumsum(counts) + counts, counts)
        return np.repeat(nodes, counts), self.ends[firsts + np.arange(len(firsts))]


def bounded_groups(
    rows: Sequence[NDArray[Any]],
    hashes: NDArray[np.uint8],
    owners: Ints,
    alive: Bools,
    near: int,
    same: int,
) -> BoundedGroups:
    """Cut sets of near-copies that hold more than one living photo in 20, and more than 100.

    A group that results has no more photos, unless all are within two steps of near-copies of one
    of them, or were in one group and in a split before. Photos with a split stay as they are.
    owners: (n,) number of the group that a photo with a split is in, `NO_OWNER` without one."""
    n = len(rows)
    found = BoundedGroups(list(rows), np.full(n, -1), np.zeros(n, bool), np.full(n, near))
    bound = max(_LEAST, int(alive.sum()) // _SHARE)
    for ids in components(n, spanning_pairs(rows, alive), alive):
        if len(ids) > bound and not _within_steps(ids, rows, alive):
            _cut(ids, found, hashes, owners, alive, bound, same)
    return found


def _within_steps(ids: NDArray[np.intp], rows: Sequence[NDArray[Any]], alive: Bools) -> bool:
    """Whether two steps lead from the photo of the longest row to all of a set."""
    reached = np.zeros(len(rows), bool)
    reached[max(ids.tolist(), key=lambda i: len(behind(rows[i])))] = True
    for _ in range(_STEPS):
        before = reached.copy()
        for i in ids.tolist():
            others = behind(rows[i])
            others = others[alive[others]]
            if before[i]:
                reached[others] = True
            elif before[others].any():
                reached[i] = True
    return bool(reached[ids].all())


def _cut(
    ids: NDArray[np.intp],
    found: BoundedGroups,
    hashes: NDArray[np.uint8],
    owners: Ints,
    alive: Bools,
    bound: int,
    same: int,
) -> None:
    """Cut one set. ids: (k,) its living photos, in their order; the rest as in `bounded_groups`."""
    k, near = len(ids), int(found.limits[ids[0]])
    pairs, distances = _pairs(ids, found.rows, hashes, alive)
    limits = np.full(k, near)
    pieces = np.zeros(k, np.intp)  # sets that fewer differing bits leave
    balls, between = np.arange(k), np.full(k, -1)
    todo = [np.arange(k)]
    while todo:
        nodes = todo.pop()
        limit = int(limits[nodes[0]])
        place = np.full(k, -1)
        place[nodes] = np.arange(len(nodes))
        inside = (place[pairs] >= 0).all(axis=1) & (distances <= limit)
        local, apart = place[pairs[inside]], distances[inside]
        fewer = limit - _BITS_FEWER
        most = int(_LOST * len(nodes)) if fewer > same else len(nodes)
        cut = _balls(_Graph(*adjacency(len(nodes), local), owners[ids[nodes]]), bound, most)
        if cut:
            balls[nodes] = nodes[cut[0]]
            aside = cut[1] >= 0
            between[nodes[aside]] = nodes[cut[1][aside]]
            continue
        names = set_names(len(nodes), local[apart <= fewer])
        limits[nodes], pieces[nodes], balls[nodes] = fewer, nodes[names], nodes[names]
        sizes = np.bincount(names)
        todo += [nodes[names == name] for name in np.flatnonzero(sizes > bound)]
    if (balls == balls[0]).all():
        return
    found.cut[ids], found.limits[ids] = True, limits
    _separate(ids, found, hashes, owners, alive, pieces, balls, between)
    found.between[ids] = np.where(between >= 0, ids[between], -1)


def _pairs(
    ids: NDArray[np.intp], rows: Sequence[NDArray[Any]], hashes: NDArray[np.uint8], alive: Bools
) -> tuple[NDArray[np.int32], Ints]:
    """(m, 2) near-copies among the photos of a set, by their places in it, and (m,) distances. Of
    a photo with very many near-copies some are left out: `_separate` looks at all."""
    pairs = [np.empty((0, 2), np.int32)]
    for place, i in enumerate(ids.tolist()):
        others = behind(rows[i])
        others = np.searchsorted(ids, others[alive[others]])
        if len(others) > _MOST:
            others = others[np.linspace(0, len(others) - 1, _MOST).astype(np.intp)]
        pairs.append(np.column_stack([np.full(len(others), place), others]).astype(np.int32))
    every = np.concatenate(pairs)
    return every, distances_of(hashes[ids], every)


def _separate(
    ids: NDArray[np.intp],
    found: BoundedGroups,
    hashes: NDArray[np.uint8],
    owners: Ints,
    alive: Bools,
    pieces: NDArray[np.intp],
    balls: NDArray[np.intp],
    between: NDArray[np.intp],
) -> None:
    """Drop from the rows what is no near-copy with fewer differing bits; set aside what still
    stands between two balls."""
    for place, i in enumerate(ids.tolist()):
        others = behind(found.rows[i])
        others = others[alive[others]]
        places = np.searchsorted(ids, others)
        kept = pieces[places] == pieces[place]
        if found.limits[i] < found.limits.max():
            edges = np.column_stack([np.zeros_like(others), np.arange(1, len(others) + 1)])
            these = hashes[np.append(i, others)]  # for each photo all would be too many
            kept &= distances_of(these, edges) <= found.limits[i]
        found.rows[i] = pair_row(len(found.rows), others[kept])
        if between[place] < 0:
            across = places[kept & (balls[places] != balls[place]) & (between[places] < 0)]
            free = across[owners[ids[across]] == NO_OWNER]
            if len(free) < len(across) and owners[i] == NO_OWNER:
                between[place] = across[0]
            else:
                between[free] = place


def _balls(
    graph: _Graph, bound: int, most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """(n,) the first node of the ball that each node is in, and (n,) a near-copy of each node that
    is set aside, -1 of the others. None if more than `most` would be set aside."""
    n = len(graph.owners)
    balls, aside = np.arange(n), np.full(n, -1)
    left = np.ones(n, bool)
    placed = graph.owners != NO_OWNER
    nodes, ends = graph.edges(np.flatnonzero(~placed))
    nodes, ends = nodes[placed[ends]], ends[placed[ends]]
    touched = np.unique(np.column_stack([nodes, graph.owners[ends]]), axis=0)[:, 0]
    torn = touched[1:][np.diff(touched) == 0]  # near-copies of photos in two groups
    aside[nodes[::-1]] = np.where(np.isin(nodes[::-1], torn), ends[::-1], -1)
    left[torn] = False
    lost, seen = len(torn), np.full(n, -1)
    degrees = np.diff(graph.starts)
    for root in np.lexsort((-degrees, ~placed)).tolist():
        if left[root] and degrees[root]:
            ball, layer, near = _ball(graph, root, left, seen, bound)
            balls[ball], left[ball] = root, False
            aside[layer], left[layer] = near, False
            lost += len(layer)
        if lost > most:
            return None
    return balls, aside


def _ball(
    graph: _Graph, root: int, left: Bools, seen: NDArray[np.intp], bound: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The ball around a node, the nodes that are set aside around it, and a near-copy of each.

    Photos with a split belong to the ball of their group; what is near to another such group does
    not. left: (n,) nodes of no ball yet; seen: (n,) the last ball that a node was looked at for."""
    owner = graph.owners[root]
    layers = [_with_group(graph, np.array([root]), left, seen, root)]
    beyond: list[NDArray[np.intp]] = []  # of each layer: (2, m) nodes of the next, and near-copies
    refused = [np.empty((2, 0), np.intp)]
    size, best, thinnest = len(layers[0]), 0, np.inf
    while True:
        nodes, ends = graph.edges(layers[-1])
        new = left[ends] & (seen[ends] != root) & (graph.owners[ends] == NO_OWNER)
        layer, first = np.unique(ends[new], return_index=True)
        beyond.append(np.stack([layer, nodes[new][first]]))
        if not len(layer):
            best = len(layers) - 1
            break
        if len(layers) > _STEPS:
            if len(layer) < thinnest * size:
                best, thinnest = len(layers) - 1, len(layer) / size
            if thinnest <= _THIN or size + len(layer) > bound:
                break
        nodes, ends = graph.edges(layer)
        others = (graph.owners[ends] != NO_OWNER) & (graph.owners[ends] != owner) & left[ends]
        no = np.isin(layer, nodes[others])
        seen[layer] = root
        refused.append(beyond[-1][:, no])
        layers.append(_with_group(graph, layer[~no], left, seen, root))
        size += len(layers[-1])
    layer, near = np.concatenate([*refused[: best + 1], beyond[best]], axis=1)
    return np.concatenate(layers[: best + 1]), layer, near


def _with_group(
    graph: _Graph, nodes: NDArray[np.intp], left: Bools, seen: NDArray[np.intp], root: int
) -> NDArray[np.intp]:
    """The nodes, with those of the group of `root` that have a split and that they lead to."""
    seen[nodes] = root
    owner, every = graph.owners[root], [nodes]
    while owner != NO_OWNER and len(nodes):
        ends = graph.edges(nodes)[1]
        nodes = np.unique(ends[left[ends] & (seen[ends] != root) & (graph.owners[ends] == owner)])
        seen[nodes] = root
        every.append(nodes)
    return np.concatenate(every)
