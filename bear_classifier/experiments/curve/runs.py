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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
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
class Answers:
    """wrong: (deals, arms, n); asked: (deals, n); learned: (deals, arms, classes) photos of each;
    shares: (arms, classes). The first arms are of all classes alike."""

    wrong: Bools
    asked: Bools
    learned: Ints
    shares: Floats


def growth(
    catalog: Catalog, config: Config, seeds: int = 10, more: int | None = None, half: bool = False
) -> dict[str, Any]:
    """Measure, fit and foretell; leaves curve/curve.json. half: only the check of the law.

    Raises DataError (NOT_PROBED, TOO_FEW_PHOTOS), ConfigError (BAD_SETTING, TOO_FAR)."""
    if seeds < 2:
        raise ConfigError("BAD_SETTING", f"--seeds is {seeds}; it takes at least 2 to see chance")
    if more is not None and more < 1:
        raise ConfigError("BAD_SETTING", f"--more is {more}; ask for at least 1 photo")
    known, present = _known(catalog, config)
    folds = n_folds(known.labels, known.groups, config.probe.folds)
    if more is not None:  # before the work, not after
        law.predicted(np.zeros((1, 3)), present, np.array([present + more]))
    run = catalog.last_run("probe")
    strength = run.outcome.get("strength") if run else None
    if strength is None:
        strength = choose_strength(known.features, known.labels, known.groups, folds)
    with threadpool_limits(1):  # several threads in one small fit only wait for each other
        answers = measure_subsets(known, folds, seeds, strength, alone=not half)
        outcome = {
            "seeds": seeds,
            "strength": strength,
            **summarise_runs(answers, known, more, half),
        }
    if not half:
        outcome["verdict"] = answer(outcome)
        write_atomic(catalog.root / "curve" / "curve.json", json.dumps(outcome).encode())
    return outcome


def _known(catalog: Catalog, config: Config) -> tuple[ProbeData, int]:
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
    known: ProbeData, folds: int, seeds: int, strength: float, alone: bool
) -> Answers:
    """Who is wrong after learning from each part, for each seed. alone: classes one by one too."""
    n, classes = len(known.labels), len(known.names)
    shares = _shares(np.bincount(known.labels, minlength=classes), alone)
    deals = law.deals(known.labels, known.groups, folds, range(seeds))
    wrong = np.zeros((seeds, len(shares), n), dtype=bool)
    asked = np.zeros((seeds, n), dtype=bool)
    learned = np.zeros((seeds, len(shares), classes), dtype=np.int64)
    jobs = []
    for seed, (learning, held) in enumerate(deals):
        asked[seed, held] = True
        rng = np.random.default_rng(seed)
        place, home = law.order_of_photos(known.labels[learning], known.groups[learning], rng)
        for arm, share in enumerate(shares):
            rows = learning[law.subset(place, home, share)]
            learned[seed, arm] = np.bincount(known.labels[rows], minlength=classes)
            jobs.append((seed, arm, rows, held))

    def work(job: tuple[int, int, Ints, Ints]) -> None:
        seed, arm, rows, held = job
        fitted = model(strength).fit(known.features[rows], known.labels[rows])
        wrong[seed, arm, held] = fitted.predict(known.features[held]) != known.labels[held]

    with ThreadPoolExecutor(min(_WORKERS, processors())) as pool:
        list(progress_bar(pool.map(work, jobs), "fits", len(jobs), unit="fit"))
    return Answers(wrong, asked, learned, shares)


def _shares(counts: Ints, alone: bool) -> Floats:
    """(arms, classes): all classes alike; then each alone, its largest part left out, for that is
    the largest of all classes."""
    shares = [np.full(len(counts), f) for f in law.fractions(int(counts.min()), _SIZES)]
    for label, count in enumerate(counts if alone else []):
        for part in np.geomspace(max(1 / 8, law.LEAST_OF_CLASS / count), 1, _SIZES_OF_CLASS)[:-1]:
            share = np.ones(len(counts))
            share[label] = part
            shares.append(share)
    return np.array(shares)


def summarise_runs(
    answers: Answers, known: ProbeData, more: int | None, half: bool
) -> dict[str, Any]:
    """What was measured, the laws, their chance, and what they foretell, as plain numbers."""
    rng = np.random.default_rng(0)
    drawn = law.weights(known.groups, len(answers.asked), _ROUNDS, rng)
    every = slice(0, _SIZES)
    sizes = answers.learned[:, every].sum(2).mean(0)
    measured = _errors(answers.wrong[:, every], answers.asked, known.groups, drawn)
    check = _check(sizes, measured)
    found = {"photos": round(sizes[-1]), "asked": int(answers.asked.any(0).sum()), "check": check}
    if half:
        return found
    found["all"] = _line(sizes, measured, more or law.round_number(sizes[-1]))
    found["all"]["per_seed"] = _per_seed(answers.wrong[:, every], answers.asked)
    found["classes"] = {}
    for label, name in enumerate(known.names):
        first = _SIZES + label * (_SIZES_OF_CLASS - 1)
        arms = [*range(first, first + _SIZES_OF_CLASS - 1), _SIZES - 1]
        mine = answers.learned[:, arms, label].mean(0)
        number = min(more or law.round_number(mine[-1]), int((law.FARTHEST - 1) * mine[-1]))
        wrong, own = answers.wrong[:, arms], answers.asked & (known.labels == label)
        # One class alone cannot bring more than all of them, grown by the same factor.
        ceiling = _gain(sizes, measured, number / mine[-1] * sizes[-1])
        row = _line(mine, _errors(wrong, answers.asked, known.groups, drawn), number, ceiling)
        row["recall"] = _line(mine, _errors(wrong, own, known.groups, drawn), number)
        row["recall"]["per_seed"] = _per_seed(wrong, own)
        found["classes"][name] = row
    found["most"] = _most(found["classes"])
    return found


