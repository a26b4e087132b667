"""The lesson pages in their order."""

from __future__ import annotations

import importlib
from typing import Any, cast

from bear_classifier.errors import ConfigError
from bear_classifier.lesson.page import Page

TITLES = {
    "sgd": "A line by gradient descent",
    "rates": "Too low, right, too high: the learning rate",
    "minibatch": "A handful of examples at a time",
    "surface": "The loss as a landscape",
    "fit": "Underfitting, overfitting, and the cure",
    "classes": "From numbers to classes",
    "relu": "Kinks that add up to any curve",
    "sliders": "Fit the line yourself",
    "wrong": "The four things that go wrong",
    "features": "What the network sees",
    "map": "The map of photos",
    "ensemble": "Teams of models",
    "stages": "Transfer in stages, and the head first",
    "privacy": "Do the weights give the training photos away?",
}
PHOTOS = {  # pages that look at a dataset and what was trained on it -> their modules
    "wrong": "failures",
    "features": "features",
    "map": "embedding_map",
    "ensemble": "ensembles",
    "stages": "transfer",
    "privacy": "privacy",
}
BASICS = {
    "sgd": "sgd",
    "rates": "learning_rate",
    "minibatch": "minibatch",
    "surface": "loss_surface",
    "fit": "overfitting",
    "classes": "cross_entropy",
    "relu": "relu",
    "sliders": "sliders",
}


def require(name: str) -> None:
    """Raises ConfigError (NO_PAGE)."""
    if name not in TITLES:
        raise ConfigError("NO_PAGE", f"there is no page {name!r}; there are {', '.join(TITLES)}")


def page(name: str, subject: Any = None) -> Page:
    """Runs it: seconds. subject: what the pages of PHOTOS look at (`subject.Subject`).

    Raises ConfigError (NO_PAGE), and DataError (NOT_TRAINED) where there is no trained model."""
    require(name)
    if name in PHOTOS:
        module = importlib.import_module(f"bear_classifier.lesson.photos.{PHOTOS[name]}")
        return cast(Page, module.page(subject))
    module = importlib.import_module(f"bear_classifier.lesson.basics.{BASICS[name]}")
    return cast(Page, module.page())
