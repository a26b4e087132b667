"""How many answers does it take? Labels of photos are hidden, and a simulated reviewer answers.

The photos of a dataset that has a first model are divided by groups: a third is held out, the rest
begins without a label. The reviewer is asked about ten photos at a time, those that `bears label`
shows, and knows the truth. Then a probe learns from the answers, as `bears probe` does, and is
judged on what was held out; beside it one with twice as many random answers, and others that are
asked in other ways. Paired by seed: all of them have the same photos held out.

    bears run --source folder:PHOTOS --until probe
    .venv/bin/python benchmarks/labelling.py data/bears [--seeds 5] [--answers 100]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.judge import label
from bear_classifier.judge.predictions import load_evidence
from bear_classifier.runtime.shards import StoredRows
from bear_classifier.stats import active_learning, linear_probe

STEP, HELD_OUT = 10, 0.35
Ask = Callable[["Round", int], list[int]]


@dataclasses.dataclass
class Round:
    """What is known at one time: photos without a label have "" there; rng: of this seed."""

    photos: list[Photo]
    features: NDArray[np.float32]
    labels: list[str]
    rng: np.random.Generator

    def open(self) -> NDArray[np.int64]:
        return np.array([i for i, p in enumerate(self.photos) if not p.label])

    def chances(self) -> NDArray[np.float64] | None:
        """Of the open photos, once each class has an answer."""
        seen = sorted({p.label for p in self.photos if p.label})
        if len(seen) < len(self.labels):
            return None
        given = [photo.label for photo in self.photos]
        return label._chances(self.features, given, seen)[self.open()]


def ours(now: Round, n: int) -> list[int]:
    """As `bears label` asks."""
    names = [photo.sha256 for photo in now.photos]
    pool = label.Pool(StoredRows.in_memory(names, features=now.features))
    waiting = label.Asked(names, [photo.label for photo in now.photos])
    return [names.index(one.sha256) for one in label.proposals(waiting, now.labels, pool, n)]


def random(now: Round, n: int) -> list[int]:
    return now.rng.choice(now.open(), n, replace=False).tolist()


def coverage(now: Round, n: int) -> list[int]:
    """Those that cover all others, to the end."""
    unit = active_learning.directions(now.features)
    has_label = np.array([bool(photo.label) for photo in now.photos])
    return active_learning.covering(unit, has_label, n).tolist()


def margins(now: Round, n: int) -> list[int]:
    """The smallest margins, however alike the photos are."""
    chances = now.chances()
    if chances is None:
        return random(now, n)
    order = np.argsort(active_learning.margins(chances), kind="stable")
    return now.open()[order[:n]].tolist()


def badge(now: Round, n: int) -> list[int]:
    """k-means++ on gradients of the last layer (Ash and others, ICLR 2020)."""
    chances, open_ = now.chances(), now.open()
    if chances is None:
        return random(now, n)
    unit = active_learning.directions(now.features)[open_]
    pull = chances.copy()
    pull[np.arange(len(pull)), chances.argmax(1)] -= 1
    size = (pull**2).sum(1) * (unit**2).sum(1)

    def apart(i: int) -> NDArray[np.float64]:
        return np.maximum(0, size + size[i] - 2 * (pull @ pull[i]) * (unit @ unit[i]))

    chosen = [int(size.argmax())]
    near = apart(chosen[0])
    while len(chosen) < n:
        chosen.append(int(now.rng.choice(len(near), p=near / near.sum())))
        near = np.minimum(near, apart(chosen[-1]))
    return open_[chosen].tolist()


WAYS: dict[str, Ask] = {
    "bears label": ours,
    "random": random,
    "coverage": coverage,
    "margins": margins,
    "BADGE": badge,
}


def wrong(
    photos: list[Photo], features: NDArray[np.float32], ask: Ask, answers: int, seed: int
) -> float:
    """The share of held-out photos that a probe on so many answers gets wrong."""
    labels = sorted({photo.label for photo in photos})
    truth = np.array([labels.index(photo.label) for photo in photos])
    groups = np.unique([photo.family for photo in photos], return_inverse=True)[1]
    dice = np.random.default_rng([7, seed])
    held = (dice.random(groups.max() + 1) < HELD_OUT)[groups]
    at = np.flatnonzero(~held)
    hidden = [dataclasses.replace(photos[i], label="", status="unlabelled", split=None) for i in at]
    now = Round(hidden, features[at], labels, np.random.default_rng([seed, 1]))
    while (known := sum(bool(photo.label) for photo in now.photos)) < answers:
        for i in ask(now, min(STEP, answers - known)):
            told = labels[truth[at[i]]]
            now.photos[i] = dataclasses.replace(now.photos[i], label=told, status="ok")
    rows = at[[bool(photo.label) for photo in now.photos]]
    folds = linear_probe.n_folds(truth[rows], groups[rows], 5)
    strength = linear_probe.choose_strength(features[rows], truth[rows], groups[rows], folds)
    model = linear_probe.fit_linear(strength, features[rows], truth[rows])
    return float((model.predict(features[held]) != truth[held]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a dataset whose first model is made")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--answers", type=int, default=100)
    options = parser.parse_args()
    with Catalog(options.data) as catalog:
        evidence = load_evidence(options.data)
        rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
        photos = [p for p in catalog.photos("ok") if p.sha256 in rows]
    features = evidence.features[[rows[photo.sha256] for photo in photos]]
    seeds, twice = range(options.seeds), 2 * options.answers
    print(f"{len(photos)} photos, {options.seeds} seeds, {STEP} answers at a time\n")
    base = [wrong(photos, features, random, twice, seed) for seed in seeds]
    print(f"{'random':12} {twice:4} answers: {statistics.mean(base):6.2%} wrong")
    for name, ask in WAYS.items():
        began = time.monotonic()
        found = [wrong(photos, features, ask, options.answers, seed) for seed in seeds]
        pairs = list(zip(found, base, strict=True))
        fewer, more = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
        print(
            f"{name:12} {options.answers:4} answers: {statistics.mean(found):6.2%} wrong;"
            f" fewer than {twice} random ones with {fewer} seeds, more with {more};"
            f" {(time.monotonic() - began) / options.seeds:.1f} s a seed",
            flush=True,
        )


if __name__ == "__main__":
    main()
