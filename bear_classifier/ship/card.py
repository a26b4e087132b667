"""The model card: what a person should know before trusting a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def card(about: Mapping[str, Any]) -> str:
    """Markdown from the fields of bundle.json."""
    test, photos = about["metrics"]["test"], about["data"]["photos"]
    lines = [
        f"# {about['name']}, version {about['version']}",
        "",
        (
            f"Tells apart {', '.join(about['labels'])} in photos of"
            f" {about['preprocessing']['size']} pixels. A {about['architecture']}, trained on"
            f" {photos['train']} photos ({about['created'][:10]})."
        ),
        "",
        "## How good it is",
        "",
    ]
    if test["n"]:
        low, high = test["error_interval"]
        lines += [
            (
                f"Error on {test['n']} photos that were used for nothing else:"
                f" **{test['error']:.1%}** (95 % interval {low:.1%} to {high:.1%}). Stated"
                f" probabilities are off by {test['ece']:.1%} on average."
            ),
            "",
            "| class | photos | recall | 95 % interval |",
            "|---|---|---|---|",
        ]
        lines += [_row(label, row) for label, row in test["per_class"].items()]
    else:
        lines.append("There was no photo to judge with.")
    lines += [
        "",
        (
            "These figures hold for photos like those it was trained on. It always names one of its"
            " classes, also for a picture that shows none of them."
        ),
        "",
        "## How to use it",
        "",
        "    bears predict --model THIS_FOLDER photo.jpg",
        "    bears serve THIS_FOLDER",
        "",
        (
            "Loading it runs no code and refuses any changed byte. `weights.safetensors` is for "
            "training on: `bears run --set learn.weights=THIS_FOLDER`."
        ),
    ]
    if parity := about.get("parity"):
        lines += [
            "",
            (
                f"`model.onnx` answered as the trained network did on {parity['n']} pictures"
                f" ({parity['photos']} of them photos of the dataset), with no probability further"
                f" off than {parity['largest_difference']:.1g}."
            ),
        ]
    return "\n".join(lines) + "\n"


def _row(label: str, row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return f"| {label} | 0 | - | - |"
    low, high = row["recall_interval"]
    return f"| {label} | {row['n']} | {row['recall']:.1%} | {low:.1%} to {high:.1%} |"
