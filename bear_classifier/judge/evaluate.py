"""Evaluation of the trained model on the test split: every rate with its interval."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ParamSpec, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from bear_classifier.config.settings import Config
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.sources import sites
from bear_classifier.errors import BearsError
from bear_classifier.judge import membership_inference, out_of_sample
from bear_classifier.judge import rejection as reject
from bear_classifier.judge.cleaning_effect import first_states
from bear_classifier.judge.leave_source_out import NotMeasured, SourceHoldout, leave_sources_out
from bear_classifier.judge.predictions import (
    Predictions,
    first_model,
    load_predictions,
    stored_classifier,
)
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import count
from bear_classifier.stats import metrics
from bear_classifier.stats.arrays import SomeRows
from bear_classifier.stats.calibration import LEAST_ERRORS
from bear_classifier.stats.intervals import Interval, clustered, proportion
from bear_classifier.stats.linear_probe import choose_strength, n_folds
from bear_classifier.stats.metrics import softmax
from bear_classifier.stats.ood import Reference, make_reference, reference_rows

P = ParamSpec("P")
T = TypeVar("T")


class ClassRates(TypedDict):
    """None where no photo is, or is predicted to be, of the class."""

    n: int
    recall: float | None
    recall_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None


class EvaluationReport(TypedDict):
    """All shares lie in 0 to 1; intervals are of 95 %, near-copies heeded (`intervals.clustered`).
    confusion: rows true, columns predicted; ece: expected calibration error."""

    n: int
    error: float | None
    error_interval: Interval | None
    per_class: dict[str, ClassRates]
    macro_f1: float | None
    confusion: list[list[int]]
    labels: list[str]
    ece: float | None
    accepted_share: float | None


class Rejection(TypedDict):
    """The rule (least: familiarity; close: margin; share: refused at most) and what it does.

    basis: "sources" (photos whose source the model lacked), "folds" (whose near-copies it lacked)
    or "valid", by which temperature and margin are set; set_on: photos by all kinds that were used
    ("sources" and "valid": of tuned weights, whose own "valid" photos set the OOD limit);
    elsewhere: photos of each source by limits that are set on the others."""

    least: float | None
    close: float
    share: float
    basis: str
    set_on: dict[str, int]
    valid: reject.Refusals
    test: reject.Refusals
    elsewhere: reject.Elsewhere | None
    left_out: dict[str, reject.FalseAccepts]


class TemperatureFit(TypedDict):
    """What the temperature was fitted on. floor: whether so few photos were wrong that it could not
    fall below 1."""

    basis: str
    photos: int
    wrong: int
    floor: bool


class Evaluated(TypedDict):
    """What evaluate/report.json holds. elsewhere: held-out sources; missing: why some figures are
    None."""

    temperature: float
    temperature_fit: TemperatureFit
    test_decisions: int
    test_digest: str
    test_looks: int
    rejection: Rejection
    elsewhere: SourceHoldout | None
    membership: dict[str, Any] | None
    missing: dict[str, str]
    valid: EvaluationReport
    test: EvaluationReport


def evaluate(catalog: Catalog, config: Config) -> Evaluated:
    """Judge the trained model on the test split. Its temperature and its rule for giving no answer
    are fitted on photos of train and validation, by models that have not seen them
    (`judge.out_of_sample`).

    Leaves `evaluate/report.json` and `evaluate/reference.npz`. Raises DataError (NOT_TRAINED)."""
    stored = load_predictions(catalog.root)
    photos = {p.sha256: p for p in catalog.photos("ok") if p.sha256 in stored.rows}
    at = {
        split: [stored.rows[sha256] for sha256, p in photos.items() if p.split == split]
        for split in ("train", "valid", "test")
    }
    labels = [photos[s].label if s in photos else config.labels[0] for s in stored.rows]
    targets = np.array([config.labels.index(label) for label in labels], dtype=np.int64)
    families = np.array([photos[s].family if s in photos else s for s in stored.rows], "S64")
    groups = np.unique(families, return_inverse=True)[1]
    logits, pooled, missing = stored.logits, stored.pooled, dict[str, str]()
    train, settings = at["train"], config.reject
    classifier = stored_classifier(catalog.root)
    of_train = SomeRows(pooled, np.array(train, dtype=np.int64))
    reference = make_reference(of_train, groups[train], classifier, config.train.seed)
    rows = [*train, *at["valid"]]
    names = list(stored.rows)
    learned_from = [photos[names[row]] for row in rows]
    where = optional(missing, "sources", sites, catalog, learned_from, config.split.sources)
    known = out_of_sample.KnownPhotos(
        [names[row] for row in rows], logits[rows], SomeRows(pooled, np.array(rows)), targets[rows],
        groups[rows], np.arange(len(rows)) < len(train), where or [""] * len(rows),
    )  # fmt: skip
    answers = _out_of_sample(catalog, config, stored, known, reference)
    limits = reject.set_limits(answers, settings.share, settings.close)
    p = softmax(logits, limits.temperature)
    right = p.argmax(axis=1) == targets
    reasons = limits.reasons(logits, reference.score(pooled))
    reports, refused = {}, {}
    for split in ("valid", "test"):
        rows = at[split]
        reports[split] = evaluation_report(
            p[rows], targets[rows], config.labels, groups[rows], reasons[rows] == "ok"
        )
        refused[split] = reject.refusals(reasons[rows], right[rows], groups[rows])
    digest = hashlib.sha256(logits[at["test"]].tobytes()).hexdigest()
    outcome: Evaluated = {
        "temperature": limits.temperature,
        "temperature_fit": _temperature_fit(answers),
        "test_decisions": _test_decisions(catalog),
        "test_digest": digest,
        "test_looks": _test_looks(catalog, digest),
        "rejection": {
            "least": limits.least if np.isfinite(limits.least) else None,
            "close": limits.close,
            "share": settings.share,
            "basis": answers.basis,
            "set_on": answers.photos(),
            "valid": refused["valid"],
            "test": refused["test"],
            "elsewhere": reject.refused_elsewhere(
                answers, settings.share, settings.close, config.train.seed
            ),
            "left_out": optional(
                missing, "left_out", reject.left_out_classes, of_train, targets[train],
                groups[train], classifier, config.labels, settings.share / 2,
            ) or {},
        },
        "elsewhere": optional(missing, "elsewhere", leave_sources_out, catalog, config),
        "membership": optional(
            missing, "membership", membership_leak,
            metrics.log_losses(p, targets, metrics.ANY_PROBABILITY), groups, at,
        ),
        "missing": missing,
        "valid": reports["valid"],
        "test": reports["test"],
    }  # fmt: skip
    write_atomic(catalog.root / "evaluate" / "reference.npz", reference.as_bytes())
    text = json.dumps(outcome, indent=1)
    write_atomic(catalog.root / "evaluate" / "report.json", text.encode())
    return outcome


def _out_of_sample(
    catalog: Catalog,
    config: Config,
    stored: Predictions,
    known: out_of_sample.KnownPhotos,
    reference: Reference,
) -> out_of_sample.OutOfSample:
    """Answers for photos of train and validation by models that have not seen them."""
    rows = reference_rows(int(known.train.sum()), seed := config.train.seed)
    if stored.chosen == "probe" and (found := first_model(catalog.root, known.sha256)):
        probabilities, strength = found
        if strength is None:  # of an earlier version
            texts = known.groups.astype(str)
            folds = n_folds(known.targets, texts, config.probe.folds)
            strength = choose_strength(known.pooled, known.targets, texts, folds)
        return out_of_sample.of_probe(known, reference, rows, probabilities, strength)
    by_source = config.split.by == "source"
    return out_of_sample.of_tuned(known, reference, rows, stored.halves, by_source, seed)


def _temperature_fit(answers: out_of_sample.OutOfSample) -> TemperatureFit:
    photos, wrong = 0, 0
    if answers.harder:
        photos, wrong = len(answers.harder.targets), int((~answers.harder.right).sum())
    floor = wrong < LEAST_ERRORS
    return {"basis": answers.basis, "photos": photos, "wrong": wrong, "floor": floor}


def optional(
    missing: dict[str, str], name: str, measure: Callable[P, T], *of: P.args, **named: P.kwargs
) -> T | None:
    """A figure that a model can be judged without: where it cannot be measured the stage goes on,
    and `missing` gets the reason by its name."""
    try:
        return measure(*of, **named)
    except BearsError as exc:
        missing[name] = exc.sentence
    except (ArithmeticError, LookupError, OSError, ValueError) as exc:
        missing[name] = str(exc) or type(exc).__name__
    return None


def _test_decisions(catalog: Catalog) -> int:
    """How many photos of the test split have another label than they came with, or were left out:
    by a decision or by moving a file. Nobody chose what was taken down."""
    first = first_states(decisions.history(catalog))
    return sum(
        first[photo.sha256].get("label", photo.label) != photo.label or photo.status == "dropped"
        for photo in catalog.photos()
        if photo.split == "test" and photo.sha256 in first and not decisions.is_taken_down(photo)
    )


def _test_looks(catalog: Catalog, digest: str) -> int:
    """How many models of this dataset were judged on its test split, this one included: the more
    there were, the more the best of their figures flatters.

    digest: of its logits of the test split; runs of earlier versions have none, and count by what
    they were made from."""
    before = catalog.runs("evaluate")
    return len({digest, *(run.outcome.get("test_digest") or run.inputs for run in before)})


def membership_leak(
    losses: NDArray[np.float64], groups: NDArray[np.int64], at: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """How well the losses (n,) tell the training split from the test split.

    groups: (n,) of near-copies; at: the rows of each side. Raises NotMeasured without photos."""
    mine, others = at["train"], at["test"]
    if not mine or not others:
        raise NotMeasured(f"there is no photo in the {'test' if mine else 'train'} split")
    return asdict(
        membership_inference.attack(losses[mine], losses[others], groups[mine], groups[others])
    )


def evaluation_report(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.int64],
    labels: Sequence[str],
    groups: NDArray[Any],
    accepted: NDArray[np.bool_] | None = None,
) -> EvaluationReport:
    """Every figure of probabilities (n, classes) against true class numbers (n,). groups: (n,) of
    near-copies, which intervals do not count as so many photos."""
    predicted = probabilities.argmax(axis=1) if len(targets) else targets
    table = metrics.confusion_matrix(targets, predicted, len(labels))
    n, wrong = len(targets), predicted != targets
    per_class: dict[str, ClassRates] = {}
    for i, label in enumerate(labels):
        hits, true, named = int(table[i, i]), int(table[i].sum()), int(table[:, i].sum())
        per_class[label] = {
            "n": true,
            "recall": proportion(hits, true),
            "recall_interval": clustered(~wrong[targets == i], groups[targets == i]),
            "precision": proportion(hits, named),
            "precision_interval": clustered(~wrong[predicted == i], groups[predicted == i]),
        }
    return {
        "n": n,
        "error": proportion(int(wrong.sum()), n),
        "error_interval": clustered(wrong, groups),
        "per_class": per_class,
        "macro_f1": metrics.macro_f1(table),
        "confusion": table.tolist(),
        "labels": list(labels),
        "ece": metrics.calibration_error(probabilities, targets),
        "accepted_share": None if accepted is None or not n else float(accepted.mean()),
    }


def as_text(report: Mapping[str, Any]) -> str:
    """An `EvaluationReport` for a terminal."""
    n, labels, table = report["n"], report["labels"], report["confusion"]
    if not n:
        return "no photos to judge with"
    wrong = n - sum(table[i][i] for i in range(len(labels)))
    width = max(16, *(len(label) for label in labels))
    cells = max(6, *(len(label) for label in labels), len(str(n)))
    lines = [
        f"error        {_with(report['error'], report['error_interval'])}"
        f"   ({wrong} of {count(n, 'photo')})",
        f"macro F1     {report['macro_f1']:.3f}",
        f"calibration  off by {report['ece']:.1%} on average",
        "",
        f"{'class':<{width}} {'photos':>6}  {'recall':<25}{'precision':<25}",
    ]
    for label, row in report["per_class"].items():
        recall = _with(row["recall"], row["recall_interval"])
        precision = _with(row["precision"], row["precision_interval"])
        lines.append(f"{label:<{width}} {row['n']:>6}  {recall:<25}{precision:<25}")
    rows = [("true / predicted", labels), *zip(labels, table, strict=True)]
    lines.append("")
    lines += [f"{a:<{width}} " + " ".join(f"{b:>{cells}}" for b in row) for a, row in rows]
    return "\n".join(lines)


def _with(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:6.1%} ({interval[0]:.1%} to {interval[1]:.1%})"
