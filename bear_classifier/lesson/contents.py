"""The lesson pages in their order."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from bear_classifier.errors import ConfigError

if TYPE_CHECKING:
    from bear_classifier.lesson.page import Page

_PAGES = {  # name -> module, title
    "sgd": ("basics.sgd", "A line by gradient descent"),
    "rates": ("basics.learning_rate", "Too low, right, too high: the learning rate"),
    "minibatch": ("basics.minibatch", "A handful of examples at a time"),
    "surface": ("basics.loss_surface", "The loss as a landscape"),
    "fit": ("basics.overfitting", "Underfitting, overfitting, and the cure"),
    "classes": ("basics.cross_entropy", "From numbers to classes"),
    "relu": ("basics.relu", "Kinks that add up to any curve"),
    "sliders": ("basics.sliders", "Fit the line yourself"),
    "wrong": ("photos.failures", "The four things that go wrong"),
    "features": ("photos.features", "What the network sees"),
    "map": ("photos.embedding_map", "The map of photos"),
    "ensemble": ("photos.ensembles", "Teams of models"),
    "stages": ("photos.transfer", "Transfer in stages, and the head first"),
    "privacy": ("photos.privacy", "Do the weights give the training photos away?"),
}
TITLES = {name: title for name, (_, title) in _PAGES.items()}
MODULES = {name: module for name, (module, _) in _PAGES.items()}
# Pages that look at a dataset and what was trained on it.
PHOTOS = [name for name, module in MODULES.items() if module.startswith("photos.")]


def require(name: str) -> None:
    """Raises ConfigError (NO_PAGE)."""
    if name not in TITLES:
        raise ConfigError("NO_PAGE", f"there is no page {name!r}; there are {', '.join(TITLES)}")


def page(name: str, subject: Any = None) -> Page:
    """Runs it: seconds. subject: what the pages of PHOTOS look at (`trained_model.Subject`).

    Raises ConfigError (NO_PAGE), and DataError (NOT_TRAINED) where there is no trained model."""
    require(name)
    module = importlib.import_module(f"bear_classifier.lesson.{MODULES[name]}")
    return cast("Page", module.page(subject) if name in PHOTOS else module.page())
