"""Folder to fine-tuned model: our pipeline through `train` against the lesson's fine_tune(4).

Ours is everything from the files to the weights that are kept, with the project's defaults (others
by --set), in a new dataset. The lesson's is stock fastai in float32: one epoch with the body frozen
and four without. For each seed a fifth of the photos is held out from both; on these their answers
are compared photo by photo (McNemar). The aim is 10 times; the goal is 6, on a GPU 3. With --quick
both have one epoch in place of four.

    .venv/bin/python benchmarks/train.py [--photos FOLDER] [--weights FILE] [--json FILE]
    .venv/bin/python benchmarks/train.py --arch resnet34 --weights none     # only the speed
"""

from __future__ import annotations

import sys

from paired import arguments, compare
from versus import measured, options


def main() -> int:
    made = options(__doc__ or "")
    arguments(made, seeds=2)
    words = made.parse_args()
    epochs = 4
    if words.quick:
        words.each, words.seeds, epochs = words.each or 15, 1, 1
        words.set += ["train.epochs=1", "train.lr=0.001", "train.batch_size=8"]
    limits = {"cpu": 6.0, "cuda": 3.0}
    return measured(words, "train", __doc__ or "", lambda: compare(words, "train", epochs, limits))


if __name__ == "__main__":
    sys.exit(main())
