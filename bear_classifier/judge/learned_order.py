"""The order of what is left to look at, learned from the decisions so far.

More like what was dropped or relabelled comes first, more like what was kept comes later. The order
is a function of the decisions in force alone: not of their order, nor of what was undone. Decisions
on photos of the test split teach only the order of that split, which judges the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bear_classifier.dataset.decisions import AUTO, GONE
from bear_classifier.dataset.photo_columns import Hashes
from bear_classifier.dataset.schema import Event
from bear_classifier.stats.arrays import Bools, Floats, Floats32, Ints
from bear_classifier.stats.fault_model import FAULT_WEIGHT, expit, learned_log_odds, logit

_NOTED = 0.25  # chance from which what was learned is given as a reason
LIKE_FAULTS = "like photos that were dropped or relabelled"


@dataclass(frozen=True)
class Order:
    """rows: (n,) numbers of photos, most suspect first; chances: (n,) of a fault, by photo; noted:
    (n,) whether the decisions made it so suspect."""

    rows: Ints
    chances: Floats
    noted: Bools


@dataclass(frozen=True)
class OrderEvidence:
    """What the order of n photos is learned from.

    before: (n,) number of the class under which they are judged; first: (n,) chances before anybody
    decided; others: (n,) chances of a fault of any kind but a near-copy under another label;
    families: (n,) numbers of groups of near-copies; in_use: (n,); features (n, k): of
    `fault_model.within_class`; known: (n,) not of the test split."""

    hashes: Hashes
    classes: tuple[str, ...]
    before: Ints
    first: Floats
    others: Floats
    families: Ints
    in_use: Bools
    features: Floats32
    known: Bools
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("before", "first", "others", "families", "in_use", "features", "known"),
    )

    def after(self, made: Mapping[str, Event]) -> Order:
        """The order as far as these decisions show; made: sha256 -> the decision in force. Photos
        that were decided on keep their chance of before."""
        names = list(made)
        at = dict(zip(names, self.hashes.find(names).tolist(), strict=True))
        outcomes = {at[sha]: outcome(event) for sha, event in made.items() if at[sha] >= 0}
        seen = {at[sha] for sha, event in made.items() if was_seen(event)}
        faults = {
            row: not used or label not in ("", self.classes[self.before[row]])
            for row, (label, used) in outcomes.items()
            if row in seen
        }
        chances, noted = np.array(self.first), np.zeros(len(self.hashes), dtype=bool)
        if faults:
            listed = all(
                event.score is not None for sha, event in made.items() if at[sha] in faults
            )
            learned = self._chances(faults, outcomes, listed)
            learned[list(outcomes)] = chances[list(outcomes)]
            noted = (learned >= _NOTED) & (learned > chances)
            chances = learned
        return Order(self.hashes.sorted_by(-chances), chances, noted)

    def _chances(
        self, faults: Mapping[int, bool], outcomes: Mapping[int, tuple[str, bool]], listed: bool
    ) -> Floats:
        """(n,) of a fault. faults: row -> whether it was one; outcomes: row -> label and use.
        listed: whether all were decided on as the order had them. Faults that were found elsewhere
        say what faults look like, not how many there are."""
        left = np.ones(len(self.hashes), dtype=bool)
        left[list(outcomes)] = False
        numbers = {label: number for number, label in enumerate(self.classes)}
        classes = np.asarray(self.before)
        prior = logit(combined([self.others, self._conflicts(outcomes, numbers, classes)]))
        taught = np.array(sorted(faults, key=lambda row: bytes(self.hashes.names[row])))
        wrong = np.array([faults[row] for row in taught.tolist()])
        odds = np.empty(len(prior))
        of_known = self.known[taught]
        for rows, used in ((self.known, of_known), (~self.known, np.ones_like(of_known))):
            if rows.any():
                odds[rows] = learned_log_odds(
                    prior, self.features, classes, taught[used], wrong[used]
                )[rows]
                # Faults count several times when the odds are learned: taken off again.
                odds[rows] -= np.log(FAULT_WEIGHT)
                if not listed:
                    odds[rows] -= excess(odds[rows & left], float(self.first[rows & left].sum()))
        return expit(odds)

    def _conflicts(
        self, outcomes: Mapping[int, tuple[str, bool]], numbers: Mapping[str, int], classes: Ints
    ) -> Floats:
        """(n,) by the labels and the use that the decisions left. numbers: of labels; classes: (n,)
        of these. All labels that nothing else has count as one."""
        now, used = classes.copy(), np.array(self.in_use)
        for row, (label, in_use) in outcomes.items():
            now[row] = numbers.get(label, len(numbers)) if label else now[row]
            used[row] = in_use
        return conflict(now, self.families, used)


def excess(log_odds: Floats, most: float) -> float:
    """What has to be taken off log odds (n,), so that their chances add up to `most` at the most;
    0 where they do."""
    low, high = 0.0, 50.0
    if float(expit(log_odds).sum()) <= most:
        return low
    for _ in range(40):
        middle = (low + high) / 2
        above = float(expit(log_odds - middle).sum()) > most
        low, high = (middle, high) if above else (low, middle)
    return high


def combined(scores: Sequence[Floats]) -> Floats:
    """Chance that at least one of independent things is true. scores: (n,) each."""
    return np.asarray(1 - np.prod([1 - score for score in scores], axis=0))


def conflict(targets: Ints, groups: Ints, used: Bools) -> Floats:
    """Share of a photo's near-copies in use that stand under another class, itself counted."""
    table = np.zeros((groups.max() + 1, targets.max() + 1))
    np.add.at(table, (groups[used], targets[used]), 1)
    own, every = table[groups, targets], table[groups].sum(1)
    return np.asarray((every - own) / (every + ~used))


def outcome(event: Event) -> tuple[str, bool]:
    """The label that a decision left, "" if it is not known, and whether the photo is in use."""
    if not event.after:  # of catalogs of version 2 and older
        return (event.new if event.action == "relabel" else ""), event.action != "drop"
    state = json.loads(event.after)
    return state["label"], state["status"] == "ok"


def was_seen(event: Event) -> bool:
    """Whether somebody looked at the photo."""
    return event.who != AUTO and event.why != GONE
