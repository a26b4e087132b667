"""Whose queue finds labels that were changed on purpose?

Labels of a dataset are changed at random (5, 10, 20 %; three seeds). Three ways look for them: the
queue of `bears review`, cleanlab's default filter on the same out-of-fold probabilities, and, with
--lesson, the losses of the course's recipe after its own training: its cleaning tool sorts by them.
Precision and recall at the number planted; a filter has its own size. Faults that were there before
count as false alarms for everybody.

    bears run --source starter --until probe
    .venv/bin/python benchmarks/cleaning.py data/starter [--lesson N] [--json FILE]
    .venv/bin/python benchmarks/cleaning.py data/starter --reviewer [--others DATA] [--without CSV]
    .venv/bin/python benchmarks/cleaning.py data/bears --audit docs/bears-audit.csv

--reviewer: somebody who knows the truth looks at the queue in batches of ten, and it is ranked anew
after each; beside it the order without decisions. Faults of three kinds are planted: labels at
random, 30 look-alikes of one class under another, and photos of another dataset of the same weights
(--others: drawings, objects) under any class. Also: how many faults are said to be left, and are.

--audit CSV: the same reviewer on the real faults of a dataset, a table of their hashes (sure: yes
where nobody would call the photo right).

--lesson N: train on at most N photos of each class, shrunk to 400 pixels once, as the course does;
that takes about 0.3 s for each photo, rate and seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from cleaning_data import FOLDS, Data, doubts, plant, read
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.photo_columns import Hashes, photo_columns
from bear_classifier.dataset.schema import Event
from bear_classifier.judge import clean
from bear_classifier.judge.learned_order import OrderEvidence, combined
from bear_classifier.review.progress import chances_left
from bear_classifier.stats import fault_model, likeness, linear_probe

RATES, SEEDS = (0.05, 0.10, 0.20), (0, 1, 2)
BATCH, LOOK_ALIKES = 10, 30
LOOKED = (50, 100, 200)  # photos after which the faults left are counted
AUDITED = 109  # photos: the first ones of a real dataset, and twice as many
Seen = list[tuple[float, bool]]  # chance before it was looked at, and whether it was a fault


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
    one, doubt, strange, _ = doubts(replace(data, targets=labels), strength)
    return {
        "bears, reason label": measured(first(doubt, number), planted),
        "bears, whole queue": measured(first(combined([doubt, strange]), number), planted),
        "cleanlab, its filter": measured(find_label_issues(labels, one), planted),
    }


def random_labels(data: Data, _: Data | None, seed: int) -> tuple[Data, NDArray[np.bool_]]:
    changed, wrong = plant(data.targets, 0.05, seed)
    return replace(data, targets=changed), wrong


def look_alikes(data: Data, _: Data | None, seed: int) -> tuple[Data, NDArray[np.bool_]]:
    """A photo and those of its class most like it stand under the next class."""
    one = int(np.random.default_rng(seed).integers(len(data.targets)))
    unit = likeness.unit(data.features - data.features.mean(0))
    alike = np.where(data.targets == data.targets[one], unit @ unit[one], -np.inf)
    wrong = first(alike, LOOK_ALIKES)
    turned = (data.targets + 1) % (data.targets.max() + 1)
    return replace(data, targets=np.where(wrong, turned, data.targets)), wrong


def other_pictures(data: Data, others: Data | None, seed: int) -> tuple[Data, NDArray[np.bool_]]:
    assert others is not None
    dice = np.random.default_rng(seed)
    rows = dice.choice(len(others.targets), LOOK_ALIKES * 2, replace=False)
    labels = dice.integers(0, data.targets.max() + 1, len(rows))
    more = replace(
        data,
        paths=[*data.paths, *(others.paths[i] for i in rows)],
        features=np.concatenate([data.features, others.features[rows]]),
        targets=np.concatenate([data.targets, labels]),
        groups=np.concatenate([data.groups, data.groups.max() + 1 + np.arange(len(rows))]),
    )
    return more, np.arange(len(more.targets)) >= len(data.targets)


def judge(data: Data, strength: float) -> OrderEvidence:
    """The evidence on these photos by these labels."""
    labels, every = data.targets, np.ones(len(data.targets), dtype=bool)
    _, doubt, strange, small = doubts(data, strength)
    total = combined([doubt, strange])
    near = fault_model.within_class(small, labels, every)
    names = Hashes.of([f"{i:064x}" for i in range(len(labels))])
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    return OrderEvidence(names, classes, labels, total, total, data.groups, every, near, every)


def review(
    evidence: OrderEvidence, wrong: NDArray[np.bool_], most: int
) -> tuple[list[bool], list[float]]:
    """Which of the photos looked at, at least `most`, were faults, in their order, and the faults
    said to be left over those that are, after 50, 100 and 200."""
    made: dict[str, Event] = {}
    looked, seen, ratios = np.zeros(len(wrong), dtype=bool), Seen(), list[float]()
    while True:
        order = evidence.after(made)
        left = order.rows[~looked[order.rows]]
        if len(made) in LOOKED:
            said = chances_left(seen, order.chances[left]).sum()
            ratios.append(float(said) / max(1, int(wrong[left].sum())))
        if len(made) >= min(max(*LOOKED, most), len(wrong)):
            return [fault for _, fault in seen], ratios
        for row in left[:BATCH].tolist():
            name, chance = evidence.hashes.at(row), float(order.chances[row])
            looked[row] = True
            seen.append((chance, bool(wrong[row])))
            action, label = "drop" if wrong[row] else "keep", evidence.classes[evidence.before[row]]
            made[name] = Event(0, "", "reviewer", action, name, "", label, "", score=chance)


def chosen_strength(root: Path) -> float:
    """C of the first model."""
    with np.load(root / "probe" / "probabilities.npz") as file:
        return float(file["strength"])


def table_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reviewer(options: argparse.Namespace) -> None:
    """Static order and that which learns, paired: each pair has the same planted faults."""
    without = {row["sha256"] for row in table_rows(options.without)} if options.without else set()
    data = read(options.data, without=without)
    others = read(options.others) if options.others else None
    strength = chosen_strength(options.data)
    kinds = {"random labels": random_labels, "30 look-alikes": look_alikes}
    if others:
        kinds["other pictures"] = other_pictures
    print(f"{len(data.targets)} photos; faults found among the first n and 2n for n planted\n")
    print(f"{'kind':16} seed    n   static      learns      left, said / true after 50, 100, 200")
    for kind, planted in kinds.items():
        for seed in SEEDS[: options.seeds]:
            mixed, wrong = planted(data, others, seed)
            evidence = judge(mixed, strength)
            n = int(wrong.sum())
            print(f"{kind:16} {seed:4} {n:4} {line(evidence, wrong, n)}", flush=True)


def line(evidence: OrderEvidence, wrong: NDArray[np.bool_], n: int) -> str:
    """Faults among the first n and 2n, static and learning, and the ratios of `review`."""
    static = wrong[evidence.after({}).rows].tolist()
    found, ratios = review(evidence, wrong, 2 * n)
    pairs = [f"{sum(a[:n]):4} {sum(a[: 2 * n]):4}" for a in (static, found)]
    return f"{pairs[0]}   {pairs[1]}   {' '.join(f'{ratio:5.2f}' for ratio in ratios)}"


def audited(options: argparse.Namespace) -> None:
    """The dataset as it is, by the order that `bears clean --list` has."""
    rows = table_rows(options.audit)
    with Catalog(options.data) as catalog:
        labels = sorted({photo.label for photo in catalog.photos("ok")})
        config = build({"classes": {label: [label] for label in labels}}, where="benchmark")
        evidence = clean.judged(catalog, config, {}, photo_columns(catalog)).evidence
    print(f"{len(evidence.hashes)} photos; among the first {AUDITED} and {2 * AUDITED}\n")
    print("faults        n   static      learns      left, said / true after 50, 100, 200")
    for name, wanted in (("sure", {"yes"}), ("all", {"yes", "no"})):
        faults = {row["sha256"] for row in rows if row["sure"] in wanted}
        names = evidence.hashes.some(np.arange(len(evidence.hashes)))
        wrong = np.array([name in faults for name in names])
        print(f"{name:10} {wrong.sum():4} {line(evidence, wrong, AUDITED)}", flush=True)


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
    parser.add_argument("--reviewer", action="store_true", help="the order that learns")
    parser.add_argument("--others", type=Path, help="a dataset of other pictures, same weights")
    parser.add_argument("--audit", type=Path, help="a table of the faults of the dataset")
    parser.add_argument("--without", type=Path, help="a table of photos to leave out, by sha256")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.reviewer or options.audit:
        audited(options) if options.audit else reviewer(options)
        return
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