def _most(classes: dict[str, Any]) -> str | None:
    """The class whose photos help most, each; none where no class helps or all help alike."""
    each = {k: row["gain"] / row["more"] for k, row in classes.items() if row["worth"] == "helps"}
    top = max(each, key=lambda k: each[k], default=None)
    alike = [k for k in each if top and each[k] > _ALIKE * each[top]]
    return None if len(alike) == len(classes) else top


@dataclass(frozen=True)
class Errors:
    """Shares of wrong answers. measured: (sizes,); chance: (sizes, 2), the ends of their intervals;
    rounds: (rounds, sizes), as they might have been."""

    measured: Floats
    chance: Floats
    rounds: Floats


def _errors(
    wrong: Bools, asked: Bools, groups: NDArray[np.str_], drawn: tuple[Floats, Floats]
) -> Errors:
    plain = np.ones((1, len(asked))), np.ones((1, asked.shape[1]))
    measured, rounds = (law.errors(wrong, asked, *weights) for weights in (plain, drawn))
    return Errors(measured[0], law.chance(wrong, asked, groups), rounds)


def _per_seed(wrong: Bools, asked: Bools) -> Any:
    part = (wrong & asked[:, None]).sum(2)
    return _plain(part / np.maximum(asked.sum(1), 1)[:, None])


def _gain(sizes: Floats, errors: Errors, more: float) -> tuple[float, ...]:
    """What `more` photos would bring, and its interval."""
    measured, rounds = errors.measured, errors.rounds
    spread, present = rounds.std(0), float(sizes[-1])
    best, laws = (
        law.fit_power_law(sizes, measured[None], spread),
        law.fit_power_law(sizes, rounds, spread),
    )
    times = np.log(1 + more / present) / np.log(present / sizes[-2])
    gains = law.gain(best[0], laws, present, more)
    gain, low, high = law.capped(gains, rounds[:, -2] - rounds[:, -1], times)
    return gain, low, float(law.unseen(np.array(high), measured[-1], errors.chance[-1, 1]))


def _line(
    sizes: Floats, errors: Errors, more: int, ceiling: Sequence[float] = (1, 1, 1)
) -> dict[str, Any]:
    """One curve: points, law, band, and what `more` photos would bring, at most `ceiling`."""
    measured, rounds = errors.measured, errors.rounds
    spread = rounds.std(0)
    best, laws = (
        law.fit_power_law(sizes, measured[None], spread),
        law.fit_power_law(sizes, rounds, spread),
    )
    present = float(sizes[-1])
    gain, least, most = np.minimum(_gain(sizes, errors, more), ceiling)

    def foretold(at: Floats) -> dict[str, Any]:
        low, high = percentile_interval(law.predicted(laws, present, at))
        high = law.unseen(high, measured[-1], errors.chance[-1, 1])
        return {
            "n": _plain(at),
            "error": _plain(law.predicted(best, present, at)[0]),
            "interval": _plain(np.stack([low, high], axis=1)),
        }

    return {
        "sizes": _plain(sizes),
        "error": _plain(measured),
        "error_interval": _plain(errors.chance),
        "law": dict(zip("abc", _plain(best[0]), strict=True)),  # of n / the largest size
        "band": foretold(np.geomspace(sizes[0], law.FARTHEST * present, _GRID)),
        "predictions": foretold(np.array(_FAR) * present),
        "more": more,
        "gain": round(float(gain), 6),
        "gain_interval": _plain([least, most]),
        "worth": law.worth(float(least), float(most)),
    }


def _check(sizes: Floats, errors: Errors) -> dict[str, Any]:
    """The law of at most half of the photos, asked for all of them, where the truth is known."""
    measured, rounds = errors.measured, errors.rounds
    spread = rounds.std(0)[:-1]
    at = sizes[-1:]
    best = law.predicted(law.fit_power_law(sizes[:-1], measured[None, :-1], spread), sizes[-2], at)[
        0, 0
    ]
    could = law.predicted(law.fit_power_law(sizes[:-1], rounds[:, :-1], spread), sizes[-2], at)[
        :, 0
    ]
    low, high = percentile_interval(could)
    off_low, off_high = percentile_interval(could - rounds[:, -1])
    first, last = ((measured[k], errors.chance[k, 1]) for k in (-2, -1))
    off_low, off_high = -law.unseen(-off_low, *last), law.unseen(off_high, *first)
    return {
        "sizes": _plain(sizes[:-1]),
        "error": _plain(measured[:-1]),
        "n": float(at[0]),
        "predicted": float(best),
        "predicted_interval": _plain(np.array([low, law.unseen(high, *first)])),
        "measured": float(measured[-1]),
        "measured_interval": _plain(errors.chance[-1]),
        "off": float(best - measured[-1]),
        "off_interval": _plain(np.array([off_low, off_high])),
        "held": bool(off_low <= 0 <= off_high),
    }


def _plain(values: Sequence[float] | Floats) -> Any:
    return (np.round(np.asarray(values, dtype=np.float64), 6) + 0.0).tolist()  # no -0.0
