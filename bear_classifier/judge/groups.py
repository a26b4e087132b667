"""Groups of photos of a class that are alike among themselves and unlike the rest of the class.

A model that learned from a systematic fault finds it right, photo by photo; side by side, a group
of other animals, drawings or photos of one shop is seen at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bear_classifier.stats.arrays import AnyFloats, Floats, Ints
from bear_classifier.stats.clusters import point_groups
from bear_classifier.stats.metrics import softmax

_NAMES = 3  # of own classes that a group is named by
_SEEN = 0.05  # probability from which an own class is named
_SOURCES = 3
OwnClassifier = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class PhotoGroup:
    """Photos of one class. rows: (m,) their numbers, the most typical of the group first; unlike: 0
    to 1, how much what they show differs from the rest of the class; seen: what the weights' own
    classes see in them and how probably; lacks: what they see in the rest of the class and hardly
    in them, and how probably in both; sources: those of most photos, with how many."""

    label: str
    rows: list[int]
    unlike: float
    seen: list[tuple[str, float]]
    lacks: tuple[str, float, float] | None
    sources: list[tuple[str, int]]


def photo_groups(
    features: AnyFloats,
    labels: Sequence[str],
    sources: Sequence[str],
    classifier: OwnClassifier | None,
    names: Sequence[str] | None,
) -> list[PhotoGroup]:
    """Groups of every class, the ones most unlike their class first.

    features: (n, f); labels, sources ("": unknown): (n,); classifier: the layer (k, f), (k,) of the
    weights' own classes, if there is one; names: of those, if they are known. With a classifier,
    `unlike` is 1 minus the Bhattacharyya coefficient of the mean probabilities of both."""
    own = None if classifier is None else softmax(features @ classifier[0].T + classifier[1])
    points, kinds = _points(features, own), np.array(labels)
    found = []
    for label in sorted(set(labels)):
        rows = np.flatnonzero(kinds == label)
        for group in point_groups(points[rows]):
            mine = rows[group.rows]
            rest = np.setdiff1d(rows, mine)
            unlike = group.separation if own is None else _unlike(own[mine], own[rest])
            seen, lacks = [], None
            if own is not None and names is not None:
                seen = _seen(own[mine].mean(0), names)
                lacks = _lacks(own[mine].mean(0), own[rest].mean(0), names)
            near = mine[_central(points[mine])].tolist()
            where = Counter(sources[row] for row in near if sources[row]).most_common(_SOURCES)
            found.append(PhotoGroup(label, near, unlike, seen, lacks, where))
    return sorted(found, key=lambda group: (-group.unlike, group.rows[0]))


def _points(features: AnyFloats, own: Floats | None) -> NDArray[np.float32]:
    """Standardised features of length 1, beside the roots of the own classes' probabilities, each
    part with the same variance."""
    spread = features.std(axis=0)
    plain = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    plain /= np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-6)
    parts = [plain] if own is None else [plain, np.sqrt(own)]
    even = [(part / max(float(part.std()), 1e-12)).astype(np.float32) for part in parts]
    return np.concatenate(even, axis=1)


def _unlike(mine: Floats, rest: Floats) -> float:
    return float(np.clip(1 - np.sqrt(mine.mean(0) * rest.mean(0)).sum(), 0, 1))


def _seen(probabilities: Floats, names: Sequence[str]) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[:_NAMES]
    return [(names[k], float(probabilities[k])) for k in order if probabilities[k] >= _SEEN]


def _lacks(mine: Floats, rest: Floats, names: Sequence[str]) -> tuple[str, float, float] | None:
    most = int(rest.argmax())
    if rest[most] < 2 * max(mine[most], _SEEN):
        return None
    return names[most], float(mine[most]), float(rest[most])


def _central(points: NDArray[np.float32]) -> Ints:
    """The order (m,) of points by their distance from their centre."""
    away = ((points - points.mean(axis=0)) ** 2).sum(1)
    return np.argsort(away, kind="stable")


def group_words(group: PhotoGroup) -> tuple[str, list[str]]:
    """A group's name, such as "31 photos of black", and what is known of it, in short sentences."""
    many = len(group.rows)
    words = []
    if group.seen:
        seen = [f"{name} ({share:.0%})" for name, share in group.seen]
        words.append(f"Looks like {', '.join(seen)}")
    if group.lacks:
        name, here, elsewhere = group.lacks
        words.append(f"Hardly like {name} ({here:.0%}, the rest of {group.label} {elsewhere:.0%})")
    named = sum(amount for _, amount in group.sources)
    if 2 * named > many:
        sites = [f"{source} ({amount})" for source, amount in group.sources]
        words.append(f"Mostly from {', '.join(sites)}")
    return f"{many} photos of {group.label}", words
