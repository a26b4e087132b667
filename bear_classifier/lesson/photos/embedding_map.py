"""The embedding map of photos: PCA and t-SNE, in two and three dimensions."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from bear_classifier.images import decoder
from bear_classifier.judge import clean
from bear_classifier.lesson.contents import TITLES
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import tensorboard_projector
from bear_classifier.lesson.photos.embedding_plot import (
    CLASS_COLOURS,
    SHAPES,
    clouds,
    neighbour_counts,
    widths,
)
from bear_classifier.lesson.photos.projections import (
    KEPT,
    RANDOM_SETS,
    SEED,
    Cloud,
    Principal,
    by_chance,
    cloud,
    principal,
    rebuilt,
    share_of,
    so_low,
    tsne,
    umap,
)
from bear_classifier.lesson.trained_model import Subject, network_outputs
from bear_classifier.stats.arrays import Floats

NEAR = 5  # neighbours
TRUST = 0.9  # of a map by t-SNE; 1 is perfect, one by lot has about 0.5
FEW_MISTAKES = 5  # mistakes; the mean of fewer says nothing
REVIEW = "http://127.0.0.1:7861/#view=one&state=all&at="  # where `bears review` shows one photo


def page(subject: Subject) -> Page:
    sheet = Sheet("map", TITLES["map"])
    seen = cloud(network_outputs(subject), subject.config.labels)
    found = principal(seen.features)
    maps = _maps(found)
    files = [subject.catalog.file(seen.every.photos[row]) for row in seen.rows]
    pictures = [tensorboard_projector.middle_square(file) for file in files]
    thumbs = ["" if p is None else base64.b64encode(decoder.encode(p, quality=70)).decode()
              for p in pictures]  # fmt: skip
    _intro(sheet, seen, subject.config.name, thumbs.count(""))
    _live(sheet, seen, maps, thumbs)
    _principal(sheet, seen, found)
    _tsne(sheet, seen, maps)
    _neighbours(sheet, seen)
    sheet.file("sprite.png", tensorboard_projector.sprite(pictures))
    _export(sheet, seen)
    return sheet.page()


def _maps(found: Principal) -> dict[str, Floats]:
    """By name, in two and in three dimensions."""
    ways = {"PCA": lambda at, dims: at[:, :dims], "t-SNE": tsne}
    if importlib.util.find_spec("umap"):
        ways["UMAP"] = umap
    return {_name(way, dims): make(found.at, dims) for way, make in ways.items() for dims in (2, 3)}


def _name(way: str, dims: int) -> str:
    return f"{way}, {dims} dimensions"


def _intro(sheet: Sheet, seen: Cloud, project: str, unseen: int) -> None:
    n, m, failed = len(seen.every.photos), len(seen.rows), int(seen.wrong.sum())
    file = "starter" if project == "starter" else "FILE"
    sheet.say(
        f"Just before its last layer the network has turned a photo into {seen.features.shape[1]:,}"
        " numbers, its features. They are a place: photos that the network takes for alike lie near"
        " one another. Nobody sees so many dimensions; here are maps of it in two and in three.",
        f"Each point is one of {m:,} photos{_sample(n, m)}; {failed} of them are answered wrongly"
        " and have a black ring. Pale points are of the [[training set]]: the network was fitted to"
        " them, so they lie better than new photos would.",
        "The link beside a photo leads to its review, where its label can be changed, while"
        f" <code>bears review --project {file}</code> runs on its usual port. This page and the"
        " files beside it hold small copies of the photos: publish them only where you may.",
    )
    if unseen:
        sheet.say(f"Of {unseen} of them the file is missing or broken: they have no picture here.")


def _sample(n: int, m: int) -> str:
    return ", all that there are" if m == n else f" of {n:,}: the mistakes, and random others"


_PARTS = (
    '<p style="display:flex;flex-wrap:wrap;gap:0 1.5rem;margin:0">'
    '<label>Map <select class="map"></select></label><label>Split <select class="side"></select>'
    '</label><label><input type="checkbox" class="mistakes"> mistakes only</label></p>'
    '<div class="classes" role="group" aria-label="classes" style="display:flex;flex-wrap:wrap;'
    'gap:0 1.2rem;margin-bottom:.6rem"></div>'
    '<canvas width="1200" height="800" tabindex="0" role="img" aria-label="a cloud of photos; turn'
    " it, or walk from point to point, by arrow keys; the slider below goes through the photos one"
    ' by one"></canvas>'
    "<label><span><output></output></span>"
    '<input type="range" min="0" step="1" value="0" aria-label="photo"></label>'
    '<div class="about" aria-live="polite" hidden style="min-height:5.6rem;margin-top:.6rem">'
    '<img class="picture" alt="" width="84" height="84" style="float:left;margin-right:.8rem">'
    '<p class="words" style="margin:0"></p><a class="link" target="_blank" rel="noreferrer">Review'
    " this photo</a></div>"
    '<p style="margin:.6rem 0 0"><button type="button" class="closer">Closer</button> <button'
    ' type="button" class="farther">Farther</button> <button type="button" class="whole">Whole'
    "</button> <small>Point at a photo; a click holds it, Escape lets it go, Enter opens its"
    " review. Drag, or use arrow keys: a map of three dimensions turns, on one of two they go to"
    " the next photo. + and − as Closer and Farther, towards the photo that is held; 0:"
    " Whole.</small></p>"
)


def _live(sheet: Sheet, seen: Cloud, maps: Mapping[str, Floats], thumbs: list[str]) -> None:
    values = {
        "labels": seen.labels,
        "colours": CLASS_COLOURS,
        "shapes": list(SHAPES.values()),
        "label": seen.every.targets[seen.rows].tolist(),
        "said": seen.answers[seen.rows].tolist(),
        "side": seen.sides,
        "file": [name[:120] for name in seen.files],
        "sha": [seen.every.photos[row].sha256 for row in seen.rows],
        "thumb": thumbs,
        "review": REVIEW,
        "maps": {name: _scaled(at).round(4).tolist() for name, at in maps.items()},
    }
    sheet.live("cloud", values, _PARTS)
    shown = {name: at for name, at in maps.items() if at.shape[1] == 2}
    targets = seen.every.targets[seen.rows]
    sheet.picture("maps", clouds(shown, targets, seen.wrong, seen.labels),
                  "The maps of two dimensions, mistakes with a black ring")  # fmt: skip


def _scaled(at: Floats) -> Floats:
    """Around 0, none farther from it than 1: nothing leaves the picture while it is turned."""
    middle = at - (at.max(axis=0) + at.min(axis=0)) / 2
    return np.asarray(middle / max(np.linalg.norm(middle, axis=1).max(), 1e-12))


def _principal(sheet: Sheet, seen: Cloud, found: Principal) -> None:
    sheet.head("The widest directions: principal components")
    sheet.say(
        "Turn the cloud until it is as wide as possible from left to right, then as high as"
        " possible, and look at it from there: that is PCA. It is a shadow: true to scale, with all"
        " other directions flattened."
    )
    sheet.code(principal, rebuilt)
    sheet.formula("X − x̄ = U S V<sup>T</sup>, places = U S, share<sub>k</sub> ="
                  " s<sub>k</sub>² / Σ s²")  # fmt: skip
    held = np.cumsum(found.shares)
    most = int(np.searchsorted(held, 0.9)) + 1
    sheet.say(
        f"Two components hold {held[1]:.0%} of the variance, three {held[2]:.0%};"
        f" {most} of {len(held):,} are needed for nine tenths of it."
    )
    sheet.picture("variance", widths(held), "How much of the variance the first components hold")
    X = seen.features.astype(np.float64)
    spread = ((X - X.mean(axis=0)) ** 2).sum()
    worst = float(np.abs(rebuilt(found, len(held)) - X).max() / np.abs(X).max())
    sheet.claim(
        "all components together give the features back, but for rounding",
        worst < 1e-9,
        f"largest difference {worst:.1e} of the largest feature",
    )
    lost = [((rebuilt(found, k) - X) ** 2).sum() / spread for k in (2, 3)]
    off = max(abs(1 - part - held[k - 1]) for part, k in zip(lost, (2, 3), strict=True))
    sheet.claim(
        "what two or three components leave out is the rest of the variance, no more and no less",
        bool(off < 1e-9),
        f"they leave out {lost[0]:.1%} and {lost[1]:.1%}",
    )
    other = np.random.default_rng(SEED).permutation(len(X))
    again = principal(seen.features[other]).at[:, :3]
    moved = float(np.abs(again - found.at[other, :3]).max() / np.abs(again).max())
    sheet.claim(
        "photos that come in another order have the same places, and no axis is mirrored",
        moved < 1e-6,
        f"largest difference {moved:.1e} of the width",
    )


def _tsne(sheet: Sheet, seen: Cloud, maps: Mapping[str, Floats]) -> None:
    sheet.head("Who is whose neighbour: t-SNE")
    sheet.say(
        f"t-SNE does not flatten. It takes the first {KEPT} components and moves points about until"
        " each has on the map the neighbours that it has there. So near means alike, but how far"
        " apart two clumps lie, and how large they are, means little."
    )
    sheet.code(tsne)
    sheet.say(
        f"Trustworthiness (Venna and Kaski, 2001) looks at the {NEAR} nearest on the map, and"
        " counts off how far away those are in truth that do not belong there. 1 is perfect; a"
        " random"
        " map has about 0.5."
    )
    near = min(NEAR, (len(seen.rows) - 1) // 2)
    trust = {
        n: float(trustworthiness(seen.features, at, n_neighbors=near)) for n, at in maps.items()
    }
    sheet.table(["map", "trustworthiness"], [[name, f"{t:.3f}"] for name, t in trust.items()])
    ours, flat = trust[_name("t-SNE", 2)], trust[_name("PCA", 2)]
    sheet.claim(
        f"t-SNE keeps neighbourhoods better than two components do, with more than {TRUST}",
        ours > flat and ours > TRUST,
        f"{ours:.3f} against {flat:.3f}",
    )


def _neighbours(sheet: Sheet, seen: Cloud) -> None:
    sheet.head("Are neighbours of one class?")
    sheet.say(
        f"Here all {seen.features.shape[1]:,} features count again, not a map: the {NEAR} photos"
        " whose standardised features have the smallest angle to those of a photo, as on the review"
        " page. Near-copies of it are left out."
    )
    sheet.code(share_of, by_chance)
    targets = seen.every.targets
    every = np.ones(len(targets), dtype=bool)
    found = clean.nearest(seen.every.pooled, seen.groups, seen.rows, every)
    near = [some[:NEAR] for some in found]
    shares = share_of(near, targets[seen.rows], targets)
    lot = by_chance(seen.rows, targets, seen.groups)
    sheet.picture("neighbours", neighbour_counts(shares, seen.wrong, float(lot.mean()), NEAR),
                  "How many neighbours are of a photo's own class")  # fmt: skip
    new = np.array(seen.sides) != "train"
    halves = [(shares[some].mean(), lot[some].mean()) for some in (np.full(len(new), True), new)]
    sheet.claim(
        "neighbours share the class of a photo far more often than chance has it: more than half of"
        " the way from chance to always, and so do those of photos that were not learned from",
        all(share > (1 + luck) / 2 for share, luck in halves),
        f"{halves[0][0]:.1%}, by chance {halves[0][1]:.1%}; of {int(new.sum())} photos not learned"
        f" from {halves[1][0]:.1%}, by chance {halves[1][1]:.1%}",
    )
    _mistakes(sheet, shares, share_of(near, seen.answers[seen.rows], targets), seen.wrong)


def _mistakes(sheet: Sheet, shares: Floats, as_said: Floats, wrong: NDArray[np.bool_]) -> None:
    """shares, as_said: (m,) of neighbours that are of the photo's own class, and of the one that
    the network says."""
    if wrong.sum() < FEW_MISTAKES:
        count = f"There are only {wrong.sum()}" if wrong.any() else "There are no"
        sheet.say(f"{count} wrong answers: too few to say what their neighbourhoods are like.")
        return
    sheet.code(so_low)
    bad, good, rare = shares[wrong].mean(), shares[~wrong].mean(), so_low(shares, wrong)
    sheet.claim(
        "mistakes lie in mixed neighbourhoods: fewer neighbours are of the photo's own class than"
        " of right answers, and random sets of photos hardly ever have so few",
        bool(bad < good) and rare < 0.01,
        f"{bad:.1%} of {int(wrong.sum())} wrong answers, {good:.1%} of right ones; as low by"
        " chance in"
        f" {rare:.1%} of {RANDOM_SETS:,} draws",
    )
    sheet.say(
        f"Of the neighbours of wrong answers, {as_said[wrong].mean():.0%} are of the class that the"
        " network says. Look at those photos first: some are hard, and of some the label may be"
        " wrong, not the answer."
    )


def _export(sheet: Sheet, seen: Cloud) -> None:
    sheet.head("For the projector of TensorBoard")
    sheet.code(tensorboard_projector.tensors, tensorboard_projector.metadata)
    sheet.say(
        "Saved with this page lie <code>map-tensors.tsv</code>, <code>map-metadata.tsv</code>,"
        f" <code>map-sprite.png</code> and <code>map-{tensorboard_projector.CONFIG}</code>. Copy"
        f" the last one to <code>{tensorboard_projector.CONFIG}</code>, then"
        " <code>tensorboard --logdir</code> with that"
        " folder shows them in its projector, which has PCA, t-SNE and UMAP of its own."
    )
    is_, answers = seen.every.targets[seen.rows], seen.answers[seen.rows]
    words = [
        [seen.labels[label], seen.labels[answer], side, file]
        for label, answer, side, file in zip(is_, answers, seen.sides, seen.files, strict=True)
    ]
    numbers, metadata = (
        tensorboard_projector.tensors(seen.features),
        tensorboard_projector.metadata(words),
    )
    sheet.file("tensors.tsv", numbers)
    sheet.file("metadata.tsv", metadata)
    sheet.file(tensorboard_projector.CONFIG, tensorboard_projector.projector_config("map-"))
    back, rows = (
        tensorboard_projector.read_tensors(numbers),
        tensorboard_projector.read_metadata(metadata),
    )
    sheet.claim(
        "the tables have a row for each point, and are read back as the same numbers and words",
        np.array_equal(back, seen.features) and rows == words,
        f"{len(back):,} x {back.shape[1]:,} numbers, {len(rows):,} rows of words,"
        f" {len(seen.rows):,} points",
    )
