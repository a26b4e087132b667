"""Pretrained weights that are on this computer: in the caches of torch and of timm's hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from bear_classifier.errors import ConfigError

SUFFIXES = (".pth", ".safetensors")
_HUB = re.compile(r"models--timm--(?P<arch>\w+)[\w.]*")  # timm/ARCH.TAG on the hub


@dataclass(frozen=True)
class Weights:
    """arch, weights: as the settings of learn; where: the file or library, for people."""

    arch: str
    weights: str
    where: str


def weights_here() -> list[Weights]:
    """Sorted by the name of the network, each with one kind of weights."""
    found: dict[str, Weights] = {}
    for one in (*_of_torchvision(), *_of_hub()):
        found.setdefault(one.arch, one)
    return [found[arch] for arch in sorted(found)]


def architectures() -> list[str]:
    """Names of torchvision's classifiers."""
    return list(torchvision.models.list_models(module=torchvision.models))


def named_weights(name: str) -> Weights:
    """What a person names: ARCH, ARCH=WEIGHTS, or a file whose name begins with ARCH and a hyphen,
    such as mobilenet_v2-imagenet.pth. Raises ConfigError (BAD_ARCH)."""
    arch, equals, weights = name.partition("=")
    if equals:
        return Weights(arch, weights, _short(weights))
    if not name.endswith(SUFFIXES):
        return Weights(name, "imagenet", "ImageNet")
    stem = Path(name).name.partition("-")[0]
    if "-" not in Path(name).name:
        raise ConfigError(
            "BAD_ARCH", f"the name of {name} does not say its network; write ARCH={name}"
        )
    return Weights(stem, name, _short(name))


def _short(weights: str) -> str:
    return Path(weights).name if "/" in weights or weights.endswith(SUFFIXES) else weights


def _of_torchvision() -> Iterator[Weights]:
    """The default weights of a network, else others of it."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    there = {path.name for path in folder.glob("*.pth")} if folder.is_dir() else set()
    if not there:
        return
    for arch in architectures():
        kinds = torchvision.models.get_model_weights(arch)
        for kind in (kinds.DEFAULT, *kinds):
            file = kind.url.rpartition("/")[2]
            if file in there:
                default = kind == kinds.DEFAULT
                yield Weights(arch, "imagenet" if default else str(folder / file), file)
                break


def _of_hub() -> Iterator[Weights]:
    """timm's, as huggingface_hub keeps them."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    folder = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    for place in sorted(folder.glob("models--timm--*")):
        match = _HUB.fullmatch(place.name)
        files = sorted(place.glob("snapshots/*/model.safetensors"))
        if match and files:
            yield Weights(match["arch"], str(files[-1]), place.name[len("models--timm--") :])
