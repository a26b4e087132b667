"""Learning curve: the probe on growing subsets of the photos.

Each seed holds out a fifth of train and valid (`probe.folds`) and learns from parts of the rest,
each part within the next. Validation alone would be too little: of 231 photos nine were wrong,
give or take six. Folds ask all of train and valid; the largest part is about the train split. The
test split is never asked: it judges the final model. The strength is that of the probe, chosen
once: it is a prior on the weights, which does not depend on the number of photos, and choosing it
in every fit would take 30 times as long.

A class alone is judged by the errors of all classes. Its own recall would flatter: a class that
grows is named more often, rightly and wrongly. For the same reason taking photos of one class away
hurts more than adding some would help, so it is not believed to bring more than all together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.engine.choice import each
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.experiments.curve import power_law as law
from bear_classifier.experiments.curve.text import answer
from bear_classifier.judge.predictions import load_evidence
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.processors import processors
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Bools, Floats, Ints
from bear_classifier.stats.intervals import percentile_interval
from bear_classifier.stats.linear_probe import choose_strength, model, n_folds

LEAST_TRAIN_PHOTOS = 20  # different photos of a class on the train split; fewer make no curve
_SIZES = 6  # of all photos together
_SIZES_OF_CLASS = 4  # where one class alone grows; costly, for all others are complete
_ROUNDS = 1000  # samples of the same photos and seeds
_GRID = 60  # points of the drawn curve
_WORKERS = 4
_ALIKE = 0.8  # of the gain of the best class
_FAR = (1.5, 2.0, 3.0)  # times the present number, in the table of predictions


@dataclass(frozen=True)
class ProbeData:
    """The photos of train and valid. features: (n, f); labels, groups: (n,)."""

    features: NDArray[np.float32]
    labels: Ints
    groups: NDArray[np.str_]
    names: list[str]  # of the classes


@dataclass(frozen=True)
class SubsetErrors:
    """wrong: (seeds, subsets, n); tested: (seeds, n); learned: (seeds, subsets, classes) photos of
    each class in a subset. The first `_SIZES` subsets are of all classes alike."""

    wrong: Bools
    tested: Bools
    learned: Ints


def growth(
    catalog: Catalog, config: Config, seeds: int = 10, more: int | None = None, half: bool = False
) -> dict[str, Any]:
    """Measure, fit and extrapolate; leaves curve/curve.json and curve.png. half: only the check of
    the law.

    Raises DataError (NOT_PROBED, TOO_FEW_PHOTOS), ConfigError (BAD_SETTING, TOO_FAR)."""
    if seeds < 2:
        raise ConfigError("BAD_SETTING", f"--seeds is {seeds}; it takes at least 2 to see chance")
    if more is not None and more < 1:
        raise ConfigError("BAD_SETTING", f"--more is {more}; ask for at least 1 photo")
    data, present = probe_data(catalog, config)
    folds = n_folds(data.labels, data.groups, config.probe.folds)
    if more is not None:  # before the work, not after
        law.predicted(np.zeros((1, 3)), present, np.array([present + more]))
    run = catalog.last_run("probe")
    strength = run.outcome.get("strength") if run else None
    if strength is None:
        strength = choose_strength(data.features, data.labels, data.groups, folds)
    with threadpool_limits(1):  # several threads in one small fit only wait for each other
        if config.engine.name == "local":
            results = measure_subsets(data, folds, range(seeds), strength, alone=not half)
        else:
            results = measure_on_engine(catalog, config, folds, seeds, strength, alone=not half)
        summary = summarise_runs(results, data, more, half)
    outcome = {"seeds": seeds, "strength": strength, **summary}
    if not half:
        from bear_classifier.experiments.curve.plot import draw

        outcome["verdict"] = answer(outcome)
        write_atomic(catalog.root / "curve" / "curve.json", json.dumps(outcome).encode())
        write_atomic(catalog.root / "curve" / "curve.png", draw(outcome))
    return outcome


def probe_data(catalog: Catalog, config: Config) -> tuple[ProbeData, int]:
    """Usable photos of train and valid, and how many there are on train."""
    evidence = load_evidence(catalog.root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    photos = [
        p
        for p in catalog.photos("ok")
        if p.sha256 in rows and p.split in ("train", "valid") and p.label in config.labels
    ]
    for label in config.labels:
        mine = {p.family for p in photos if p.label == label and p.split == "train"}
        if len(mine) < LEAST_TRAIN_PHOTOS:
            raise DataError(
                "TOO_FEW_PHOTOS",
                f"class {label!r} has {len(mine)} different photos in the train split, and a curve"
                f" needs {LEAST_TRAIN_PHOTOS}; more of them would certainly help",
            )
    labels = np.array([config.labels.index(p.label) for p in photos])
    groups = np.array([p.family for p in photos])
    features = evidence.features[[rows[p.sha256] for p in photos]]
    train = sum(p.split == "train" for p in photos)
    return ProbeData(features, labels, groups, list(config.labels)), train


def measure_subsets(
    data: ProbeData, folds: int, seeds: Sequence[int], strength: float, alone: bool
) -> SubsetErrors:
    """Fit on each subset and test, for each seed. alone: subsets of single classes too."""
    n, classes = len(data.labels), len(data.names)
    shares = _subset_shares(np.bincount(data.labels, minlength=classes), alone)
    wrong = np.zeros((len(seeds), len(shares), n), dtype=bool)
    tested = np.zeros((len(seeds), n), dtype=bool)
    learned = np.zeros((len(seeds), len(shares), classes), dtype=np.int64)
    jobs = []
    parts = law.splits(data.labels, data.groups, folds, seeds)
    for row, (seed, (train, test)) in enumerate(zip(seeds, parts, strict=True)):
        tested[row, test] = True
        rng = np.random.default_rng(seed)
        place, home = law.order_of_photos(data.labels[train], data.groups[train], rng)
        for number, share in enumerate(shares):
            rows = train[law.subset(place, home, share)]
            learned[row, number] = np.bincount(data.labels[rows], minlength=classes)
            jobs.append((row, number, rows, test))

    def work(job: tuple[int, int, Ints, Ints]) -> None:
        row, number, rows, test = job
        fitted = model(strength).fit(data.features[rows], data.labels[rows])
        wrong[row, number, test] = fitted.predict(data.features[test]) != data.labels[test]

    with ThreadPoolExecutor(min(_WORKERS, processors())) as pool:
        list(progress_bar(pool.map(work, jobs), "fits", len(jobs), unit="fit"))
    return SubsetErrors(wrong, tested, learned)


@dataclass(frozen=True)
class SeedTask:
    """One order of the photos, for an engine. root: of the dataset; copy: of its catalog; folds,
    strength, alone: of `measure_subsets`."""

    root: Path
    copy: Path
    config: Config
    folds: int
    strength: float
    alone: bool
    seed: int


def measure_seed(task: SeedTask) -> SubsetErrors:
    with Catalog(task.root, copy=task.copy) as catalog, threadpool_limits(1):
        data, _ = probe_data(catalog, task.config)
        return measure_subsets(data, task.folds, [task.seed], task.strength, task.alone)


def measure_on_engine(
    catalog: Catalog, config: Config, folds: int, seeds: int, strength: float, alone: bool
) -> SubsetErrors:
    """As `measure_subsets`, each seed by a worker. Raises as `each`."""
    root, there = catalog.root.absolute(), config.for_workers()
    with catalog.copied() as copy, progress_bar(total=seeds, desc="orders") as bar:
        tasks = [SeedTask(root, copy, there, folds, strength, alone, seed) for seed in range(seeds)]
        parts: dict[int, SubsetErrors] = {}
        for task, part in each(measure_seed, tasks, config.engine):
            parts[task.seed] = part
            bar.update()
    wrong, tested, learned = (
        np.concatenate([getattr(parts[seed], name) for seed in range(seeds)])
        for name in ("wrong", "tested", "learned")
    )
    return SubsetErrors(wrong, tested, learned)


def _subset_shares(counts: Ints, alone: bool) -> Floats:
    """(subsets, classes): all classes alike; then each alone, its largest subset left out, for that
    is the largest of all classes."""
    shares = [np.full(len(counts), f) for f in law.fractions(int(counts.min()), _SIZES)]
    for label, count in enumerate(counts if alone else []):
        for part in np.geomspace(max(1 / 8, law.LEAST_OF_CLASS / count), 1, _SIZES_OF_CLASS)[:-1]:
            share = np.ones(len(counts))
            share[label] = part
            shares.append(share)
    return np.array(shares)


@dataclass(frozen=True)
class ErrorCurve:
    """Shares of wrong answers by number of photos. sizes, error: (s,); interval: (s, 2) of 95 %;
    draws: (rounds, s) of the bootstrap; per_seed: (seeds, s)."""

    sizes: Floats
    error: Floats
    interval: Floats
    draws: Floats
    per_seed: Floats

    @cached_property
    def laws(self) -> tuple[Floats, Floats]:
        """The power law of the errors (1, 3), and those of the draws (rounds, 3)."""
        spread = self.draws.std(0)
        best, draws = (
            law.fit_power_law(self.sizes, rows, spread) for rows in (self.error[None], self.draws)
        )
        return best, draws

    def _upper(self, high: Floats) -> Floats:
        return law.unseen(high, self.error[-1], self.interval[-1, 1])

    def gain(self, more: float) -> tuple[float, ...]:
        """By how much `more` photos would lower the error, and the interval of that."""
        (best,), laws = self.laws
        present = float(self.sizes[-1])
        steps = np.log(1 + more / present) / np.log(present / self.sizes[-2])
        gains = law.gain(best, laws, present, more)
        gain, low, high = law.capped(gains, self.draws[:, -2] - self.draws[:, -1], steps)
        return gain, low, float(self._upper(np.array(high)))

    def _extrapolated(self, n: Floats) -> dict[str, Any]:
        (best, laws), present = self.laws, float(self.sizes[-1])
        low, high = percentile_interval(law.predicted(laws, present, n))
        return {
            "n": _plain(n),
            "error": _plain(law.predicted(best, present, n)[0]),
            "interval": _plain(np.stack([low, self._upper(high)], axis=1)),
        }

    def summary(self, more: int, ceiling: Sequence[float] = (1, 1, 1)) -> dict[str, Any]:
        """Points, law, band, and what `more` photos would bring, at most `ceiling`."""
        gain, low, high = np.minimum(self.gain(more), ceiling)
        farthest = law.FARTHEST * float(self.sizes[-1])
        return {
            "sizes": _plain(self.sizes),
            "error": _plain(self.error),
            "error_interval": _plain(self.interval),
            "law": dict(zip("abc", _plain(self.laws[0][0]), strict=True)),  # of n / the last size
            "band": self._extrapolated(np.geomspace(self.sizes[0], farthest, _GRID)),
            "predictions": self._extrapolated(np.array(_FAR) * float(self.sizes[-1])),
            "more": more,
            "gain": round(float(gain), 6),
            "gain_interval": _plain([low, high]),
            "worth": law.worth(float(low), float(high)),
        }

    def check(self) -> dict[str, Any]:
        """The law of at most half of the photos, extrapolated to all, where the error is known."""
        half = ErrorCurve(
            self.sizes[:-1], self.error[:-1], self.interval[:-1], self.draws[:, :-1], self.per_seed
        )
        best, draws = (
            law.predicted(rows, half.sizes[-1], self.sizes[-1:])[:, 0] for rows in half.laws
        )
        low, high = percentile_interval(draws)
        off_low, off_high = percentile_interval(draws - self.draws[:, -1])
        off_low, off_high = -self._upper(-off_low), half._upper(off_high)
        return {
            "sizes": _plain(half.sizes),
            "error": _plain(half.error),
            "n": float(self.sizes[-1]),
            "predicted": float(best[0]),
            "predicted_interval": _plain([low, half._upper(high)]),
            "measured": float(self.error[-1]),
            "measured_interval": _plain(self.interval[-1]),
            "off": float(best[0] - self.error[-1]),
            "off_interval": _plain([off_low, off_high]),
            "held": bool(off_low <= 0 <= off_high),
        }


def summarise_runs(
    results: SubsetErrors, data: ProbeData, more: int | None, half: bool
) -> dict[str, Any]:
    """Errors, laws, their intervals and extrapolations, as plain numbers."""
    drawn = law.weights(data.groups, len(results.tested), _ROUNDS, np.random.default_rng(0))

    def curve(sizes: Floats, subsets: Sequence[int], tested: Bools) -> ErrorCurve:
        wrong = results.wrong[:, subsets]
        once = np.ones((1, len(tested))), np.ones((1, tested.shape[1]))
        (error,), draws = (law.errors(wrong, tested, *weights) for weights in (once, drawn))
        per_seed = (wrong & tested[:, None]).sum(2) / np.maximum(tested.sum(1), 1)[:, None]
        return ErrorCurve(sizes, error, law.chance(wrong, tested, data.groups), draws, per_seed)

    sizes = results.learned[:, :_SIZES].sum(2).mean(0)
    whole = curve(sizes, range(_SIZES), results.tested)
    tested = int(results.tested.any(0).sum())
    found = {"photos": round(sizes[-1]), "asked": tested, "check": whole.check()}
    if half:
        return found
    found["all"] = whole.summary(more or law.round_number(sizes[-1]))
    found["all"]["per_seed"] = _plain(whole.per_seed)
    found["classes"] = {}
    for label, name in enumerate(data.names):
        first = _SIZES + label * (_SIZES_OF_CLASS - 1)
        subsets = [*range(first, first + _SIZES_OF_CLASS - 1), _SIZES - 1]
        mine = results.learned[:, subsets, label].mean(0)
        number = min(more or law.round_number(mine[-1]), int((law.FARTHEST - 1) * mine[-1]))
        # One class alone cannot bring more than all of them, grown by the same factor.
        ceiling = whole.gain(number / mine[-1] * sizes[-1])
        row = curve(mine, subsets, results.tested).summary(number, ceiling)
        recall = curve(mine, subsets, results.tested & (data.labels == label))
        row["recall"] = recall.summary(number) | {"per_seed": _plain(recall.per_seed)}
        found["classes"][name] = row
    found["most"] = _most_helpful(found["classes"])
    return found


def _most_helpful(classes: dict[str, Any]) -> str | None:
    """The class whose photos help most, each; none where no class helps or all help alike."""
    each = {k: row["gain"] / row["more"] for k, row in classes.items() if row["worth"] == "helps"}
    top = max(each, key=lambda k: each[k], default=None)
    alike = [k for k in each if top and each[k] > _ALIKE * each[top]]
    return None if len(alike) == len(classes) else top


def _plain(values: Sequence[Any] | Floats) -> Any:
    return (np.round(np.asarray(values, dtype=np.float64), 6) + 0.0).tolist()  # no -0.0
