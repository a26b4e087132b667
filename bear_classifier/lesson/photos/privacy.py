"""Membership inference and memorisation: do the weights reveal training photos?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from bear_classifier.lesson.trained_model import Subject, network_outputs
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title
from bear_classifier.stats import ood
from bear_classifier.stats.arrays import Bools, Floats
from bear_classifier.stats.metrics import ANY_PROBABILITY, log_losses, softmax

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
    photos = [photo for photo in catalog.photos("ok") if photo.sha256 in rows]
    at = [rows[photo.sha256] for photo in photos]
    doubted = clean.suspected(catalog, subject.config)
    targets = np.array([labels.index(photo.label) for photo in photos])
    return ProbedPhotos(
        photos, evidence.features[at], targets, groups_of(photos),
        log_losses(evidence.probabilities[at], targets, ANY_PROBABILITY),
        np.array([photo.sha256 in doubted for photo in photos], dtype=bool),
    )  # fmt: skip


def groups_of(photos: Sequence[Photo]) -> NDArray[np.str_]:
    return np.array([photo.family for photo in photos])


def membership_of(photos: Sequence[Photo]) -> tuple[list[int], Membership]:
    """Bools of the training split, the members, and of the test split, the others.

    Raises DataError (NO_PHOTOS)."""
    rows = [row for row, photo in enumerate(photos) if photo.split in ("train", "test")]
    member = np.array([photos[row].split == "train" for row in rows], dtype=bool)
    if member.all() or not member.any():
        raise DataError("NO_PHOTOS", "no photo of the training or the test split; run: bears split")
    return rows, Membership(member, groups_of([photos[row] for row in rows]))


def temperature(subject: Subject) -> float:
    """What the published model divides its logits by."""
    try:
        report = (subject.catalog.root / "evaluate" / "report.json").read_bytes()
        return float(json.loads(report)["temperature"])
    except (OSError, ValueError, KeyError):
        return 1.0


def page(subject: Subject) -> Page:
    sheet = Sheet("privacy", penalties=RIDGE_PENALTIES)
    sheet.say("intro")
    sheet.code(log_losses, membership_inference.auc)
    sheet.say("auc")
    first = probed_photos(subject)
    leak = _own(sheet, subject, first)
    _heads(sheet, first)
    _bundle(sheet, subject)
    sheet.say("model_card", sentence=membership_inference.card_sentence(asdict(leak)))
    return sheet.page()


def _own(sheet: Sheet, subject: Subject, probed: ProbedPhotos) -> Leak:
    sheet.say("own_model")
    everything = network_outputs(subject)
    rows, membership = membership_of(everything.photos)
    logits, targets = everything.logits[rows], everything.targets[rows]
    losses = log_losses(softmax(logits, temperature(subject)), targets, ANY_PROBABILITY)
    plain = log_losses(softmax(logits), targets, ANY_PROBABILITY)
    others, apart = membership_of(probed.photos)
    worst = membership_inference.attack_shuffled_labels(
        probed.features, probed.targets, probed.groups, RIDGE_PENALTIES[-1], SEED
    )
    leak = membership.leak(losses)
    leaks = {
        "your model": leak,
        "the same without its temperature": membership.leak(plain),
        "first models that saw neither split": apart.leak(probed.unseen[others]),
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
    sheet.claim("less_than_shuffled", less, leak=leak, worst=worst)
    bundled = subject.catalog.root / "evaluate" / "reference.npz"
    if bundled.is_file():  # what the features in the bundle give away
        reference = ood.read_reference(bundled.read_bytes()).features.astype(np.float32)
        likeness = traces.likeness(everything.pooled[rows], reference)
        by_lookup = membership.leak(1 - likeness.astype(np.float64))
        sheet.say("reference_intro", reference=reference)
        sheet.claim("reference", by_lookup.auc > leak.auc, by_lookup=by_lookup, by_loss=leak)
    return leak


def _heads(sheet: Sheet, probed: ProbedPhotos) -> None:
    sheet.say("heads")
    sheet.code(exchanged)
    runs = {"as filed": _runs(probed, np.ones(len(probed.targets), dtype=bool))}
    if _whole(probed, ~probed.suspected):
        runs["without suspects"] = _runs(probed, ~probed.suspected)
    groups = {"as filed": probed.groups, "without suspects": probed.groups[~probed.suspected]}
    leaks, gains = {}, {}
    for name, run in runs.items():
        g = groups[name]
        leaks[name] = [membership_inference.attack(*losses, g, g) for losses in run]
        strong, weak = (membership_inference.resampled(*run[at], g, g) for at in (0, -1))
        gains[name] = np.quantile(weak - strong, (0.025, 0.975))
    sheet.picture("penalties", curves(leaks, RIDGE_PENALTIES))
    gain, filed = gains["as filed"], leaks["as filed"]
    sheet.claim("filed_labels", gain[0] > 0, gain=gain, leaks=filed)
    if len(runs) < 2:
        sheet.say("too_few_suspects")
        return
    gain, cleaned = gains["without suspects"], leaks["without suspects"]
    sheet.say("without_suspects", gain=gain, leaks=cleaned)
    _cleaned(sheet, probed, runs["as filed"][-1], [row[-1] for row in leaks.values()])


def _runs(probed: ProbedPhotos, rows: Bools) -> list[tuple[Floats, Floats]]:
    """At each of the penalties the losses of photos by a head that learned them and by another."""
    chosen = probed.features[rows], probed.targets[rows], probed.groups[rows]
    return [exchanged(*chosen, c, SEED) for c in RIDGE_PENALTIES]


def _whole(probed: ProbedPhotos, rows: Bools) -> bool:
    """Whether two photos of each class are left, and not all."""
    left = np.bincount(probed.targets[rows], minlength=int(probed.targets.max()) + 1)
    return not rows.all() and bool(left.min() > 1)


def _cleaned(
    sheet: Sheet, probed: ProbedPhotos, weak: tuple[Floats, Floats], leaks: list[Leak]
) -> None:
    def attack(rows: Bools) -> Leak:
        groups = probed.groups[rows]
        return membership_inference.attack(weak[0][rows], weak[1][rows], groups, groups)

    doubted, rest = attack(probed.suspected), attack(~probed.suspected)
    before, after = leaks
    sheet.claim("suspects_leak", doubted.auc > rest.auc, doubted=doubted, rest=rest)
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
    sheet.claim("bundle_clean", not search.traces, search=search, photos=photos)


def draw_attacks(sides: Membership, losses: Floats, leaks: Mapping[str, Leak]) -> bytes:
    """losses: (n,) of the model; leaks: each attack by the name of who was asked."""
    figure, (left, right) = panels(3.4, 2)
    for rows, colour, name in ((sides.member, BLUE, "members"), (~sides.member, ORANGE, "others")):
        some = np.maximum(np.sort(losses[rows]), 1e-6)
        left.plot(some, np.arange(1, len(some) + 1) / len(some), color=colour, lw=1.8, label=name)
    left.set_xscale("log")
    left.set_xlabel("loss of your model, at most")
    left.set_ylabel("share of photos")
    left.legend(frameon=False, fontsize=9)
    set_title(left, "Losses of members and of others")
    for row, leak in enumerate(leaks.values()):
        right.plot(leak.interval, [row, row], color=BLUE, lw=5, alpha=0.3, solid_capstyle="butt")
        right.plot(leak.auc, row, "o", color=BLUE, ms=7)
    right.axvline(0.5, color=INK, lw=1, ls=":")
    right.set_yticks(range(len(leaks)), [name.replace(" that ", "\nthat ") for name in leaks])
    right.set_ylim(len(leaks) - 0.5, -0.5)
    right.set_xlabel("AUC; guessing has 0.5")
    set_title(right, "How well members are recognised")
    return figure_png(figure)


def curves(leaks: Mapping[str, Sequence[Leak]], penalties: Sequence[float]) -> bytes:
    """leaks: at each of the penalties, by the name of what was learned."""
    figure, (axes,) = panels(3.2, 1)
    for (name, row), colour in zip(leaks.items(), (ORANGE, BLUE), strict=False):
        low, high = zip(*(leak.interval for leak in row), strict=True)
        axes.fill_between(penalties, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(penalties, [leak.auc for leak in row], "o-", color=colour, lw=1.8, label=name)
    axes.axhline(0.5, color=GREY, lw=1, ls=":")
    axes.set_xscale("log")
    axes.set_xlabel("C: the larger, the weaker the penalty")
    axes.set_ylabel("AUC")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    set_title(axes, "Membership inference by the loss of a head")
    return figure_png(figure)
