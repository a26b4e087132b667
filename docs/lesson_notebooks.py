"""Write notebooks/lesson/NAME.ipynb, one for each page of the lesson, without outputs.

Each shows its page and then has cells to play with; `make docs` writes them."""

from __future__ import annotations

import json
from pathlib import Path

from bear_classifier.lesson.contents import PHOTOS, TITLES

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks" / "lesson"
# Of each page: what to try, and the cell to begin from.
TRY: dict[str, list[tuple[str, str]]] = {
    "sgd": [
        (
            "Another guess, another rate: where does it end, and how many steps does it take?",
            "from bear_classifier.lesson.basics import sgd\n\nX, y = sgd.points()\n"
            "path = sgd.descend(X, y, guess=(5.0, -3.0), rate=0.1, steps=200)\n"
            "print(path.at[-1], path.losses[-1], sgd.least_squares(X, y))",
        ),
        (
            "The slope of the loss at another place, by `backward()` and by nudging.",
            "import torch\n\nprint(sgd.slopes(X, y, torch.tensor([0.0, 0.0])))",
        ),
    ],
    "rates": [
        (
            "Come as close to the border as you like, from both sides.",
            "from bear_classifier.lesson.basics import learning_rate\n\n"
            "border = learning_rate.critical(learning_rate.CURVATURE)\n"
            "for share in (0.9, 0.99, 1.0, 1.01):\n"
            "    print(share, abs(learning_rate.parabola(share * border)[-1]))",
        )
    ],
    "minibatch": [
        (
            "Smaller batches: more steps, more noise. When do they stop helping?",
            "from bear_classifier.lesson.basics import minibatch, sgd\n\nX, y = sgd.points(1024)\n"
            "for batch in (4, 16, 64, 256, 1024):\n"
            "    run = minibatch.train_minibatch(X, y, batch)\n"
            "    print(batch, run.steps, run.losses[-1])",
        )
    ],
    "surface": [
        (
            "The height of any place in the landscape.",
            "import numpy as np\n\nfrom bear_classifier.lesson.basics import loss_surface, sgd\n\n"
            "X, y = sgd.points()\n"
            "print(loss_surface.heights(X, y, np.array([[3.0, -1.0]]), np.array([[2.5, 1.0]])))",
        )
    ],
    "fit": [
        (
            "Every degree, with and without the penalty.",
            "from bear_classifier.lesson.basics import overfitting\n\n"
            "sides = overfitting.sample_splits(seed=11)\n"
            "for degree in (1, 2, 4, 8, 15):\n"
            "    bare = overfitting.fit_polynomial(*sides.train, degree)\n"
            "    _, tame = overfitting.best_penalty(sides, degree)\n"
            "    errors = [overfitting.rmse(one, sides.test) for one in (bare, tame)]\n"
            "    print(degree, *errors)",
        )
    ],
    "classes": [
        (
            "What is said of a point of your own, as probabilities in the order of the names.",
            "import torch\n\nfrom bear_classifier.lesson.basics import cross_entropy\n\n"
            "X, targets = cross_entropy.class_points()\n"
            "found = cross_entropy.train_linear(X, targets)\n"
            "logits = torch.tensor([[0.0, 0.3, 1.0]]) @ found.W\n"
            "print(cross_entropy.VOCAB, cross_entropy.softmax(logits))",
        )
    ],
    "relu": [
        (
            "A curve of your own, with as many kinks as you like.",
            "import numpy as np\n\nfrom bear_classifier.lesson.basics import relu\n\n"
            "for pieces in (4, 8, 16):\n    print(pieces, relu.worst(np.sqrt, pieces))",
        )
    ],
    "sliders": [
        (
            "A student who begins with finer nudges.",
            "from bear_classifier.lesson.basics import sliders\n\nfor nudge in (2.0, 1.0, 0.1):\n"
            "    print(nudge, sliders.by_hand(nudge=nudge))",
        )
    ],
}


def notebook(name: str) -> str:
    """The file of a page, as JSON text."""
    cells = [
        _words("title", f"# {TITLES[name]}\n\nA page of the lesson: it shows what it claims, and"
               " checks it. It has words, code, pictures and parts that move."),
        _code("page", "from bear_classifier.lesson import contents\n\n"
              f'page = contents.page("{name}")\npage'),
        _words("claims", "Its claims, and the figures that they rest on:"),
        _code("figures", "for claim in page.claims:\n"
              '    print("holds" if claim.holds else "FAILS", claim.said, "|", claim.found)'),
    ]  # fmt: skip
    for number, (about, code) in enumerate(TRY[name]):
        cells += [_words(f"try{number}", f"**Try it.** {about}"), _code(f"cell{number}", code)]
    book = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _words(name: str, text: str) -> dict[str, object]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text.splitlines(True)}


def _code(name: str, text: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": text.splitlines(True),
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in TITLES:
        if name not in PHOTOS:
            (FOLDER / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8")


if __name__ == "__main__":
    main()
