"""The front matter of a card, read by the Hub's own library."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from bear_classifier.config.settings import SHIPPED
from bear_classifier.ship import bundle
from bear_classifier.ship.model_card import card


@pytest.fixture
def about() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SHIPPED / "bundle.json").read_text(encoding="utf-8"))
    return copy.deepcopy(found)


def test_the_hub_reads_what_the_model_is_and_how_good() -> None:
    data = ModelCard.load(SHIPPED / "README.md").data
    test = bundle.load(SHIPPED).about["metrics"]["test"]
    assert (data.pipeline_tag, data.library_name) == ("image-classification", "bear-classifier")
    assert (data.license, data.model_name) == ("unknown", "bears")
    assert data.tags == ["image-classification", "onnx", "tf_efficientnet_lite2"]
    (result,) = data.eval_results
    assert (result.task_type, result.dataset_split) == ("image-classification", "test")
    assert (result.metric_type, data.metrics) == ("accuracy", ["accuracy"])
    assert result.metric_value == pytest.approx(1 - test["error"], abs=1e-4)
    low, high = (1 - share for share in reversed(test["error_interval"]))
    assert f"{test['n']} photos, 95 % interval {low:.1%} to {high:.1%}" in result.metric_name


@pytest.mark.parametrize("name", ["bären: 1", "a - b # c", "no", '"quoted"\\', "2026-11-30"])
def test_every_name_is_read_as_it_is(about: dict[str, Any], name: str) -> None:
    about |= {"name": name, "licence": "cc-by-4.0"}
    data = ModelCard(card(about)).data
    assert (data.model_name, data.license) == (name, "cc-by-4.0")
    assert data.eval_results[0].dataset_type == name
    assert "Its licence: cc-by-4.0." in card(about)


def test_without_test_photos_there_is_no_figure(about: dict[str, Any]) -> None:
    about["metrics"]["test"] = {"n": 0}
    about["rejection"]["test"] = {"n": 0}
    data = ModelCard(card(about)).data
    assert "model-index" not in card(about) and data.pipeline_tag == "image-classification"


def test_people_see_the_card_without_it(model_dir: Path) -> None:
    made = bundle.load(model_dir)
    text = (model_dir / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n") and text.endswith(made.card())
    assert made.card().startswith("# tiny, version 1\n")
