"""Entry point for Hugging Face Spaces and containers: the page of the model in models/bears."""

import os
from pathlib import Path

from bear_classifier.config.settings import ServeConfig
from bear_classifier.serve.uvicorn_server import serve

HUB = "https://huggingface.co" if "SPACE_ID" in os.environ else ""  # shows a Space in a frame

if __name__ == "__main__":
    serve(
        Path(os.environ.get("BEARS_MODEL", "models/bears")),
        os.environ.get("BEARS_HOST", "0.0.0.0"),
        int(os.environ.get("BEARS_PORT", "7860")),
        ServeConfig(
            framed_by=os.environ.get("BEARS_FRAMED_BY") or HUB,
            names=os.environ.get("BEARS_NAMES", ""),
        ),
    )
