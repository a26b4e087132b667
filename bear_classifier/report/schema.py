"""Types of the report's figures, as its JSON file holds them. Intervals are of 95 %."""

from __future__ import annotations

from typing import Any, TypedDict

from bear_classifier.judge.evaluate import EvaluationReport, Rejection
from bear_classifier.judge.leave_source_out import ErrorRate, SourceHoldout
from bear_classifier.judge.rejection import FalseAccepts
from bear_classifier.stats.calibration import ReliabilityBin
from bear_classifier.stats.intervals import Interval


class ConfusedPair(TypedDict):
    """share: of the `of` photos of the class `true` those that are taken for `said`."""

    true: str
    said: str
    n: int
    of: int
    share: float
    interval: Interval


class TestFigures(EvaluationReport):
    """now: usable photos of the test split; chance_gap: ece that may be chance."""

    now: int
    wrong: int
    reliability: list[ReliabilityBin]
    chance_gap: float | None
    pairs: list[ConfusedPair]


class ScoreHistogram(TypedDict):
    """Counts of right and of wrong answers between edges."""

    edges: list[float]
    right: list[float]
    wrong: list[float]


class OodFigures(FalseAccepts):
    """What `bears evaluate --ood` left. kinds: by folder."""

    kinds: dict[str, FalseAccepts]
    folder: str
    weights: str


class RejectionFigures(Rejection):
    familiarity: ScoreHistogram
    measured: OodFigures | None


class Mistake(TypedDict):
    """said: the answer; sure, of_true: probabilities; verdict: as `ood.accept_reasons`."""

    sha256: str
    origin: str
    site: str
    true: str
    said: str
    sure: float
    of_true: float
    verdict: str


class ErrorSlice(ErrorRate):
    """A part of the test photos. word: whether its error differs from that of the others."""

    by: str
    name: str
    word: str


class LookAccuracy(TypedDict):
    """clear: whether a look alone clearly beats guessing; None: too few photos."""

    n: int
    accuracy: float | None
    interval: Interval | None
    chance: float
    clear: bool | None


class Shortcut(LookAccuracy):
    look: str


class SiteCount(TypedDict):
    site: str
    n: int
    classes: list[str]


class Provenance(TypedDict):
    """Counts of a dataset, from the candidates to the splits. classes: label -> place -> photos;
    sides: photos of each split; failed, unusable: by reason; by_program: decisions."""

    classes: dict[str, dict[str, int]]
    candidates: int
    fetched: int
    photos: int
    usable: int
    sides: dict[str, int]
    kinds: dict[str, int]
    sites: list[SiteCount]
    failed: dict[str, int]
    unusable: dict[str, int]
    copies: dict[str, int]
    decisions: dict[str, int]
    by_program: int


class Measured(TypedDict):
    """model: fields of bundle.json; belongs: whether it was made of these photos, and of the last
    training's weights; training: train/history.json, of any version."""

    name: str
    made: str
    model: dict[str, Any]
    belongs: dict[str, bool]
    labels: list[str]
    data: Provenance
    training: dict[str, Any]
    temperature: float
    test_decisions: int
    test_looks: int
    test: TestFigures
    elsewhere: SourceHoldout | None
    membership: dict[str, Any] | None
    missing: dict[str, str]
    mistakes: list[Mistake]
    rejection: RejectionFigures
    slices: list[ErrorSlice]
    shortcuts: list[Shortcut]
    curve: dict[str, str] | None
    settings: dict[str, Any]
    versions: dict[str, str]


class Facts(Measured):
    verdict: str
    warnings: list[str]
