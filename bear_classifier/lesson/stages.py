"""Transfer in stages, and why the head learns first."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.judge.charts import BLUE, GREY, ORANGE, panels, png, title
from bear_classifier.learn import probe
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.loaders import Unreadable
from bear_classifier.learn.lr import undisturbed
from bear_classifier.learn.parts import LastStage, part_of
from bear_classifier.lesson.pages import TITLES
from bear_classifier.lesson.sheet import Page, Sheet
from bear_classifier.lesson.subject import Subject

FEW = 10  # photos of each class, of the task
SEEDS = tuple(range(6))
RATE, BATCH = 1e-3, 16
HEAD_EPOCHS, EPOCHS, RELATED = 20, 8, 4
METHODS = ("head only", "all at once", "head, then all")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Maps:
    """What the early layers make of photos, which no stage here changes. start: the last stage and
    a head; x: (n, c, h, w); y: (n,) class numbers; train: rows to learn from; asked: the others."""

    start: Classifier
    x: Tensor
    y: Tensor
    train: NDArray[np.intp]
    asked: NDArray[np.intp]


def maps(subject: Subject) -> Maps:
    """Of all usable photos, by the weights that training began from."""
    photos = [photo for photo in subject.catalog.photos("ok") if photo.split]
    settings = dataclasses.replace(subject.config.train, layers="last-stage", epochs=1)
    config = dataclasses.replace(subject.config, train=settings)
    with undisturbed():
        network = probe.network(config, None)
        bad = Unreadable(len(photos))
        part, _ = part_of(subject.catalog, config, network, photos, bad)
    assert isinstance(part, LastStage)
    there = [photo for photo in photos if photo.sha256 in part.row]
    x = torch.from_numpy(part.plain[[part.row[photo.sha256] for photo in there]])
    y = torch.tensor([config.labels.index(photo.label) for photo in there])
    train = np.array([photo.split == "train" for photo in there])
    return Maps(part.model.eval(), x, y, np.flatnonzero(train), np.flatnonzero(~train))


def fresh(start: Classifier, x: Tensor, classes: int, seed: int) -> Classifier:
    """The body with a new head: features are standardised as these photos have them, the weights
    are small and random. x: (n, c, h, w)."""
    model = copy.deepcopy(start)
    model.head[-1] = nn.Linear(model.n_features, classes)
    pooled = features(model, x)
    dice = torch.Generator().manual_seed(seed)
    weight = 0.01 * torch.randn(classes, model.n_features, generator=dice)
    model.start_head(pooled.mean(0), pooled.var(0), weight, torch.zeros(classes))
    return model.eval()


def features(model: Classifier, x: Tensor) -> Tensor:
    """Pooled features (n, f)."""
    with torch.inference_mode():
        return torch.cat([model.outputs(part)[1] for part in x.split(64)]).clone()


def learned(
    model: Classifier, x: Tensor, y: Tensor, epochs: int, seed: int, head_only: bool
) -> Classifier:
    """A copy that learned from these, its normalisations fixed; at a falling rate."""
    model = copy.deepcopy(model).eval()
    model.body.requires_grad_(not head_only)
    parameters = [p for p in model.parameters() if p.requires_grad]
    steps = epochs * -(-len(x) // BATCH)
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=0.01)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    dice = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=dice).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
            fall.step()
    return model.requires_grad_(True)


def wrong(model: Classifier, x: Tensor, y: Tensor) -> NDArray[np.bool_]:
    """(n,)."""
    with torch.inference_mode():
        said = torch.cat([model(part).argmax(1) for part in x.split(64)])
    return np.asarray((said != y).numpy())


def moved(before: Tensor, after: Tensor) -> float:
    """How far features moved, as a share of how far photos lie apart: root mean square of the
    changes over that of the distances from the mean. before, after: (n, f)."""
    return float((after - before).norm() / (before - before.mean(0)).norm())


def few_of(found: Maps, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """FEW rows of each class for the task, and all others of the training side."""
    dice = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in found.y.unique():
        mine = found.train[(found.y[found.train] == label).numpy()]
        chosen += dice.permutation(mine)[:FEW].tolist()
    few = np.array(sorted(chosen))
    return few, np.setdiff1d(found.train, few)


def trial(found: Maps, method: str, start: Classifier, seed: int) -> Classifier:
    """The task by one of METHODS, from a body."""
    few, _ = few_of(found, seed)
    x, y = found.x[few], found.y[few]
    model = fresh(start, x, int(found.y.max()) + 1, seed)
    if method != "all at once":
        model = learned(model, x, y, HEAD_EPOCHS, seed, head_only=True)
    return model if method == "head only" else learned(model, x, y, EPOCHS, seed, head_only=False)


def related(found: Maps, seed: int) -> Classifier:
    """A body that learned another question on many photos: the first class, or one of the others?"""
    _, many = few_of(found, seed)
    x, y = found.x[many], (found.y[many] > 0).long()
    model = learned(fresh(found.start, x, 2, seed), x, y, HEAD_EPOCHS // 4, seed, head_only=True)
    return learned(model, x, y, RELATED, seed, head_only=False)


def interval(differences: Floats, seed: int = 0) -> tuple[float, float]:
    """95 % by the bootstrap over seeds and photos at once. differences: (seeds, photos) of -1 to 1."""
    dice = np.random.default_rng(seed)
    runs, photos = differences.shape
    means = [
        differences[dice.integers(runs, size=runs)][:, dice.integers(photos, size=photos)].mean()
        for _ in range(1000)
    ]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def page(subject: Subject) -> Page:
    sheet = Sheet("stages", TITLES["stages"])
    found = maps(subject)
    classes = ", ".join(subject.config.labels)
    sheet.say(
        f"The task: {classes}, from {FEW} photos of each. So few cannot teach a network to see; it"
        " has to bring that along. Below, only the last stage of the network and the head learn,"
        f" and each figure is of {len(found.asked)} photos that nothing learned from, with"
        f" {len(SEEDS)} draws of the few."
    )
    direct = _methods(sheet, found)
    _staged(sheet, subject, found, direct)
    return sheet.page()


def _methods(sheet: Sheet, found: Maps) -> NDArray[np.bool_]:
    """Returns errors (seeds, photos) of the last method."""
    sheet.head("Why the head learns first")
    sheet.code(fresh, learned, trial, moved)
    asked_x, asked_y = found.x[found.asked], found.y[found.asked]
    before = features(found.start, asked_x)
    errors: dict[str, list[NDArray[np.bool_]]] = {m: [] for m in METHODS}
    shifts: dict[str, list[float]] = {m: [] for m in METHODS}
    for method in METHODS:
        for seed in SEEDS:
            model = trial(found, method, found.start, seed)
            errors[method].append(wrong(model, asked_x, asked_y))
            shifts[method].append(moved(before, features(model, asked_x)))
    rows = [[m, f"{np.mean(errors[m]):.1%}", f"{np.mean(shifts[m]):.3f}"] for m in METHODS]
    sheet.table(["method", "wrong", "how far the features moved"], rows)
    sheet.picture("methods", _bars(errors, shifts), "Errors, and how far the features moved")
    once, first = (np.array(shifts[m]) for m in METHODS[1:])
    sheet.claim(
        "a head that knows nothing drags the features away: all at once moves them further than"
        " after the head has learned (LP-FT, arXiv 2202.10054), in every draw",
        bool((once > first).all()),
        f"moved by {once.mean():.3f} and {first.mean():.3f} of the distance between photos",
    )
    difference = np.array(errors[METHODS[1]], dtype=float) - np.array(errors[METHODS[2]])
    low, high = interval(difference)
    sheet.claim(
        "and it is no better for it: after the head, no more photos are wrong than all at once",
        low > -0.02,
        f"{difference.mean():+.1%} more wrong all at once (95 % {low:+.1%} to {high:+.1%})",
    )
    return np.array(errors[METHODS[2]])


def _staged(sheet: Sheet, subject: Subject, found: Maps, direct: NDArray[np.bool_]) -> None:
    sheet.head("A stage in between")
    first, *others = subject.config.labels
    sheet.say(
        f"Many more photos are there, but with another question: is it {first}, or one of"
        f" {', '.join(others)}? Learning that first, and then the task from the few, is transfer in"
        " stages."
    )
    sheet.code(related)
    asked_x, asked_y = found.x[found.asked], found.y[found.asked]
    staged = np.array(
        [wrong(trial(found, METHODS[2], related(found, s), s), asked_x, asked_y) for s in SEEDS]
    )
    difference = direct.astype(float) - staged
    low, high = interval(difference)
    sheet.table(
        ["way", "wrong"],
        [["direct", f"{direct.mean():.1%}"], ["in stages", f"{staged.mean():.1%}"]],
    )
    sheet.claim(
        "a related question on many photos helps the task on few",
        low > 0,
        f"{difference.mean():+.1%} more wrong without it (95 % {low:+.1%} to {high:+.1%}, over"
        f" draws and photos)",
    )


def _bars(errors: dict[str, list[NDArray[np.bool_]]], shifts: dict[str, list[float]]) -> bytes:
    figure, (left, right) = panels(3.0, 2)
    for axes, values, words in (
        (
            left,
            {m: [float(e.mean()) for e in errors[m]] for m in METHODS},
            "Share of wrong answers",
        ),
        (right, shifts, "How far the features moved"),
    ):
        for number, method in enumerate(METHODS):
            axes.plot([number] * len(values[method]), values[method], "o", color=GREY, ms=5)
            axes.plot(number, np.mean(values[method]), "_", color=(BLUE, ORANGE, BLUE)[number], ms=34,
                      mew=3)  # fmt: skip
        axes.set_xticks(range(len(METHODS)), METHODS)
        axes.set_xlim(-0.5, len(METHODS) - 0.5)
        axes.set_ylim(bottom=0)
        title(axes, words)
    return png(figure)
