"""The embedding map of photos: PCA and t-SNE, in two and three dimensions."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from bear_classifier.images import decoder
from bear_classifier.judge import clean
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import neighbourhoods, scatter_plots, tensorboard_projector
from bear_classifier.lesson.photos.neighbourhoods import Cloud
from bear_classifier.lesson.trained_model import Subject, network_outputs
from bear_classifier.stats import projections
from bear_classifier.stats.arrays import Floats
from bear_classifier.stats.projections import Principal

NEAR = 5  # neighbours
TRUST = 0.9  # of a map by t-SNE; 1 is perfect, a random one has about 0.5
FEW_MISTAKES = 5  # mistakes; the mean of fewer says nothing
REVIEW = "http://127.0.0.1:7861/#view=one&state=all&at="  # where `bears review` shows one photo


def page(subject: Subject) -> Page:
    sheet = Sheet("map")
    points = neighbourhoods.cloud(network_outputs(subject), subject.config.labels)
    components = projections.principal(points.features)
    maps = _maps(components)
    files = [subject.catalog.file(points.every.photos[row]) for row in points.rows]
    pictures = [tensorboard_projector.middle_square(file) for file in files]
    thumbs = ["" if p is None else base64.b64encode(decoder.encode(p, quality=70)).decode()
              for p in pictures]  # fmt: skip
    _intro(sheet, points, subject.config.name, thumbs.count(""))
    _live(sheet, points, maps, thumbs)
    _principal(sheet, points, components)
    _tsne(sheet, points, maps)
    _neighbours(sheet, points)
    sheet.file("sprite.png", tensorboard_projector.sprite(pictures))
    _export(sheet, points)
    return sheet.page()


def _maps(components: Principal) -> dict[str, Floats]:
    """By name, in two and in three dimensions."""
    ways: dict[str, Callable[[Floats, int], Floats]] = {
        "PCA": lambda at, dims: at[:, :dims],
        "t-SNE": lambda at, dims: projections.tsne(at, dims),
    }
    if importlib.util.find_spec("umap"):
        ways["UMAP"] = projections.umap
    return {
        _name(way, dims): make(components.at, dims) for way, make in ways.items() for dims in (2, 3)
    }


def _name(way: str, dims: int) -> str:
    return f"{way}, {dims} dimensions"


def _intro(sheet: Sheet, points: Cloud, project: str, unseen: int) -> None:
    n, m = len(points.every.photos), len(points.rows)
    sheet.say("intro", points=points, n=n, m=m, failed=points.wrong.sum(), project=project)
    if unseen:
        sheet.say("unreadable", unseen=unseen)


def _live(sheet: Sheet, points: Cloud, maps: Mapping[str, Floats], thumbs: list[str]) -> None:
    data = {
        "labels": points.labels,
        "colours": scatter_plots.CLASS_COLOURS,
        "shapes": list(scatter_plots.SHAPES.values()),
        "label": points.every.targets[points.rows].tolist(),
        "said": points.answers[points.rows].tolist(),
        "side": points.sides,
        "file": [name[:120] for name in points.files],
        "sha": [points.every.photos[row].sha256 for row in points.rows],
        "thumb": thumbs,
        "review": REVIEW,
        "maps": {name: _scaled(at).round(4).tolist() for name, at in maps.items()},
    }
    sheet.live("cloud", data)
    shown = {name: at for name, at in maps.items() if at.shape[1] == 2}
    targets = points.every.targets[points.rows]
    sheet.picture("maps", scatter_plots.clouds(shown, targets, points.wrong, points.labels))


def _scaled(at: Floats) -> Floats:
    """Around 0, none farther from it than 1: nothing leaves the picture while it is turned."""
    middle = at - (at.max(axis=0) + at.min(axis=0)) / 2
    return np.asarray(middle / max(np.linalg.norm(middle, axis=1).max(), 1e-12))


def _principal(sheet: Sheet, points: Cloud, components: Principal) -> None:
    sheet.say("principal")
    sheet.code(projections.principal, projections.rebuilt)
    sheet.say("principal_formula")
    held = np.cumsum(components.shares)
    most = int(np.searchsorted(held, 0.9)) + 1
    sheet.say("variance_shares", held=held, most=most)
    sheet.picture("variance", scatter_plots.widths(held))
    X = points.features.astype(np.float64)
    spread = ((X - X.mean(axis=0)) ** 2).sum()
    worst = float(np.abs(projections.rebuilt(components, len(held)) - X).max() / np.abs(X).max())
    sheet.claim("rebuilt", worst < 1e-9, worst=worst)
    lost = [((projections.rebuilt(components, k) - X) ** 2).sum() / spread for k in (2, 3)]
    off = max(abs(1 - part - held[k - 1]) for part, k in zip(lost, (2, 3), strict=True))
    sheet.claim("left_out", off < 1e-9, lost=lost)
    other = np.random.default_rng(projections.MAP_SEED).permutation(len(X))
    again = projections.principal(points.features[other]).at[:, :3]
    moved = float(np.abs(again - components.at[other, :3]).max() / np.abs(again).max())
    sheet.claim("any_order", moved < 1e-6, moved=moved)


def _tsne(sheet: Sheet, points: Cloud, maps: Mapping[str, Floats]) -> None:
    sheet.say("tsne", kept=projections.KEPT)
    sheet.code(projections.tsne)
    sheet.say("trustworthiness", near=NEAR)
    near = min(NEAR, (len(points.rows) - 1) // 2)
    X = points.features
    trust = {name: trustworthiness(X, at, n_neighbors=near) for name, at in maps.items()}
    sheet.say("trust_table", trust=trust)
    ours, flat = trust[_name("t-SNE", 2)], trust[_name("PCA", 2)]
    sheet.claim("tsne_keeps", ours > max(flat, TRUST), least=TRUST, ours=ours, flat=flat)


def _neighbours(sheet: Sheet, points: Cloud) -> None:
    sheet.say("neighbours_intro", points=points, near=NEAR)
    sheet.code(neighbourhoods.class_shares, neighbourhoods.expected_shares)
    targets = points.every.targets
    every = np.ones(len(targets), dtype=bool)
    nearest = clean.nearest(points.every.pooled, points.groups, points.rows, every)
    near = [some[:NEAR] for some in nearest]
    shares = neighbourhoods.class_shares(near, targets[points.rows], targets)
    chance = neighbourhoods.expected_shares(points.rows, targets, points.groups)
    counts = scatter_plots.neighbour_counts(shares, points.wrong, float(chance.mean()), NEAR)
    sheet.picture("neighbours", counts)
    new = np.array(points.sides) != "train"
    halves = [(shares[some].mean(), chance[some].mean()) for some in (np.full(len(new), True), new)]
    often = all(share > (1 + luck) / 2 for share, luck in halves)
    sheet.claim("neighbours_share", often, halves=halves, new=new.sum())
    predicted_shares = neighbourhoods.class_shares(near, points.answers[points.rows], targets)
    _mistakes(sheet, shares, predicted_shares, points.wrong)


def _mistakes(
    sheet: Sheet, shares: Floats, predicted_shares: Floats, wrong: NDArray[np.bool_]
) -> None:
    """Shares (m,) of neighbours of the photo's own class, and of the predicted one."""
    if wrong.sum() < FEW_MISTAKES:
        sheet.say("few_mistakes", wrong=wrong.sum())
        return
    sheet.code(neighbourhoods.permutation_p)
    means = {"bad": shares[wrong].mean(), "good": shares[~wrong].mean()}
    rare = neighbourhoods.permutation_p(shares, wrong)
    counts = {"wrong": wrong.sum(), "draws": neighbourhoods.RANDOM_SETS}
    mixed = means["bad"] < means["good"] and rare < 0.01
    sheet.claim("mixed_neighbourhoods", mixed, rare=rare, **means, **counts)
    sheet.say("look_first", share=predicted_shares[wrong].mean())


def _export(sheet: Sheet, points: Cloud) -> None:
    sheet.say("projector")
    sheet.code(tensorboard_projector.tensors, tensorboard_projector.metadata)
    sheet.say("files", config=tensorboard_projector.CONFIG)
    labels, answers = points.every.targets[points.rows], points.answers[points.rows]
    texts = [
        [points.labels[label], points.labels[answer], side, file]
        for label, answer, side, file in zip(
            labels, answers, points.sides, points.files, strict=True
        )
    ]
    numbers = tensorboard_projector.tensors(points.features)
    metadata = tensorboard_projector.metadata(texts)
    sheet.file("tensors.tsv", numbers)
    sheet.file("metadata.tsv", metadata)
    sheet.file(tensorboard_projector.CONFIG, tensorboard_projector.projector_config("map-"))
    back = tensorboard_projector.read_tensors(numbers)
    rows = tensorboard_projector.read_metadata(metadata)
    same = np.array_equal(back, points.features) and rows == texts
    sheet.claim("read_back", same, back=back, rows=rows, points=points)
