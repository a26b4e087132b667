"""The model card: what a person should know before using a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bear_classifier.judge import refusals_in_words
from bear_classifier.ship.hub_metadata import hub_front_matter

_INDEPENDENT = (
    "The intervals on this card take each photo for an independent one. Near-copies among them make"
    " the true intervals wider; how much is not known, for the answers to the single photos were"
    " not kept."
)
_LOADING = (
    "Loading it runs no code and refuses any changed byte. `weights.safetensors` is for training"
    " on: `bears run --set learn.weights=THIS_FOLDER`."
)
USE_COMPLETE = """\
import json
import numpy, onnxruntime
session = onnxruntime.InferenceSession("complete.onnx")
about = session.get_modelmeta().custom_metadata_map
labels, reasons = json.loads(about["labels"]), json.loads(about["reasons"])
# A photo: pixels = numpy.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(PHOTO)).convert("RGB"))
pixels = numpy.zeros((480, 640, 3), dtype="uint8")
outputs = ["label", "probabilities", "reason"]
label, probabilities, reason = session.run(outputs, {"pixels": pixels})
print(reasons[reason], labels[label], dict(zip(labels, probabilities.tolist())))"""
_ACCEPTED = {
    "int8": "It computes in 8-bit integers",
    "fp32": "It computes in full precision",
    "scaled": "Large JPEGs are decoded no larger than needed",
    "full": "Large JPEGs are decoded in full",
}


def card(about: Mapping[str, Any]) -> str:
    """Markdown from the fields of bundle.json, behind the front matter that the Hub reads."""
    data = about["data"]
    tries = [about[kind] for kind in ("precision", "decoding") if about.get(kind)]
    approximate = any(tried["is"] in ("int8", "scaled") for tried in tries)
    paragraphs = [
        f"# {about['name']}, version {about['version']}",
        _summary(about),
        "## How good it is",
        *_performance(about["metrics"]["test"], data),
        _elsewhere(about["metrics"]["elsewhere"]),
        about.get("note"),
        "## When it gives no answer",
        *_refusals(about["rejection"]),
        "## How to use it",
        "    bears predict --model THIS_FOLDER photo.jpg\n    bears serve THIS_FOLDER",
        _LOADING,
        *_complete(about.get("complete")),
        _examples(about.get("examples")),
        f"Its licence: {about['licence']}." if about.get("licence") else "",
        _pretrained(about.get("pretrained")),
        _parity(about.get("parity"), approximate),
        " ".join(_acceptance(tries, approximate)),
        "## What it gives away",
        about.get("membership"),
        _leaks(data.get("pictures")),
    ]
    return hub_front_matter(about) + "\n" + "\n\n".join(filter(None, paragraphs)) + "\n"


def _summary(about: Mapping[str, Any]) -> str:
    data = about["data"]
    mine, latest, of_latest, newer = data["revision"], data["latest_revision"], "", ""
    if latest != mine:
        of_latest, newer = f" of {latest}", ": what was decided meanwhile is not in it"
    return (
        f"Tells apart {', '.join(about['labels'])} in photos of {about['preprocessing']['size']}"
        f" pixels. A {about['architecture']}, trained on {data['photos']['train']} photos"
        f" ({about['created'][:10]}); revision {mine}{of_latest} of its dataset{newer}."
    )


def _complete(made: Mapping[str, Any] | None) -> Iterator[str]:
    """How to use the one file from pixels to the answer, where it is in the bundle."""
    if made and made["is"] == "in it":
        yield (
            "`complete.onnx` does all of it in one file, from pixels to the answer, wherever"
            " onnxruntime runs, in a browser too. Its network is in full precision:"
        )
        yield f"```python\n{USE_COMPLETE}\n```"


def _examples(labels: Sequence[str] | None) -> str:
    if not labels:
        return ""
    return (
        "`example-*.jpeg` are drawn pictures for a page to try, which it answers rightly:"
        f" {', '.join(labels)}. Of each class eight were drawn; a class has one there if at least"
        " half of its drawings were answered rightly."
    )


def _pretrained(origin: Mapping[str, Any] | None) -> str:
    """Whose weights it was trained from, and their licence."""
    if not origin:
        return ""
    words = f"It was trained from pretrained weights: {origin['weights']}"
    return f"{words}. Their licence: {origin['licence']}."


def _performance(test: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """Figures of the test split, and how far they can be relied on."""
    if test["n"]:
        low, high = test["error_interval"]
        yield (
            f"Error on {test['n']} photos that were used for nothing else: **{test['error']:.1%}**"
            f" (95 % interval {low:.1%} to {high:.1%}). Stated probabilities are off by"
            f" {test['ece']:.1%} on average."
        )
        table = "| class | photos | recall | 95 % interval |\n|---|---|---|---|"
        for label, row in test["per_class"].items():
            low, high = row["recall_interval"] if row["n"] else (0, 0)
            recall = f"{row['recall']:.1%} | {low:.1%} to {high:.1%}" if row["n"] else "- | -"
            table += f"\n| {label} | {row['n']} | {recall} |"
        yield table
        if data.get("near_copies") != "grouped":
            yield _INDEPENDENT
    else:
        yield "There was no photo to judge with."
    if changed := data["test_decisions"]:
        words = "Test photos that were relabelled or left out by hand before this was measured"
        yield f"{words}: {changed}."
    if (looks := data.get("test_looks")) and looks > 1:
        words = "Models of this dataset that were judged on its test photos, this one included"
        yield f"{words}: {looks}. The best of many looks better than it is."


def _elsewhere(errors: Mapping[str, Any] | None) -> str:
    """errors: on sources that were held out, and where sources were mixed."""
    sentence = "These figures hold for photos like those it was trained on."
    if not errors:
        return sentence
    held_out, (low, high) = errors["left_out"], errors["left_out"]["interval"]
    return (
        f"{sentence} On photos of sources that it never saw, its first model was wrong on"
        f" {held_out['error']:.1%} ({low:.1%} to {high:.1%}) instead of"
        f" {errors['random']['error']:.1%} where sources were mixed."
    )


def _refusals(rule: Mapping[str, Any]) -> Iterator[str]:
    """What the rule refuses, as measured on the test split and with each class left out once."""
    test, close = rule["test"], rule["close"]
    share = f"{close:.0%}" if close >= 0.01 else f"{close:.1%}"
    if rule["least"] is None:
        text = "It always names one of its classes, also for a picture that shows none of them"
        unless = ", unless the two likeliest"
    else:
        text = "A picture that is unlike the training photos gets no answer (`unlike_training`)"
        unless = ", nor does one whose two likeliest classes"
    text += f"{unless} differ by less than {share} (`too_close`)." if close else "."
    if test["n"]:
        low, high = test["accepted_interval"]
        answered = f"{test['accepted_share']:.1%} (95 % interval {low:.1%} to {high:.1%})"
        text += f" Of the test photos it answers {answered}."
    yield " ".join(filter(None, [text, refusals_in_words.refused(rule)]))
    yield refusals_in_words.set_on(rule)
    classes = [
        f"{row['share']:.0%} of {name}" for name, row in rule["left_out"].items() if row["n"]
    ]
    if classes and rule["least"] is not None:
        words = "Photos of a class that it did not know would still be named after another class"
        yield f"{words}: {', '.join(classes)}."


def _parity(parity: Mapping[str, Any] | None, approximate: bool) -> str:
    if not parity:
        return ""
    full = "In full precision, with photos decoded in full, the network"
    proved = full if approximate else "`model.onnx`"
    return (
        f"{proved} answered as the trained network did on {parity['n']} pictures"
        f" ({parity['photos']} of them photos of the dataset), with no probability further off than"
        f" {parity['largest_difference']:.1g}."
    )


def _acceptance(tries: Sequence[Mapping[str, Any]], approximate: bool) -> Iterator[str]:
    """Which approximations were taken, and what they were measured to cost."""
    for tried in tries:
        yield f"{_ACCEPTED[tried['is']]}: {tried['why']}."
        if tried.get("photos") and tried["is"] != "full":
            before, after = tried["calibration_error"]
            yield (
                f"Calibration error {before:.1%} without, {after:.1%} with it;"
                f" {tried['verdicts']} of {tried['photos']} validation photos are answered by one"
                " of the two only."
            )
    if approximate:
        yield "The figures above, of errors and of refusals, were measured without that."


def _leaks(pictures: int | None) -> str:
    """What can be learned of the training photos. pictures: how many small copies it holds."""
    rest = "No photo is in it, and no path or position of any."
    if pictures:
        rest = (
            f"It holds small copies of {pictures} training photos, which a page may show. Other"
            " than these no photo is in it, and no path or position of any."
        )
    return (
        "Its `reference.npz`, by which pictures of something else are recognised, holds the"
        " features of training photos: whoever has one of these very photos can tell by them that"
        f" it was used (measured on photos of bears: always, AUC 1.000). {rest}"
    )
