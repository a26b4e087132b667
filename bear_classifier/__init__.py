"""Photos become a dataset that can be audited, a checked model, and a page anyone can use.

    import bear_classifier as bc

    project = bc.open_project("starter")
    project.run()
    bc.load_model("shipped").predict("photo.jpg")

Each name is imported when it is first used. What goes wrong raises a `BearsError`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from bear_classifier.api import Project as Project
    from bear_classifier.api import load_model as load_model
    from bear_classifier.api import new_project as new_project
    from bear_classifier.api import open_project as open_project
    from bear_classifier.api import show_predictions as show_predictions
    from bear_classifier.errors import BearsError as BearsError
    from bear_classifier.errors import ConfigError as ConfigError
    from bear_classifier.errors import DataError as DataError
    from bear_classifier.errors import ModelError as ModelError
    from bear_classifier.errors import PhotoError as PhotoError
    from bear_classifier.errors import SelfTestError as SelfTestError
    from bear_classifier.errors import TrainError as TrainError
    from bear_classifier.results import Evaluation as Evaluation
    from bear_classifier.results import Report as Report
    from bear_classifier.results import StageResults as StageResults
    from bear_classifier.results import Study as Study
    from bear_classifier.ship.predict import Model as Model
    from bear_classifier.ship.predict import Prediction as Prediction

_PUBLIC = {  # module -> what is imported from it when it is first used
    "api": ("Project", "load_model", "new_project", "open_project", "show_predictions"),
    "errors": (
        *("BearsError", "ConfigError", "DataError", "ModelError", "PhotoError", "SelfTestError"),
        "TrainError",
    ),
    "results": ("Evaluation", "Report", "StageResults", "Study"),
    "ship.predict": ("Model", "Prediction"),
}
__all__ = sorted(name for names in _PUBLIC.values() for name in names)


def __getattr__(name: str) -> Any:
    for module, names in _PUBLIC.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
