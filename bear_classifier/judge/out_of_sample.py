"""Answers for photos of train and validation by models that have seen neither them nor, where
sources are known, any photo of their source: what limits are set by.

A limit that is set on photos like those that were learned from is too strict for all others: photos
of sources that the model has never seen look less like its training photos (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bear_classifier.judge.leave_source_out import partition
from bear_classifier.judge.predictions import HalfOutputs
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Bools, Floats, Floats32, Ints, Rows, SomeRows, Strings
from bear_classifier.stats.linear_probe import fit_linear, logits_of
from bear_classifier.stats.metrics import ANY_PROBABILITY
from bear_classifier.stats.ood import NEIGHBOURS, ClassLayer, Reference, make_reference

LEAST_GROUPS = 100  # groups of known sources; a share of 3 % of fewer is no photo or an odd one
_LEAST_PARTS = 2


@dataclass(frozen=True)
class KnownPhotos:
    """n photos, those of the training split first, then of validation, as the kept model has them.
    logits: (n, classes); pooled: (n, f) features; targets: (n,) class numbers; groups: (n,) numbers
    of near-copies; train: (n,) whether of the training split; sites: (n,) sources, "" where
    unknown."""

    sha256: list[str]
    logits: Floats32
    pooled: Rows
    targets: Ints
    groups: Ints
    train: Bools
    sites: list[str]


@dataclass(frozen=True)
class Answers:
    """Of n photos, by models and references that hold none of them. logits: (n, classes); scores:
    (n,) OOD scores; targets, groups: (n,); parts: (n,) names of what was held out together."""

    logits: Floats
    scores: Floats
    targets: Ints
    groups: Ints
    parts: Strings

    @property
    def right(self) -> Bools:
        return np.asarray(self.logits.argmax(axis=1) == self.targets)

    def of(self, rows: Bools) -> Answers:
        """Those of the rows (n,)."""
        return Answers(
            self.logits[rows],
            self.scores[rows],
            self.targets[rows],
            self.groups[rows],
            self.parts[rows],
        )

    def only_once(self) -> Answers:
        """One photo of each group of near-copies: copies would promise more than they can hold."""
        rows = np.zeros(len(self.groups), dtype=bool)
        rows[np.unique(self.groups, return_index=True)[1]] = True
        return self.of(rows)


@dataclass(frozen=True)
class OutOfSample:
    """sources: of photos whose source the model lacks; near: of photos whose near-copies it lacks,
    by "folds" or, where the network itself has learned from the training photos, of "valid". None
    of either where there are too few. own: scores of the reference photos of a tuned network among
    themselves, one of each group of near-copies; it may find these all too familiar.

    near_without, own_without: the scores of `near` and `own` by references without a part of the
    sources; they are measured in other standard deviations."""

    sources: Answers | None
    near: Answers | None
    near_basis: str
    near_without: Mapping[str, Floats] = field(default_factory=dict)
    own: Floats = field(default_factory=lambda: np.empty(0))
    own_without: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def harder(self) -> Answers | None:
        """What temperature and lead are set by."""
        return self.sources or self.near

    @property
    def basis(self) -> str:
        return "sources" if self.sources else self.near_basis

    def apart_from(self, part: str, groups: Ints) -> OutOfSample:
        """As if the photos of this part and these groups of near-copies had never been there."""
        near = self.near
        if near and part in self.near_without:
            near = replace(near, scores=self.near_without[part])
        sources, near = (
            some and some.of((some.parts != part) & ~np.isin(some.groups, groups))
            for some in (self.sources, near)
        )
        own = self.own_without.get(part, self.own)
        return OutOfSample(sources, near, self.near_basis, own=own)

    def photos(self) -> dict[str, int]:
        """How many limits were set by, by kind."""
        both = {"sources": self.sources, self.near_basis: self.near}
        return {name: len(some.targets) for name, some in both.items() if some}


def of_probe(
    photos: KnownPhotos, reference: Reference, rows: Ints, probabilities: Floats, strength: float
) -> OutOfSample:
    """Where the network did not learn: its features of all photos are out of sample, and the head
    is fitted anew for each part.

    rows: of the photos in the reference; probabilities: (n, classes), out of fold by near-copies;
    strength: C of the head."""
    scores = reference.score(photos.pooled)
    scores[rows] = reference.own()
    near = ~photos.train
    near[rows] = True  # others of training may have a near-copy in the reference
    near &= (probabilities > 0).all(axis=1)  # 0: no fold had a photo of that class to learn from
    logits = np.log(np.maximum(probabilities, ANY_PROBABILITY))
    parts = np.array(_parts(photos))
    answers = Answers(logits, scores, photos.targets, photos.groups, parts)
    sources, without = _by_sources(photos, parts, reference, rows, strength)
    return OutOfSample(
        sources,
        answers.of(near) if near.any() else None,
        "folds",
        {part: others[near] for part, others in without.items()},
    )


def _by_sources(
    photos: KnownPhotos, parts: Strings, reference: Reference, rows: Ints, strength: float
) -> tuple[Answers | None, dict[str, Floats]]:
    """Each part of the sources by a head and a reference of the others, and the scores (n,) of the
    others by that reference, NaN of those that it cannot score."""
    known = sorted(set(parts[[bool(site) for site in photos.sites]].tolist()))
    logits = np.full(photos.logits.shape, np.nan)
    scores, classes = np.full(len(parts), np.nan), set(photos.targets.tolist())
    without: dict[str, Floats] = {}
    if len(known) < _LEAST_PARTS:
        return None, without
    for part in progress_bar(known, desc="held-out sources", unit="part"):
        mine = parts == part
        copies = np.isin(photos.groups, photos.groups[mine])
        whole = set(photos.targets[~copies].tolist()) == classes
        if not whole or (~copies[rows]).sum() <= NEIGHBOURS:
            continue
        others = SomeRows(photos.pooled, np.flatnonzero(~copies))
        fitted = fit_linear(strength, others, photos.targets[~copies])
        logits[mine] = logits_of(fitted, SomeRows(photos.pooled, np.flatnonzero(mine)))
        smaller, own = reference.without(copies[rows])
        every = smaller.score(photos.pooled)
        scores[mine] = every[mine]
        every[rows[~copies[rows]]] = own
        without[part] = every
    answers = Answers(logits, scores, photos.targets, photos.groups, parts)
    return _enough(answers.of(np.isfinite(scores))), without


def of_tuned(
    photos: KnownPhotos,
    reference: Reference,
    rows: Ints,
    halves: HalfOutputs | None,
    split_by_source: bool,
    seed: int,
) -> OutOfSample:
    """Where the network itself learned from the training photos: their features are in-sample.

    Photos of other sources are answered by the networks of either half of the sources, if there are
    such; else validation photos stand in, which are of other sources if the splits are. rows: of
    the photos in the reference."""
    valid, parts = ~photos.train, np.array(_parts(photos))
    of_valid = SomeRows(photos.pooled, np.flatnonzero(valid))
    checked = Answers(
        photos.logits[valid].astype(np.float64),
        reference.score(of_valid),
        photos.targets[valid],
        photos.groups[valid],
        parts[valid],
    )
    named = np.array([bool(site) for site in photos.sites], dtype=bool)[valid]
    if split_by_source and (others := _enough(checked.of(named))):
        return OutOfSample(others, None, "valid")
    near = checked if valid.any() else None
    layer = reference.classifier
    sources = _by_halves(photos, parts, halves, layer, seed) if halves else None
    near_without, own_without = dict[str, Floats](), dict[str, Floats]()
    for part in sorted(set(sources.parts.tolist())) if sources and near else ():
        copies = np.isin(photos.groups[rows], photos.groups[parts == part])
        if (~copies).sum() > NEIGHBOURS:
            smaller, own = reference.without(copies)
            near_without[part] = smaller.score(of_valid)
            own_without[part] = _once(own, smaller.groups)
    own = _once(reference.own(), reference.groups)
    return OutOfSample(sources, near, "valid", near_without, own, own_without)


def _once(scores: Floats, groups: Ints) -> Floats:
    """The first score of each group."""
    return np.asarray(scores[np.unique(groups, return_index=True)[1]])


def _by_halves(
    photos: KnownPhotos,
    parts: Strings,
    halves: HalfOutputs,
    classifier: ClassLayer | None,
    seed: int,
) -> Answers | None:
    """Each photo by the network and the reference of the other half."""
    found = list[Answers]()
    place = {name: row for row, name in enumerate(photos.sha256)}
    at = np.array([place.get(name, -1) for name in halves.sha256])
    for number in np.unique(halves.network):
        mine = (halves.network == number) & (at >= 0)
        learned, unseen = mine & halves.learned, mine & ~halves.learned
        rows = at[unseen]
        if learned.sum() <= NEIGHBOURS or not len(rows):
            continue
        groups = photos.groups[at[learned]]
        known = SomeRows(halves.pooled, np.flatnonzero(learned))
        reference = make_reference(known, groups, classifier, seed)
        found.append(
            Answers(
                halves.logits[unseen].astype(np.float64),
                reference.score(SomeRows(halves.pooled, np.flatnonzero(unseen))),
                photos.targets[rows],
                photos.groups[rows],
                parts[rows],
            )
        )
    return _enough(_joined(found)) if found else None


def _joined(answers: Sequence[Answers]) -> Answers:
    names = ("logits", "scores", "targets", "groups", "parts")
    return Answers(*(np.concatenate([getattr(one, name) for one in answers]) for name in names))


def _enough(answers: Answers) -> Answers | None:
    """None where photos or parts are too few to say anything of other sources."""
    parts = set(answers.parts.tolist())
    enough = len(set(answers.groups.tolist())) >= LEAST_GROUPS and len(parts) >= _LEAST_PARTS
    return answers if enough else None


def _parts(photos: KnownPhotos) -> list[str]:
    """What is held out together: parts of sources; each group of unknown source is its own."""
    named = [site for site in photos.sites if site]
    known = iter(partition(named))
    return [
        next(known) if site else f"group {group}"
        for site, group in zip(photos.sites, photos.groups.tolist(), strict=True)
    ]
