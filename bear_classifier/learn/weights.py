"""Pretrained weights: what they want to see."""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from pathlib import Path

import torchvision

from bear_classifier.config.settings import LearnConfig
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.images.preprocessing import USUAL_SIZE, Preprocessing, of_manifest
from bear_classifier.runtime import git_lfs

# These shift the usual values in `transform_input`, which lies before the body and is left out.
_SHIFTED = ("googlenet", "inception_v3")
_CENTRED = (0.5, 0.5, 0.5)


def preprocessing(learn: LearnConfig) -> Preprocessing:
    """How a photo becomes the network's input: as the settings say, else as the weights say. A
    bundle says it itself; a file of weights is taken for one with the configuration of the
    library's own weights; without weights all of the square is seen.

    Raises ConfigError (BAD_ARCH), TrainError (BAD_WEIGHTS)."""
    own = _own(learn)
    interpolation = own.interpolation if learn.interpolation == "auto" else learn.interpolation
    return replace(
        own, size=learn.size or own.size, crop=learn.crop or own.crop, interpolation=interpolation
    )


def _own(learn: LearnConfig) -> Preprocessing:
    if learn.weights == "none":
        wanted = _of_torchvision(learn.arch)
        return Preprocessing(USUAL_SIZE, wanted.mean, wanted.std)
    if learn.weights != "imagenet" and learn.place.is_dir():
        return bundle_facts(learn.place)[1]
    return _of_torchvision(learn.arch)


def bundle_facts(folder: Path) -> tuple[str, Preprocessing]:
    """The network of a bundle, which is not verified, and what it sees. Raises TrainError
    (BAD_WEIGHTS)."""
    try:
        about = (folder / "bundle.json").read_bytes()
        if git_lfs.is_pointer(about):
            raise TrainError("BAD_WEIGHTS", f"{folder / 'bundle.json'} is {git_lfs.ADVICE}")
        facts = json.loads(about)
        return str(facts["architecture"]), of_manifest(facts["preprocessing"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise TrainError("BAD_WEIGHTS", f"{folder} is no bundle (bundle.json: {exc})") from exc


def _of_torchvision(arch: str) -> Preprocessing:
    """Of torchvision's default weights."""
    check_name(arch)
    wanted = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    (size, *_), (resized, *_) = wanted.crop_size, wanted.resize_size
    mean, std = tuple(wanted.mean), tuple(wanted.std)
    if arch in _SHIFTED:
        mean, std = _CENTRED, _CENTRED
    return Preprocessing(size, mean, std, size / resized, wanted.interpolation.value)


def check_name(arch: str) -> None:
    """Raises ConfigError (BAD_ARCH)."""
    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        close = ", ".join(difflib.get_close_matches(arch, known, n=3, cutoff=0.4)) or "resnet34"
        raise ConfigError(
            "BAD_ARCH", f"learn.arch = {arch!r} is no torchvision classifier; try {close}"
        )
