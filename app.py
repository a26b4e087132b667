"""Entry point for Hugging Face Spaces: the page of the model in models/bears."""

import os
from pathlib import Path

from bear_classifier.apps.classify import launch, page, ready
from bear_classifier.settings import ServeConfig

MODEL = Path(os.environ.get("BEARS_MODEL", "models/bears"))

if __name__ == "__main__":
    launch(page(ready(MODEL)).queue(max_size=ServeConfig().max_waiting))
