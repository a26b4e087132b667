"""Membership inference and memorisation: do the weights reveal training photos?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError
from bear_classifier.judge import clean, membership_inference
from bear_classifier.judge.membership_inference import Leak, Membership, exchanged
from bear_classifier.judge.predictions import load_evidence
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import memorisation as traces
from bear_classifier.lesson.photos.privacy_plot import curves, draw_attacks
from bear_classifier.lesson.trained_model import Subject, network_outputs
from bear_classifier.stats import ood
from bear_classifier.stats.arrays import Bools, Floats
from bear_classifier.stats.calibration import softmax
from bear_classifier.stats.metrics import ANY_PROBABILITY, log_losses

RIDGE_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1.0, 100.0)  # C of scikit-learn: large is weak
HALVES, DRAWS, LEAST, SEED = 100, 200, 85, 0


@dataclass(frozen=True)
class ProbedPhotos:
    """What the first model knows of all usable photos: features (n, f) by the untuned body; and
    (n,) classes, groups of near-copies, losses of models that saw none of the group, and whether
    cleaning suspects a photo."""

    photos: Sequence[Photo]
    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    groups: NDArray[np.str_]
    unseen: Floats
    suspected: Bools


def probed_photos(subject: Subject) -> ProbedPhotos:
    """Raises DataError (NOT_PROBED)."""
    catalog, labels = subject.catalog, subject.config.labels
    evidence = load_evidence(catalog.root)
    rows = {sha: row for row, sha in enumerate(evidence.sha256)}
    asked = [photo for photo in catalog.photos("ok") if photo.sha256 in rows]
    at = [rows[photo.sha256] for photo in asked]
    doubted = {s.sha256 for s in clean.suspects(catalog, subject.config) if s.score >= clean.LIKELY}
    targets = np.array([labels.index(photo.label) for photo in asked])
    return ProbedPhotos(
        asked, evidence.features[at], targets, groups_of(asked),
        log_losses(evidence.probabilities[at], targets, ANY_PROBABILITY),
        np.array([photo.sha256 in doubted for photo in asked], dtype=bool),
    )  # fmt: skip


def groups_of(found: Sequence[Photo]) -> NDArray[np.str_]:
    return np.array([photo.family for photo in found])


def sides_of(found: Sequence[Photo]) -> tuple[list[int], Membership]:
    """Bools of the training split, the members, and of the test split, the others.

    Raises DataError (NO_PHOTOS)."""
    rows = [row for row, photo in enumerate(found) if photo.split in ("train", "test")]
    member = np.array([found[row].split == "train" for row in rows], dtype=bool)
    if member.all() or not member.any():
        raise DataError("NO_PHOTOS", "no photo of the training or the test split; run: bears split")
    return rows, Membership(member, groups_of([found[row] for row in rows]))


def temperature(subject: Subject) -> float:
    """What the published model divides its logits by."""
    try:
        report = (subject.catalog.root / "evaluate" / "report.json").read_bytes()
        return float(json.loads(report)["temperature"])
    except (OSError, ValueError, KeyError):
        return 1.0


def page(subject: Subject) -> Page:
    sheet = Sheet("privacy")
    sheet.say("intro")
    sheet.code(log_losses, membership_inference.auc)
    sheet.say("auc")
    first = probed_photos(subject)
    found = _own(sheet, subject, first)
    _heads(sheet, first)
    _bundle(sheet, subject)
    sheet.say("model_card", sentence=membership_inference.card_sentence(asdict(found)))
    return sheet.page()


def _own(sheet: Sheet, subject: Subject, it: ProbedPhotos) -> Leak:
    sheet.say("own_model")
    everything = network_outputs(subject)
    rows, membership = sides_of(everything.photos)
    logits, targets = everything.logits[rows], everything.targets[rows]
    losses = log_losses(softmax(logits, temperature(subject)), targets, ANY_PROBABILITY)
    plain = log_losses(softmax(logits), targets, ANY_PROBABILITY)
    others, apart = sides_of(it.photos)
    worst = membership_inference.attack_shuffled_labels(
        it.features, it.targets, it.groups, RIDGE_PENALTIES[-1], SEED
    )
    leak = membership.leak(losses)
    leaks = {
        "your model": leak,
        "the same without its temperature": membership.leak(plain),
        "first models that saw neither split": apart.leak(it.unseen[others]),
        "heads that learned shuffled labels": worst,
    }
    sheet.picture("losses", draw_attacks(membership, losses, leaks))
    sheet.say("attacks_table", leaks=leaks)
    sheet.say("compare")
    sheet.claim("shuffled_labels", worst.interval[0] > 0.75, worst=worst)
    cuts = membership_inference.halves(membership, losses, HALVES, DRAWS, SEED)
    mean = float(np.mean([cut.auc for cut in cuts]))
    right = sum(cut.interval[0] <= 0.5 <= cut.interval[1] for cut in cuts)
    blind = abs(mean - 0.5) < 0.01 and right >= LEAST
    sheet.claim("halvings", blind, mean=mean, halves=HALVES, right=right)
    less = leak.interval[1] < worst.interval[0]
    sheet.claim("less_than_shuffled", less, found=leak, worst=worst)
    _lookup(sheet, subject, membership, everything.pooled[rows], leak)
    return leak


def _lookup(
    sheet: Sheet, subject: Subject, membership: Membership, pooled: NDArray[np.float32], found: Leak
) -> None:
    """What the features in the bundle give away."""
    place = subject.catalog.root / "evaluate" / "reference.npz"
    if not place.is_file():
        return
    reference = ood.read_reference(place.read_bytes()).features.astype(np.float32)
    looked = membership.leak(1 - traces.likeness(pooled, reference).astype(np.float64))
    sheet.say("reference_intro", reference=reference)
    sheet.claim("reference", looked.auc > found.auc, looked=looked, found=found)


def _heads(sheet: Sheet, it: ProbedPhotos) -> None:
    sheet.say("heads")
    sheet.code(exchanged)
    runs = {"as filed": _runs(it, np.ones(len(it.targets), dtype=bool))}
    if _whole(it, ~it.suspected):
        runs["without suspects"] = _runs(it, ~it.suspected)
    groups = {"as filed": it.groups, "without suspects": it.groups[~it.suspected]}
    leaks, gains = {}, {}
    for name, run in runs.items():
        g = groups[name]
        leaks[name] = [membership_inference.attack(*losses, g, g) for losses in run]
        strong, weak = (membership_inference.resampled(*run[at], g, g) for at in (0, -1))
        gains[name] = np.quantile(weak - strong, (0.025, 0.975))
    sheet.picture("penalties", curves(leaks, RIDGE_PENALTIES))
    gain, filed = gains["as filed"], leaks["as filed"]
    sheet.claim("filed_labels", gain[0] > 0, gain=gain, leaks=filed, penalties=RIDGE_PENALTIES)
    if len(runs) < 2:
        sheet.say("too_few_suspects")
        return
    gain, cleaned = gains["without suspects"], leaks["without suspects"]
    sheet.say("without_suspects", gain=gain, leaks=cleaned, penalties=RIDGE_PENALTIES)
    _cleaned(sheet, it, runs["as filed"][-1], [row[-1] for row in leaks.values()])


def _runs(it: ProbedPhotos, rows: Bools) -> list[tuple[Floats, Floats]]:
    """At each of the penalties the losses of photos by a head that learned them and by another."""
    some = it.features[rows], it.targets[rows], it.groups[rows]
    return [exchanged(*some, c, SEED) for c in RIDGE_PENALTIES]


def _whole(it: ProbedPhotos, rows: Bools) -> bool:
    """Whether two photos of each class are left, and not all."""
    left = np.bincount(it.targets[rows], minlength=int(it.targets.max()) + 1)
    return not rows.all() and bool(left.min() > 1)


def _cleaned(
    sheet: Sheet, it: ProbedPhotos, weak: tuple[Floats, Floats], leaks: list[Leak]
) -> None:
    inside, outside = weak
    doubted, rest = (
        membership_inference.attack(inside[rows], outside[rows], it.groups[rows], it.groups[rows])
        for rows in (it.suspected, ~it.suspected)
    )
    before, after = leaks
    known = {"doubted": doubted, "rest": rest, "penalties": RIDGE_PENALTIES}
    sheet.claim("suspects_leak", doubted.auc > rest.auc, **known)
    less = after.auc < min(before.auc, rest.auc)
    sheet.claim("cleaned_leaks", less, before=before, rest=rest, after=after)


def _bundle(sheet: Sheet, subject: Subject) -> None:
    sheet.say("bundle")
    if not (subject.model / "bundle.json").is_file():
        sheet.say("no_bundle")
        return
    shown, photos = subject.config.export.pictures != "none", subject.catalog.photos()
    search = traces.search_bundle(subject.model, photos, shown)
    sheet.say("bundle_searched", shown=shown)
    sheet.code(traces.occurrences)
    sheet.claim("bundle_clean", not search.found, search=search, photos=photos)
