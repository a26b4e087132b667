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
    sheet = Sheet("map")
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
    n, m = len(seen.every.photos), len(seen.rows)
    sheet.say("intro", seen=seen, n=n, m=m, failed=seen.wrong.sum(), project=project)
    if unseen:
        sheet.say("unreadable", unseen=unseen)


def _live(sheet: Sheet, seen: Cloud, maps: Mapping[str, Floats], thumbs: list[str]) -> None:
    data = {
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
    sheet.live("cloud", data)
    shown = {name: at for name, at in maps.items() if at.shape[1] == 2}
    targets = seen.every.targets[seen.rows]
    sheet.picture("maps", clouds(shown, targets, seen.wrong, seen.labels))


def _scaled(at: Floats) -> Floats:
    """Around 0, none farther from it than 1: nothing leaves the picture while it is turned."""
    middle = at - (at.max(axis=0) + at.min(axis=0)) / 2
    return np.asarray(middle / max(np.linalg.norm(middle, axis=1).max(), 1e-12))


def _principal(sheet: Sheet, seen: Cloud, found: Principal) -> None:
    sheet.say("principal")
    sheet.code(principal, rebuilt)
    sheet.say("principal_formula")
    held = np.cumsum(found.shares)
    most = int(np.searchsorted(held, 0.9)) + 1
    sheet.say("variance_shares", held=held, most=most)
    sheet.picture("variance", widths(held))
    X = seen.features.astype(np.float64)
    spread = ((X - X.mean(axis=0)) ** 2).sum()
    worst = float(np.abs(rebuilt(found, len(held)) - X).max() / np.abs(X).max())
    sheet.claim("rebuilt", worst < 1e-9, worst=worst)
    lost = [((rebuilt(found, k) - X) ** 2).sum() / spread for k in (2, 3)]
    off = max(abs(1 - part - held[k - 1]) for part, k in zip(lost, (2, 3), strict=True))
    sheet.claim("left_out", off < 1e-9, lost=lost)
    other = np.random.default_rng(SEED).permutation(len(X))
    again = principal(seen.features[other]).at[:, :3]
    moved = float(np.abs(again - found.at[other, :3]).max() / np.abs(again).max())
    sheet.claim("any_order", moved < 1e-6, moved=moved)


def _tsne(sheet: Sheet, seen: Cloud, maps: Mapping[str, Floats]) -> None:
    sheet.say("tsne", kept=KEPT)
    sheet.code(tsne)
    sheet.say("trustworthiness", near=NEAR)
    near = min(NEAR, (len(seen.rows) - 1) // 2)
    trust = {
        n: float(trustworthiness(seen.features, at, n_neighbors=near)) for n, at in maps.items()
    }
    sheet.say("trust_table", trust=trust)
    ours, flat = trust[_name("t-SNE", 2)], trust[_name("PCA", 2)]
    sheet.claim("tsne_keeps", ours > max(flat, TRUST), least=TRUST, ours=ours, flat=flat)


def _neighbours(sheet: Sheet, seen: Cloud) -> None:
    sheet.say("neighbours_intro", seen=seen, near=NEAR)
    sheet.code(share_of, by_chance)
    targets = seen.every.targets
    every = np.ones(len(targets), dtype=bool)
    found = clean.nearest(seen.every.pooled, seen.groups, seen.rows, every)
    near = [some[:NEAR] for some in found]
    shares = share_of(near, targets[seen.rows], targets)
    lot = by_chance(seen.rows, targets, seen.groups)
    sheet.picture("neighbours", neighbour_counts(shares, seen.wrong, float(lot.mean()), NEAR))
    new = np.array(seen.sides) != "train"
    halves = [(shares[some].mean(), lot[some].mean()) for some in (np.full(len(new), True), new)]
    often = all(share > (1 + luck) / 2 for share, luck in halves)
    sheet.claim("neighbours_share", often, halves=halves, new=new.sum())
    _mistakes(sheet, shares, share_of(near, seen.answers[seen.rows], targets), seen.wrong)


def _mistakes(sheet: Sheet, shares: Floats, as_said: Floats, wrong: NDArray[np.bool_]) -> None:
    """shares, as_said: (m,) of neighbours that are of the photo's own class, and of the one that
    the network says."""
    if wrong.sum() < FEW_MISTAKES:
        sheet.say("few_mistakes", wrong=wrong.sum())
        return
    sheet.code(so_low)
    bad, good, rare = shares[wrong].mean(), shares[~wrong].mean(), so_low(shares, wrong)
    means = {"bad": bad, "good": good, "rare": rare, "wrong": wrong.sum(), "draws": RANDOM_SETS}
    sheet.claim("mixed_neighbourhoods", bad < good and rare < 0.01, **means)
    sheet.say("look_first", share=as_said[wrong].mean())


def _export(sheet: Sheet, seen: Cloud) -> None:
    sheet.say("projector")
    sheet.code(tensorboard_projector.tensors, tensorboard_projector.metadata)
    sheet.say("files", config=tensorboard_projector.CONFIG)
    is_, answers = seen.every.targets[seen.rows], seen.answers[seen.rows]
    words = [
        [seen.labels[label], seen.labels[answer], side, file]
        for label, answer, side, file in zip(is_, answers, seen.sides, seen.files, strict=True)
    ]
    numbers = tensorboard_projector.tensors(seen.features)
    metadata = tensorboard_projector.metadata(words)
    sheet.file("tensors.tsv", numbers)
    sheet.file("metadata.tsv", metadata)
    sheet.file(tensorboard_projector.CONFIG, tensorboard_projector.projector_config("map-"))
    back = tensorboard_projector.read_tensors(numbers)
    rows = tensorboard_projector.read_metadata(metadata)
    same = np.array_equal(back, seen.features) and rows == words
    sheet.claim("read_back", same, back=back, rows=rows, seen=seen)
