"""Pictures to try: drawn, and never one that the model answers wrongly."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bear_classifier.config.settings import SHIPPED
from bear_classifier.ship import bundle
from bear_classifier.ship.example_pictures import DRAWN, drawn_picture, examples
from bear_classifier.ship.manifest import example_name
from bear_classifier.ship.predict import Model, Prediction, Reason

LABELS = ["black", "grizzly", "koala"]


def answering(right: dict[str, int], reason: Reason = "ok"):  # type: ignore[no-untyped-def]
    """Of each class so many of its drawings, the last ones, are answered rightly."""
    of = {drawn_picture(k, n): (k, n) for k in ("black", "grizzly") for n in range(DRAWN)}

    def answer(picture: bytes) -> Prediction:
        label, number = of[picture]
        said = label if number >= DRAWN - right[label] else "koala"
        return Prediction(said, 0.9, dict.fromkeys(LABELS, 0.3), reason == "ok", reason)

    return answer


def test_of_a_class_that_is_recognised_there_is_one() -> None:
    half = DRAWN // 2
    found = dict(examples(LABELS, answering({"black": half, "grizzly": half - 1})))
    assert found == {"black": drawn_picture("black", half)}


def test_a_refused_picture_is_none() -> None:
    right = {"black": DRAWN, "grizzly": DRAWN}
    assert [*examples(LABELS, answering(right, "too_close"))] == []
    assert [label for label, _ in examples(LABELS, answering(right))] == ["black", "grizzly"]


def test_a_picture_is_small_and_the_same_each_time() -> None:
    picture = drawn_picture("teddy", 0)
    drawn_picture.cache_clear()
    assert drawn_picture("teddy", 0) == picture
    assert max(Image.open(BytesIO(picture)).size) <= 480
    assert len({drawn_picture("teddy", n) for n in range(3)}) == 3
    assert np.asarray(Image.open(BytesIO(picture))).std() > 10


def check(model: bundle.Bundle) -> None:
    answers = Model(model)
    for number, label in enumerate(model.about["examples"]):
        found = answers.predict(bundle.part(model, example_name(number)))
        assert (found.label, found.reason) == (label, "ok")
    listed = {name for name in model.about["files"] if name.startswith("example-")}
    assert listed == {example_name(n) for n in range(len(model.about["examples"]))}


def test_a_published_model_answers_its_own_rightly(model_dir: Path) -> None:
    check(bundle.load(model_dir))


def test_the_shipped_model_answers_its_own_rightly() -> None:
    shipped = bundle.load(SHIPPED)
    check(shipped)
    assert shipped.about["examples"] == ["teddy"]  # it hardly knows the other classes drawn
