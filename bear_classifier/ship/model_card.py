"""The model card: what a person should know before using a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def card(about: Mapping[str, Any]) -> str:
    """Markdown from the fields of bundle.json."""
    test, data = about["metrics"]["test"], about["data"]
    photos = data["photos"]
    lines = [
        f"# {about['name']}, version {about['version']}",
        "",
        (
            f"Tells apart {', '.join(about['labels'])} in photos of"
            f" {about['preprocessing']['size']} pixels. A {about['architecture']}, trained on"
            f" {photos['train']} photos ({about['created'][:10]}); {_revision(data)}."
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
    if test["n"] and data.get("near_copies") != "grouped":
        lines += [
            "",
            "The intervals on this card take each photo for an independent one. Near-copies among"
            " them make the true intervals wider; how much is not known, for the answers to the"
            " single photos were not kept.",
        ]
    if changed := data["test_decisions"]:
        words = "Test photos that were relabelled or left out by hand before this was measured"
        lines += ["", f"{words}: {changed}."]
    if (looks := data.get("test_looks")) and looks > 1:
        words = "Models of this dataset that were judged on its test photos, this one included"
        lines += ["", f"{words}: {looks}. The best of many looks better than it is."]
    lines += ["", *_elsewhere(about["metrics"]["elsewhere"])]
    if note := about.get("note"):
        lines += ["", note]
    lines += [
        "",
        "## When it gives no answer",
        "",
        *_refusals(about["rejection"]),
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
        proved = "`model.onnx`"
        if _shortened(about):
            proved = "In full precision, with photos decoded in full, the network"
        lines += [
            "",
            (
                f"{proved} answered as the trained network did on {parity['n']} pictures"
                f" ({parity['photos']} of them photos of the dataset), with no probability further"
                f" off than {parity['largest_difference']:.1g}."
            ),
        ]
    lines += _shortcuts(about)
    lines += ["", "## What it gives away", "", *_leaks(about)]
    return "\n".join(lines) + "\n"


def _elsewhere(other: Mapping[str, Any] | None) -> list[str]:
    """How far the figures carry."""
    lines = ["These figures hold for photos like those it was trained on."]
    if other:
        far, near = other["left_out"], other["random"]
        low, high = far["interval"]
        lines[0] += (
            f" On photos of sources that it never saw, its first model was wrong on"
            f" {far['error']:.1%} ({low:.1%} to {high:.1%}) instead of {near['error']:.1%} where"
            " sources were mixed."
        )
    return lines


def _refusals(rule: Mapping[str, Any]) -> list[str]:
    """What the rule refuses, as measured on the test split and with each class left out once."""
    test, close = rule["test"], rule["close"]
    share = f"{close:.0%}" if close >= 0.01 else f"{close:.1%}"
    near = f"differ by less than {share} (`too_close`)" if close else ""
    if rule["least"] is None:
        lines = ["It always names one of its classes, also for a picture that shows none of them"]
        lines[0] += f", unless the two likeliest {near}." if near else "."
    else:
        lines = ["A picture that is unlike the training photos gets no answer (`unlike_training`)"]
        lines[0] += f", nor does one whose two likeliest classes {near}." if near else "."
    if test["n"]:
        low, high = test["accepted_interval"]
        lines[0] += (
            f" Of the test photos it answers {test['accepted_share']:.1%} (95 % interval {low:.1%}"
            f" to {high:.1%})."
        )
    shares = [
        f"{row['share']:.0%} of {label}" for label, row in rule["left_out"].items() if row["n"]
    ]
    if shares and rule["least"] is not None:
        lines += [
            "",
            f"Photos of a class that it did not know would still be named after another class:"
            f" {', '.join(shares)}.",
        ]
    return lines


def _shortened(about: Mapping[str, Any]) -> bool:
    """Whether it answers by a shortcut, which the proof and the figures were made without."""
    taken = {about.get(kind, {"is": ""})["is"] for kind in ("precision", "decoding")}
    return bool(taken & {"int8", "scaled"})


def _shortcuts(about: Mapping[str, Any]) -> list[str]:
    """What was left out to be quicker, and what that was measured to cost."""
    lines = []
    if precision := about.get("precision"):
        name = {"int8": "computes in 8-bit integers", "fp32": "computes in full precision"}
        lines.append(f"It {name[precision['is']]}: {precision['why']}.{_figures(precision)}")
    if decoding := about.get("decoding"):
        name = {"scaled": "no larger than needed", "full": "in full"}
        lines.append(
            f"Large JPEGs are decoded {name[decoding['is']]}: {decoding['why']}."
            f"{_figures(decoding) if decoding['is'] == 'scaled' else ''}"
        )
    if _shortened(about):
        lines.append("The figures above, of errors and of refusals, were measured without that.")
    return ["", " ".join(lines)] if lines else []


def _leaks(about: Mapping[str, Any]) -> list[str]:
    """What can be learned from it of the photos that it was trained on."""
    lines = [sentence, ""] if (sentence := about.get("membership")) else []
    lines.append(
        "Its `reference.npz`, by which pictures of something else are recognised, holds the"
        " features of training photos:"
        " whoever has one of these very photos can tell by them that it was used (measured on"
        " photos of bears: always, AUC 1.000)."
    )
    if number := about["data"].get("pictures"):
        lines[-1] += (
            f" It holds small copies of {number} training photos, which a page may show. Other than"
            " these no photo is in it, and no path or position of any."
        )
    else:
        lines[-1] += " No photo is in it, and no path or position of any."
    return lines


def _figures(found: Mapping[str, Any]) -> str:
    """Of a shortcut that was tried, against going without."""
    if not found.get("photos"):
        return ""
    before, after = found["calibration_error"]
    return (
        f" Calibration error {before:.1%} without, {after:.1%} with it; {found['verdicts']} of"
        f" {found['photos']} validation photos are answered by one of the two only."
    )


def _revision(data: Mapping[str, Any]) -> str:
    """Which state of the dataset it was made from, and what was decided while it trained."""
    mine, latest = data["revision"], data["latest_revision"]
    if latest == mine:
        return f"revision {mine} of its dataset"
    return f"revision {mine} of {latest} of its dataset: what was decided meanwhile is not in it"


def _row(label: str, row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return f"| {label} | 0 | - | - |"
    low, high = row["recall_interval"]
    return f"| {label} | {row['n']} | {row['recall']:.1%} | {low:.1%} to {high:.1%} |"
