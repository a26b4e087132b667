"""Front matter of a model card, by which the Hugging Face Hub lists, filters and compares models.

Fields: huggingface.co/docs/hub/model-cards and its specification, hub-docs/modelcard.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub.repocard_data import EvalResult, ModelCardData

_UNKNOWN = "unknown"  # the Hub's word for a licence that nobody stated
_TASK = "image-classification"


def hub_front_matter(about: Mapping[str, Any]) -> str:
    """YAML between two lines of dashes. about: the fields of bundle.json."""
    data = ModelCardData(
        license=about.get("licence") or _UNKNOWN,
        library_name="bear-classifier",
        pipeline_tag=_TASK,
        tags=[_TASK, "onnx", str(about["architecture"])],
        metrics=["accuracy"],
        model_name=str(about["name"]),
        eval_results=_results(about) or None,
    )
    return f"---\n{data.to_yaml(line_break=chr(10))}\n---\n"


def _results(about: Mapping[str, Any]) -> list[EvalResult]:
    """The accuracy on the test split; nothing where there was no photo to judge with."""
    test = about["metrics"]["test"]
    if not test["n"]:
        return []
    low, high = (1 - share for share in reversed(test["error_interval"]))
    interval = f"95 % interval {low:.1%} to {high:.1%}"
    return [
        EvalResult(
            task_type=_TASK,
            dataset_type=str(about["name"]),
            dataset_name=f"{about['name']}: photos that were used for nothing else",
            dataset_split="test",
            metric_type="accuracy",
            metric_name=f"Accuracy on {test['n']} photos, {interval}",
            metric_value=round(1 - test["error"], 4),
        )
    ]
