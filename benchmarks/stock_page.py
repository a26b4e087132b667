"""The lesson's page, which `serving.py` sets ours against: gr.Interface around learn.predict.

.venv/bin/python benchmarks/stock_page.py LEARNER PORT
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("learner", metavar="LEARNER", type=Path, help="as learn.export leaves it")
    made.add_argument("port", metavar="PORT", type=int)
    words = made.parse_args()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastai.learner import load_learner
    from fastai.vision.core import PILImage

    learn = load_learner(words.learner)

    def classify(image: object) -> dict[str, float]:
        with learn.no_bar():
            found = learn.predict(PILImage.create(image))[2]
        return dict(zip(learn.dls.vocab, map(float, found), strict=True))

    page = gr.Interface(classify, gr.Image(), gr.Label(), api_name="predict")
    page.launch(server_name="127.0.0.1", server_port=words.port, quiet=True)


if __name__ == "__main__":
    main()
