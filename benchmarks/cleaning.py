"""Whose queue finds labels that were changed on purpose?

Labels of a dataset are changed at random (5, 10, 20 %; three seeds). Three ways look for them: the
queue of `bears review`, cleanlab's default filter on the same out-of-fold probabilities, and, with
--lesson, the losses of the course's recipe after its own training: its cleaning tool sorts by them.
Precision and recall at the number planted; a filter has its own size. Faults that were there before
count as false alarms for everybody.

    bears run --source starter --until probe
    .venv/bin/python benchmarks/cleaning.py data/starter [--lesson N] [--json FILE]

--lesson N: train on at most N photos of each class, shrunk to 400 pixels once, as the course does;
that takes about 0.3 s for each photo, rate and seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.judge import clean
from bear_classifier.stats import linear_probe

RATES, SEEDS, FOLDS = (0.05, 0.10, 0.20), (0, 1, 2), 5


@dataclass(frozen=True)
class Data:
    paths: list[Path]
    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    classifier: tuple[NDArray[np.float32], NDArray[np.float32]] | None


def read(root: Path, most: int | None, seed: int = 0) -> Data:
    """most: photos of each class."""
    with Catalog(root) as catalog:
        photos = catalog.photos("ok")
        paths = [catalog.file(photo) for photo in photos]
    evidence = clean.load_evidence(root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    labels = sorted({photo.label for photo in photos})
    targets = np.array([labels.index(photo.label) for photo in photos])
    kept = np.arange(len(photos))
    if most:
        dice = np.random.default_rng(seed).permutation(len(photos))
        kept = np.sort(np.concatenate([dice[targets[dice] == c][:most] for c in set(targets)]))
    groups = np.unique([p.group for p in photos], return_inverse=True)[1]
    features = evidence.features[[rows[p.sha256] for p in photos]]
    return Data(
        [paths[i] for i in kept], features[kept], targets[kept], groups[kept], evidence.classifier
    )


def plant(
    targets: NDArray[np.int64], rate: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels with a share of them changed to another class, and which."""
    dice, classes = np.random.default_rng(seed), int(targets.max()) + 1
    chosen = dice.choice(len(targets), round(rate * len(targets)), replace=False)
    changed = targets.copy()
    changed[chosen] = (targets[chosen] + dice.integers(1, classes, len(chosen))) % classes
    return changed, changed != targets


def measured(found: NDArray[np.bool_], planted: NDArray[np.bool_]) -> tuple[float, float]:
    hits = (found & planted).sum()
    return float(hits / max(1, found.sum())), float(hits / planted.sum())


def first(scores: NDArray[np.float64], number: int) -> NDArray[np.bool_]:
    found = np.zeros(len(scores), dtype=bool)
    found[np.argsort(-scores, kind="stable")[:number]] = True
    return found


def compare(data: Data, rate: float, seed: int) -> dict[str, tuple[float, float]]:
    labels, planted = plant(data.targets, rate, seed)
    number = int(planted.sum())
    strength = linear_probe.choose_strength(data.features, labels, data.groups, FOLDS)
    one = linear_probe.out_of_fold(data.features, labels, data.groups, FOLDS, strength)
    two = linear_probe.out_of_fold(
        data.features, labels, data.groups, FOLDS, strength, linear_probe.trusted(one, labels)
    )
    doubt = 1 - two[np.arange(len(labels)), labels]
    every = np.ones(len(labels), dtype=bool)
    strange = clean.outlier(data.features, labels, data.groups, every, data.classifier)
    return {
        "bears, reason label": measured(first(doubt, number), planted),
        "bears, whole queue": measured(first(clean.combined([doubt, strange]), number), planted),
        "cleanlab, its filter": measured(find_label_issues(labels, one), planted),
    }


def lesson(data: Data, rate: float, seed: int, weights: Path) -> tuple[float, float]:
    """The losses of all photos after a training on them with the wrong labels."""
    from lesson import answers  # torch takes seconds

    labels, planted = plant(data.targets, rate, seed)
    said = answers(data.paths, labels, np.ones(len(labels), dtype=bool), seed, weights)
    own = said[np.arange(len(labels)), labels]
    return measured(first(-np.log(own + 1e-9), int(planted.sum())), planted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a dataset whose first model is made")
    parser.add_argument("--lesson", type=int, metavar="N", help="train on N photos of each class")
    parser.add_argument("--weights", type=Path, help="of mobilenet_v2, for --lesson")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = read(options.data, options.lesson)
    folder = tempfile.TemporaryDirectory()
    if options.lesson:
        from lesson import shrunk

        data = replace(data, paths=shrunk(data.paths, Path(folder.name)))
    table: dict[str, dict[float, list[tuple[float, float]]]] = {}
    for rate in RATES:
        for seed in SEEDS[: options.seeds]:
            found = compare(data, rate, seed)
            if options.lesson:
                found["the lesson's losses"] = lesson(data, rate, seed, options.weights)
            for name, value in found.items():
                table.setdefault(name, {}).setdefault(rate, []).append(value)
            said = ", ".join(f"{name} {value[0]:.3f}" for name, value in found.items())
            print(f"{time.strftime('%H:%M:%S')} {rate:.0%}, seed {seed}: {said}", file=sys.stderr)
            if options.json:
                options.json.write_text(json.dumps(table), encoding="utf-8")
    print(f"\n{len(data.targets)} photos, {options.seeds} seeds; precision / recall\n")
    print(f"{'':22}" + "".join(f"{rate:>16.0%}" for rate in RATES))
    for name, rates in table.items():
        cells = [
            " / ".join(f"{statistics.mean(v):.3f}" for v in zip(*values, strict=True))
            for values in rates.values()
        ]
        print(f"{name:22}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
