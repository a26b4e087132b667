"""Folder to first model: our pipeline up to the probe against one frozen epoch of the lesson's.

Ours lists, reads, screens and splits the files, takes features and fits the head, whose strength
is chosen by log loss, all in a new dataset. The lesson's is stock fastai: RandomResizedCrop(224,
min_scale=0.5), aug_transforms, 32 photos a batch, float32, the body frozen, fit_one_cycle(1). For
each seed a fifth of the photos is held out from both; on these their answers are compared photo by
photo (McNemar). A third side is ours with probe.precision = auto, which says in which precision it
ran and how many errors that made. Its network in 8-bit integers is kept from the first round on.

    .venv/bin/python benchmarks/first_model.py [--photos FOLDER] [--weights FILE] [--json FILE]
"""

from __future__ import annotations

import sys

from paired import arguments, compare
from versus import measured, options


def main() -> int:
    made = options(__doc__ or "")
    arguments(made, seeds=5)
    words = made.parse_args()
    if words.quick:
        words.each, words.seeds = words.each or 15, 1
    limits = {"cpu": 4.0, "cuda": 4.0}
    more = ["probe.precision=auto"]
    return measured(
        words, "first_model", __doc__ or "", lambda: compare(words, "probe", 0, limits, more)
    )


if __name__ == "__main__":
    sys.exit(main())
