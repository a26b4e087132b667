"""Linear models on features: the first model, and the one that doubts its own labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.errors import DataError

STRENGTHS = np.logspace(-4, 1, 6)  # C of scikit-learn: inverse strength of the L2 penalty
DOUBTFUL = 3.0  # odds for another class from which a label is not learned from


def model(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def n_folds(labels: NDArray[np.int64], groups: NDArray[np.str_], folds: int) -> int:
    """As many folds as the class with the fewest groups can fill."""
    fewest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    if fewest < 2:
        raise DataError(
            "TOO_FEW_PHOTOS",
            "a class has fewer than two different photos on the training side; add photos",
        )
    return min(folds, fewest)


def choose_strength(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.str_], folds: int
) -> float:
    """The C of least log loss over grouped folds. features: (n, f); labels, groups: (n,)."""
    search = GridSearchCV(
        model(1.0),
        {"logisticregression__C": STRENGTHS},
        scoring="neg_log_loss",
        cv=StratifiedGroupKFold(folds),
        refit=False,
    )
    with threadpool_limits(1, "blas"):  # so few numbers are lost among several threads
        search.fit(features, labels, groups=groups)
    return float(search.best_params_["logisticregression__C"])


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    folds: int,
    strength: float,
    learned: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Probabilities (n, classes), each from a model that saw neither the photo nor its group.

    learned: (n,) which labels may be learned from; None: all."""
    usable = np.ones(len(labels), dtype=bool) if learned is None else learned
    found = np.zeros((len(labels), int(labels.max()) + 1))
    for learning, asked in StratifiedGroupKFold(folds).split(features, labels, groups):
        rows = learning[usable[learning]]
        if len(set(labels[rows].tolist())) < found.shape[1]:  # a class is doubtful as a whole
            rows = learning
        with threadpool_limits(1, "blas"):
            fitted = model(strength).fit(features[rows], labels[rows])
        found[asked] = fitted.predict_proba(features[asked])
    return found


def trusted(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether a label is credible enough to be learned from. probabilities: out of fold."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(probabilities.max(axis=1) < DOUBTFUL * own)
