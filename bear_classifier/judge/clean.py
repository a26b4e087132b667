"""Label errors and outliers: a suspicion for every photo, with reasons, and what is learned from
decisions.

Four kinds of evidence, each a number from 0 to 1 for each photo:

label       the chance that its label is another one, from a first model that saw neither the photo
            nor its near-copies, nor the labels that a round before found hardest to believe
outlier     how much of it is nothing that its class usually shows, and how little it is like others
duplicate   a near-copy of it stands under another class
quality     dark, blurred, empty, or broken off in transfer

They count as independent: the score is the chance that at least one is true. Where photos were
looked at a second time (`second_look`), the first two are geometric means of both looks. What a
class shows, and which photos are alike, comes from train and valid only: the test split judges the
model, and has no say in what it is made from. From the first decision on, the scores of what is
left are those of `learned_order`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided
from bear_classifier.dataset.photo_columns import Hashes, PhotoColumns, Words, photo_columns
from bear_classifier.dataset.schema import Event
from bear_classifier.judge.judged import (
    DARK,
    FILLED,
    KINDS,
    LIKELY,
    Judged,
    OpenSuspects,
    store_judged,
    stored_judged,
)
from bear_classifier.judge.learned_order import OrderEvidence, combined, conflict
from bear_classifier.judge.predictions import load_evidence, not_probed
from bear_classifier.judge.second_look import (
    can_look_again,
    dropped_photos,
    look_digest,
    second_look,
)
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

_RARE = 0.005  # share of a class; what fewer of its photos show is not typical of it
_TINY = 1e-5  # share that keeps logarithms finite
_NEIGHBOURS = 8
MOST_SHOWN = 2_000  # suspects with neighbours: those of all photos would take time n²
_BLOCK = 256  # photos whose neighbours are looked for at once
_MOST_NEAR = 100_000  # photos among which the most like one are looked for
_MOST_TYPICAL = 20_000  # photos of a class that say what it shows: 160 MB of a thousand kinds
_BLURRED = 2.0  # grey levels; see docs/LOG.md
# Exponents of the odds that a photo is an outlier (docs/LOG.md): of the tail share of its
# divergence from what its class shows, and of that of its distance from its nearest neighbours.
_BY_DIVERGENCE, _BY_DISTANCE = 0.3, 0.7
_OWN_NEIGHBOURS = 30  # of its class, over which the distance is averaged
_MOST_COMPARED = 2_000  # photos of a class among which they are looked for


class CleanSummary(TypedDict):
    """suspects: photos; expected: how many photos are wrong; kinds: of evidence -> suspects; looks:
    1, or 2 after a second look; can_look_again: whether that is still to be had."""

    photos: int
    suspects: int
    expected: float
    kinds: dict[str, int]
    looks: int
    can_look_again: bool


def clean(catalog: Catalog, config: Config) -> CleanSummary:
    """How much of the data looks wrong; no photo is changed. Leaves `clean/summary.json`, which
    also names the suspects (`likely`), and in `clean/evidence` what they are listed from."""
    made = decided(catalog)
    columns = photo_columns(catalog)
    found = judged(catalog, config, made, columns)
    store_judged(catalog, found, made)
    chances = found.after(made).chances
    usable = columns.status.is_("ok")[columns.hashes.find(found.hashes.names)]
    likely = usable & (chances >= LIKELY)
    kinds = {kind: int((found.scores[likely, n] >= LIKELY).sum()) for n, kind in enumerate(KINDS)}
    outcome: CleanSummary = {
        "photos": int(usable.sum()),
        "suspects": int(likely.sum()),
        "expected": round(float(chances[usable].sum()), 1),
        "kinds": {kind: n for kind, n in kinds.items() if n},
        "looks": found.looks,
        "can_look_again": found.looks == 1 and can_look_again(config, len(found)),
    }
    names = found.hashes.some(np.flatnonzero(likely))
    left = outcome | {"likely": names, "look": look_digest(catalog.root)}
    write_atomic(catalog.root / "clean" / "summary.json", json.dumps(left).encode())
    return outcome


def suspected(catalog: Catalog, config: Config) -> set[str]:
    """The hashes of the photos with which something is probably wrong. Raises DataError
    (NOT_PROBED)."""
    made = decided(catalog)
    found = evidence_of(catalog, config, made)
    return set(found.hashes.some(np.flatnonzero(found.after(made).chances >= LIKELY)))


def open_suspects(catalog: Catalog, config: Config) -> OpenSuspects:
    """From what the stage left, as long as it holds. Raises DataError (NOT_PROBED)."""
    made = decided(catalog)
    found = evidence_of(catalog, config, made)
    order, is_open = found.after(made), np.array(found.evidence.in_use)
    rows = found.hashes.find(list(made))
    is_open[rows[rows >= 0]] = False
    left = order.rows[is_open[order.rows]]
    return OpenSuspects(found, order, left, int((order.chances[left] >= LIKELY).sum()))


def evidence_of(catalog: Catalog, config: Config, made: Mapping[str, Event]) -> Judged:
    """`judged` as the stage left it, or anew where something else was changed than by decisions,
    which is then kept. Raises DataError (NOT_PROBED)."""
    found = stored_judged(catalog, config.labels, made)
    if found is None:
        found = judged(catalog, config, made, photo_columns(catalog))
        store_judged(catalog, found, made)
    return found


def judged(
    catalog: Catalog, config: Config, made: Mapping[str, Event], columns: PhotoColumns
) -> Judged:
    """The evidence on every photo that the first model knows, by the labels that this model learned
    from; made: the decisions so far; columns: of the catalog.

    Photos of the test split are judged too, but by the others, and change nothing about those; so
    are those that somebody dropped before the model learned: they teach what faults look like.

    Raises DataError (NOT_PROBED)."""
    evidence = load_evidence(catalog.root, dropped_photos(columns, made))
    names, classes = Hashes.of(evidence.sha256), columns.label.numbered(config.labels)
    place = names.find(columns.hashes.names)
    chosen = np.flatnonzero((place >= 0) & (classes >= 0))
    hashes = Hashes.of(columns.hashes.names[chosen])
    if second := second_look(catalog.root, hashes, columns.status.is_("ok")[chosen]):
        chosen = chosen[second.there]
        hashes = Hashes.of(columns.hashes.names[chosen])
    place, now = place[chosen], classes[chosen].astype(np.int64)
    before = now.copy()
    for sha256, event in made.items():
        if (row := hashes.row(sha256)) is not None:
            label = config.labels[now[row]]
            earlier = evidence.labels[place[row]] if evidence.labels else ""
            before[row] = config.labels.index(_label_before(label, earlier, event, config.labels))
    n, changed = len(chosen), np.flatnonzero(now != before)
    # A photo with a new label is judged by it as well, in a row that nothing is learned from.
    of = np.concatenate([np.arange(n), changed])
    not_test = ~columns.split.is_("test")[chosen]
    known = np.append(not_test & evidence.known[place], np.zeros(len(changed), dtype=bool))
    if not known.any() or evidence.probabilities.shape[1] != len(config.labels):
        raise not_probed()
    at, targets = place[of], np.append(before, now[changed])
    groups = np.unique(columns.family[chosen], return_inverse=True)[1][of]
    looks = [(evidence.features.at(at), evidence.probabilities[at])]
    if second:
        looks.append((second.features.at(of), second.probabilities[of]))
    doubts, outliers = list[Floats](), list[Floats]()
    for features, said in looks:  # those of the larger pictures last
        components = principal_components(features, known)
        doubts.append(1 - said[np.arange(len(at)), targets])
        outliers.append(outlier(features, components, targets, groups, known, evidence.classifier))
    probabilities = np.mean([said for _, said in looks], axis=0)
    shown = np.arange(n)
    shown[changed] = np.arange(n, len(of))
    ok = columns.status.is_("ok")[chosen]
    scores = np.empty((len(of), len(KINDS)))
    scores[:, 0] = np.prod(doubts, axis=0) ** (1 / len(looks))
    scores[:, 1] = np.prod(outliers, axis=0) ** (1 / len(looks))
    scores[:, 2] = _conflicts(targets, groups, ok[of], shown)
    scores[:, 3] = quality(evidence.light[at], evidence.sharpness[at], evidence.filled[at])
    first = combined(list(scores.T))[shown]
    order = np.argsort(-first, kind="stable")
    some = np.concatenate(
        [order[rows][:MOST_SHOWN] for rows in (known[shown][order], ~known[shown][order])]
    )
    near = np.full((len(some), _NEIGHBOURS), -1)
    for k, others in enumerate(nearest(features, groups, shown[some], known)):
        near[k, : len(others)] = of[others]
    rising = np.argsort(some)
    directions = within_class(components, targets, known)[:n]
    del components  # of a million photos half a gigabyte
    in_use = ok | np.isin(np.arange(n), hashes.find(list(made)))
    labels = tuple(config.labels)
    return Judged(
        labels,
        OrderEvidence(
            hashes,
            labels,
            before,
            first,
            combined([scores[:n, k] for k, kind in enumerate(KINDS) if kind != "duplicate"]),
            groups[:n],
            in_use,
            directions,
            not_test,
        ),
        Words(columns.label.words, columns.label.numbers[chosen]),
        Words(columns.split.words, columns.split.numbers[chosen]),
        scores[shown],
        probabilities[shown],
        evidence.light[place],
        evidence.filled[place],
        some[rising],
        near[rising],
        len(looks),
    )


def _label_before(label: str, before: str, event: Event, labels: Sequence[str]) -> str:
    """The label that the first model learned from, so that decisions change only what is learned
    from them, in whatever order they are made. label: of now; before: as the model noted it; event:
    the decision on the photo."""
    if not before:  # left by an earlier version
        before = event.old if event.action == "relabel" else label
    return before if before in labels else label


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
    bad = (light < DARK) | (sharpness < _BLURRED) | (filled >= FILLED)
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
