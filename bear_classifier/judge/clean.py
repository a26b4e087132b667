"""Label errors and outliers: a suspicion for every photo, with reasons, and what is learned from
decisions.

Four kinds of evidence, each a number from 0 to 1 for each photo:

label       the chance that its label is another one, from a first model that saw neither the photo
            nor its near-copies, nor the labels that a round before found hardest to believe
outlier     how much of it is nothing that its class usually shows, and how little it is like others
duplicate   a near-copy of it stands under another class
quality     dark, blurred, empty, or broken off in transfer

They count as independent: the score is the chance that at least one is true. What a class shows,
and which photos are alike, comes from train and valid only: the test split judges the model, and
has no say in what it is made from. From the first decision on, the scores of what is left are those
of `learned_order`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, is_taken_down
from bear_classifier.dataset.schema import Event, Photo, Suspect
from bear_classifier.judge.learned_order import Judged, combined, conflict
from bear_classifier.judge.predictions import Evidence, load_evidence, not_probed
from bear_classifier.runtime.files import write_atomic
from bear_classifier.stats.arrays import (
    BLOCK_ROWS,
    Bools,
    Floats,
    Floats32,
    Ints,
    Rows,
    evenly,
    in_blocks,
    moments,
)
from bear_classifier.stats.fault_model import expit, logit, principal_components, within_class
from bear_classifier.stats.likeness import unit
from bear_classifier.stats.metrics import softmax

KINDS = ("label", "outlier", "duplicate", "quality")
LIKELY = 0.5  # from here on a reason is shown in words
_RARE = 0.005  # share of a class; what fewer of its photos show is not typical of it
_TINY = 1e-5  # share that keeps logarithms finite
_NEIGHBOURS = 8
MOST_SHOWN = 2_000  # suspects with neighbours: those of all photos would take time n²
_BLOCK = 256  # photos whose neighbours are looked for at once
_MOST_NEAR = 100_000  # photos among which the most like one are looked for
_MOST_TYPICAL = 20_000  # photos of a class that say what it shows: 160 MB of a thousand kinds
_DARK = 12.0  # grey levels of 255
_BLURRED = 2.0  # grey levels; see docs/LOG.md
_FILLED = 0.2  # share of a picture below a broken-off transfer, from which it is a fault
# Exponents of the odds that a photo is an outlier (docs/LOG.md): of the tail share of its
# divergence from what its class shows, and of that of its distance from its nearest neighbours.
_BY_DIVERGENCE, _BY_DISTANCE = 0.3, 0.7
_OWN_NEIGHBOURS = 30  # of its class, over which the distance is averaged
_MOST_COMPARED = 2_000  # photos of a class among which they are looked for


class CleanSummary(TypedDict):
    """suspects: photos; expected: how many photos are wrong; kinds: of evidence -> suspects."""

    photos: int
    suspects: int
    expected: float
    kinds: dict[str, int]


def clean(catalog: Catalog, config: Config) -> CleanSummary:
    """How much of the data looks wrong; nothing is changed."""
    every = suspects(catalog, config)
    usable = {photo.sha256 for photo in catalog.photos("ok")}
    judged = [one for one in every if one.sha256 in usable]
    likely = [s for s in judged if s.score >= LIKELY]
    kinds = Counter(kind for s in likely for kind, score in s.scores.items() if score >= LIKELY)
    outcome: CleanSummary = {
        "photos": len(judged),
        "suspects": len(likely),
        "expected": round(sum(s.score for s in judged), 1),
        "kinds": {kind: kinds[kind] for kind in KINDS if kinds[kind]},
    }
    write_atomic(catalog.root / "clean" / "summary.json", json.dumps(outcome).encode())
    return outcome


def suspects(catalog: Catalog, config: Config) -> list[Suspect]:
    """Every photo that the first model knows, and those that somebody dropped before it learned,
    most suspect first as far as the decisions show. Raises DataError (NOT_PROBED)."""
    made = decided(catalog)
    return judged(catalog, config, made).after(made)


def judged(catalog: Catalog, config: Config, made: Mapping[str, Event]) -> Judged:
    """The evidence on every photo that the first model knows, by the labels that this model learned
    from; made: the decisions so far.

    Photos of the test split are judged too, but by the others, and change nothing about those; so
    are those that somebody dropped before the model learned: they teach what faults look like.

    Raises DataError (NOT_PROBED)."""
    stored = catalog.photos()
    dropped = {p.sha256 for p in stored if p.status == "dropped" and not is_taken_down(p)}
    evidence = load_evidence(catalog.root, dropped & made.keys())
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    photos = [p for p in stored if p.sha256 in rows and p.label in config.labels]
    before = [_label_before(photo, evidence, rows, made, config.labels) for photo in photos]
    changed = [i for i, photo in enumerate(photos) if photo.label != before[i]]
    # A photo with a new label is judged by it as well, in a row that nothing is learned from.
    of = np.array([*range(len(photos)), *changed], dtype=np.int64)
    not_test = np.array([photo.split != "test" for photo in photos], dtype=bool)
    place = np.array([rows[photo.sha256] for photo in photos], dtype=np.int64)
    learned = not_test & evidence.known[place]
    known = np.append(learned, np.zeros(len(changed), dtype=bool))
    if not known.any() or evidence.probabilities.shape[1] != len(config.labels):
        raise not_probed()
    at = np.array([rows[photos[i].sha256] for i in of])
    labels = [*before, *(photos[i].label for i in changed)]
    targets = np.array([config.labels.index(label) for label in labels])
    families = np.array([photos[i].family for i in of], dtype="S64")
    groups = np.unique(families, return_inverse=True)[1]
    features = evidence.features.at(at)
    components = principal_components(features, known)
    probabilities = evidence.probabilities[at]
    now = np.arange(len(photos))
    now[changed] = np.arange(len(photos), len(of))
    in_use = np.array([photos[i].status == "ok" for i in of])
    scores = {
        "label": 1 - probabilities[np.arange(len(at)), targets],
        "outlier": outlier(features, components, targets, groups, known, evidence.classifier),
        "duplicate": _conflicts(targets, groups, in_use, now),
        "quality": quality(evidence.light[at], evidence.sharpness[at], evidence.filled[at]),
    }
    total = combined(list(scores.values()))
    order = now[np.argsort(-total[now], kind="stable")]
    first = np.concatenate([order[rows][:MOST_SHOWN] for rows in (known[order], ~known[order])])
    near = dict(zip(first.tolist(), nearest(features, groups, first, known), strict=True))
    directions = within_class(components, targets, known)[: len(photos)]
    del components  # of a million photos as large as all suspects
    found = []
    for i, row in enumerate(now.tolist()):
        own = {kind: float(values[row]) for kind, values in scores.items()}
        bars = dict(zip(config.labels, probabilities[row].tolist(), strict=True))
        facts = evidence.light[at[row]], evidence.filled[at[row]]
        found.append(
            Suspect(
                sha256=photos[i].sha256,
                origin=photos[i].origin,
                label=photos[i].label,
                split=photos[i].split or "",
                suggested=max(bars, key=bars.__getitem__),
                score=float(total[row]),
                reasons=_reasons(own, bars, photos[i], *facts),
                scores=own,
                probabilities=bars,
                neighbours=[photos[of[j]].sha256 for j in near.get(row, [])],
            )
        )
    n = len(photos)
    return Judged(
        found,
        before,
        combined([values[:n] for kind, values in scores.items() if kind != "duplicate"]),
        groups[:n],
        np.array([photo.status == "ok" or photo.sha256 in made for photo in photos]),
        directions,
        not_test,
    )


def _label_before(
    photo: Photo,
    evidence: Evidence,
    rows: Mapping[str, int],
    made: Mapping[str, Event],
    labels: Sequence[str],
) -> str:
    """The label that the first model learned from, so that decisions change only what is learned
    from them, in whatever order they are made; that of now, if nobody decided on the photo."""
    event = made.get(photo.sha256)
    if event is None:
        return photo.label
    before = evidence.labels[rows[photo.sha256]] if evidence.labels else ""
    if not before:  # left by an earlier version
        before = event.old if event.action == "relabel" else photo.label
    return before if before in labels else photo.label


def outlier(
    features: Rows,
    components: Floats32,
    targets: Ints,
    groups: Ints,
    known: Bools,
    classifier: tuple[Floats32, Floats32] | None,
) -> Floats:
    """How little a photo is like its class, 0 to 1. features: (n, f); components: (n, k) of them;
    known: (n,) of which photos a class consists.

    With the weights' own classes: the cubed share of what they see in it that they hardly see in
    the other photos of its class; its odds grow with how far its own classes are from those of its
    class, and it from its nearest neighbours. Without: by the order of the last."""
    far = distance(components, targets, groups, known)
    if classifier is None:
        return np.asarray(0.7 * np.exp(-_ranks(far, targets, known) / 0.06))
    rare, divergence = atypical(OwnShares(features, *classifier), targets, groups, known)
    more = _BY_DIVERGENCE * (tail(divergence, known) - 1) + _BY_DISTANCE * (tail(far, known) - 1)
    return expit(logit(rare**3) + more)


@dataclass(frozen=True)
class OwnShares:
    """What the weights' own classes see in photos: shares (n, k), worked out when they are asked
    for. features: (n, f); weight: (k, f); bias: (k,)."""

    features: Rows
    weight: Floats32
    bias: Floats32

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), len(self.bias)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: Ints) -> Floats:
        return softmax(self.features[rows] @ self.weight.T + self.bias)


def atypical(seen: Rows, targets: Ints, groups: Ints, known: Bools) -> tuple[Floats, Floats]:
    """What of a photo its class does not show. seen: (n, k), shares of a photo that are of k kinds.

    Returns (n,): how much of it is of kinds that less than about 0.5 % of the known photos of its
    class show, without itself and its near-copies; and (n,): the divergence (Kullback and Leibler,
    nats) of its shares from theirs. Both 0 where there are no others. Of a large class a regular
    sample stands for it."""
    rare, divergence = np.zeros(len(seen)), np.zeros(len(seen))
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        base = evenly(rows[known[rows]], _MOST_TYPICAL)
        names, place = np.unique(groups[base], return_inverse=True)
        # The last row is of a group of which nothing is in the sample.
        of_group, sizes = np.zeros((len(names) + 1, seen.shape[1])), np.bincount(place)
        for start, some in enumerate(in_blocks(base)):
            np.add.at(of_group, place[start * BLOCK_ROWS :][: len(some)], seen[some])
        total, sizes = of_group.sum(0), np.append(sizes, 0)
        for some in in_blocks(rows):
            mine, own = seen[some], np.searchsorted(names, groups[some])
            own[np.append(names, -1)[own] != groups[some]] = len(names)
            others = len(base) - sizes[own]
            typical = np.maximum(0, total - of_group[own])
            typical /= np.maximum(1, others)[:, None]
            common = (mine * typical / (typical + _RARE)).sum(1)
            apart = (mine * np.log((mine + _TINY) / (typical + _TINY))).sum(1)
            rare[some] = np.where(others > 0, 1 - common, 0)
            divergence[some] = np.where(others > 0, apart, 0)
    return np.clip(rare, 0, 1), divergence


def distance(components: Floats32, targets: Ints, groups: Ints, known: Bools) -> Floats:
    """1 minus the mean cosine (n,) of a photo and the 30 known ones of its class most like it, but
    for its near-copies; 0 where there are none. Of a large class a regular sample is compared."""
    far = np.zeros(len(components))
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        base = evenly(rows[known[rows]], _MOST_COMPARED)
        most, there = min(_OWN_NEIGHBOURS, len(base)), unit(components[base])
        for start in range(0, len(rows) if most else 0, _BLOCK):
            some = rows[start : start + _BLOCK]
            likeness = unit(components[some]) @ there.T
            likeness[groups[some, None] == groups[None, base]] = -np.inf
            best = -np.partition(-likeness, most - 1, axis=1)[:, :most]
            others = np.isfinite(best)
            mean = np.where(others, best, 0).sum(1) / np.maximum(1, others.sum(1))
            far[some] = np.where(others.any(1), 1 - mean, 0)
    return far


def tail(values: Floats, known: Bools) -> Floats:
    """Minus the log of the share (n,) of known photos with as large a value or a larger one: 1 on
    average, log n for the largest of n."""
    rising = np.sort(values[known])
    larger = len(rising) - np.searchsorted(rising, values, side="left")
    return np.asarray(-np.log(np.maximum(1, larger) / len(rising)))


def _conflicts(targets: Ints, groups: Ints, used: Bools, now: Ints) -> Floats:
    """`conflict` by the labels of now, for all rows. now: the row of each photo."""
    found = np.zeros(len(targets))
    found[now] = conflict(targets[now], groups[now], used[now])
    return found


def quality(light: Floats32, sharpness: Floats32, filled: Floats32) -> Floats:
    """0.9 for photos so dark or without edges that nobody could tell what they show, and for those
    of which a part is missing, else 0. filled: share below a broken-off transfer."""
    bad = (light < _DARK) | (sharpness < _BLURRED) | (filled >= _FILLED)
    return np.where(bad, 0.9, 0.0)


def nearest(features: Rows, groups: Ints, rows: Ints, known: Bools) -> list[list[int]]:
    """For each of these rows the numbers of the eight known photos most like it by cosine,
    near-copies left out; of many known photos a regular sample is compared. features: (n, f);
    groups, known: (n,)."""
    there = evenly(np.flatnonzero(known), _MOST_NEAR)
    if not len(there):
        return [[] for _ in rows]
    centre, spread = moments(features, there)

    def directions(some: Ints) -> Floats32:
        return unit((features[some] - centre) / (spread + 1e-6))

    asked = directions(rows)
    best = np.full((len(rows), _NEIGHBOURS), -np.inf, dtype=asked.dtype)
    numbers = np.zeros((len(rows), _NEIGHBOURS), dtype=np.int64)
    for some in in_blocks(there):
        base = directions(some)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            likeness = asked[part] @ base.T
            likeness[groups[rows[part], None] == groups[None, some]] = -np.inf
            both = np.concatenate([best[part], likeness], axis=1)
            first = np.argpartition(-both, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS]
            every = np.concatenate([numbers[part], np.broadcast_to(some, likeness.shape)], axis=1)
            best[part] = np.take_along_axis(both, first, axis=1)
            numbers[part] = np.take_along_axis(every, first, axis=1)
    neighbours = []
    for near, alike in zip(numbers, best, strict=True):
        order = np.argsort(-alike, kind="stable")
        neighbours.append([int(near[j]) for j in order if np.isfinite(alike[j])])
    return neighbours


def _ranks(values: Floats, targets: Ints, known: Bools) -> Floats:
    """Which share of the known photos of its class has a larger value."""
    ranks = np.zeros(len(values))
    for target in np.unique(targets):
        rows = targets == target
        falling = np.sort(-values[rows & known])
        ranks[rows] = np.searchsorted(falling, -values[rows]) / max(1, len(falling))
    return ranks


def _reasons(
    scores: dict[str, float], bars: dict[str, float], photo: Photo, light: float, filled: float
) -> list[str]:
    other = max(bars, key=lambda label: bars[label] if label != photo.label else -1.0)
    words = {
        "label": f"looks like {other} ({bars[other]:.0%})",
        "outlier": f"shows what photos of {photo.label} hardly ever show",
        "duplicate": "a near-copy of it stands under another class",
        "quality": _fault_of_quality(light, filled),
    }
    order = sorted(KINDS, key=lambda kind: -scores[kind])
    likely = [words[kind] for kind in order if scores[kind] >= LIKELY]
    return likely or ([words[order[0]]] if scores[order[0]] >= LIKELY / 2 else [])


def _fault_of_quality(light: float, filled: float) -> str:
    if filled >= _FILLED:
        return f"broken off: the lower {filled:.0%} are one colour"
    return "very dark" if light < _DARK else "blurred or empty"
