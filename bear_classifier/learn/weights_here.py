"""Pretrained weights that are on this computer: in the caches of torch and of timm's hub, and in
installed packages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from bear_classifier.errors import ConfigError
from bear_classifier.learn.weights import PACKAGES, package_spec

SUFFIXES = (".pth", ".safetensors")
_OF_TIMM = "models--timm--"  # before ARCH.TAG, as the hub's cache names its folders


@dataclass(frozen=True)
class FoundWeights:
    """arch, weights: as the settings of learn; where: the file or library, for people."""

    arch: str
    weights: str
    where: str


def weights_here() -> list[FoundWeights]:
    """Sorted by the name of the network, each with one kind of weights."""
    found: dict[str, FoundWeights] = {}
    for one in (*_of_torchvision(), *_of_hub(), *_of_packages()):
        found.setdefault(one.arch, one)
    return [found[arch] for arch in sorted(found)]


def named_weights(name: str) -> FoundWeights:
    """What a person names: ARCH, ARCH=WEIGHTS, or a file whose name begins with ARCH and a hyphen,
    such as mobilenet_v2-imagenet.pth. Raises ConfigError (BAD_ARCH)."""
    arch, equals, weights = name.partition("=")
    if equals:
        return FoundWeights(arch, weights, _short(weights))
    if not name.endswith(SUFFIXES):
        return FoundWeights(name, "imagenet", "ImageNet")
    arch, hyphen, _ = Path(name).name.partition("-")
    if not hyphen:
        raise ConfigError(
            "BAD_ARCH", f"the name of {name} does not say its network; write ARCH={name}"
        )
    return FoundWeights(arch, name, _short(name))


def _short(weights: str) -> str:
    return Path(weights).name if "/" in weights or weights.endswith(SUFFIXES) else weights


def _of_torchvision() -> Iterator[FoundWeights]:
    """The default weights of a network, else others of it."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    there = {path.name for path in folder.glob("*.pth")} if folder.is_dir() else set()
    if not there:
        return
    for arch in torchvision.models.list_models(module=torchvision.models):
        kinds = torchvision.models.get_model_weights(arch)
        for kind in (kinds.DEFAULT, *kinds):
            file = kind.url.rpartition("/")[2]
            if file in there:
                default = kind == kinds.DEFAULT
                yield FoundWeights(arch, "imagenet" if default else str(folder / file), file)
                break


def _of_hub() -> Iterator[FoundWeights]:
    """timm's, as huggingface_hub keeps them."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    folder = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    for place in sorted(folder.glob(f"{_OF_TIMM}*")):
        name = place.name[len(_OF_TIMM) :]
        if files := sorted(place.glob("snapshots/*/model.safetensors")):
            yield FoundWeights(name, str(files[-1]), f"timm/{name}")


def _of_packages() -> Iterator[FoundWeights]:
    for arch, package in PACKAGES.items():
        if package_spec(package):
            yield FoundWeights(arch, "package", package)
