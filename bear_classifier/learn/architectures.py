"""Networks by name: the classifiers of torchvision, and those of timm.

timm takes seconds to import, so it is imported only for a name that torchvision does not have.
Where both have a network of that name it is torchvision's; `timm:` before it means the other.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torchvision
from torch import nn

from bear_classifier.errors import ConfigError
from bear_classifier.images.preprocessing import INTERPOLATIONS, Preprocessing

Library = Literal["torchvision", "timm"]
_HEADS = ("fc.", "classifier.", "head.", "heads.")  # torchvision's names of what is cut off
# These shift the usual values in `transform_input`, which lies before the body and is left out.
_SHIFTED = ("googlenet", "inception_v3")
_CENTRED = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Architecture:
    """name: as its library knows it; of timm it may end in a tag of pretrained weights, such as
    resnet34.a1_in1k."""

    library: Library
    name: str


def architecture(arch: str) -> Architecture:
    """Whose network `learn.arch` means. Raises ConfigError (BAD_ARCH) with the nearest names."""
    library, _, name = arch.rpartition(":")
    if library in ("", "torchvision") and name in _of_torchvision():
        return Architecture("torchvision", name)
    if library in ("", "timm") and _in_timm(name):
        return Architecture("timm", name)
    close = ", ".join(_nearest(name)) or "resnet34"
    raise ConfigError(
        "BAD_ARCH",
        f"learn.arch = {arch!r} is no classifier of torchvision or timm; try {close}",
    )


def _of_torchvision() -> list[str]:
    return list(torchvision.models.list_models(module=torchvision.models))


def _in_timm(name: str) -> bool:
    import timm

    try:
        return timm.is_model(name) and timm.get_pretrained_cfg(name) is not None
    except RuntimeError:  # a tag that it does not have
        return False


def _nearest(name: str) -> list[str]:
    """The nearest names of either library."""
    import timm

    name, _, tag = name.partition(".")
    if tag and timm.is_model(name):
        return difflib.get_close_matches(
            f"{name}.{tag}", timm.list_pretrained(f"{name}.*"), n=3, cutoff=0.1
        )
    found: list[str] = []
    for known in (_of_torchvision(), timm.list_models()):
        found += difflib.get_close_matches(name, set(known) - set(found), n=2, cutoff=0.4)
    return found


def random_network(made: Architecture, size: int, seed: int = 0, classes: int = 1000) -> nn.Module:
    """With random weights. size: pixels, side of its pictures; classes: of its own head. Raises
    ConfigError (BAD_SETTING)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if made.library == "timm":
            return timm_network(made.name, size, pretrained=False, num_classes=classes)
        extra: dict[str, Any] = {"num_classes": classes}
        if made.name in ("googlenet", "inception_v3"):
            extra["init_weights"] = False
        return cast(nn.Module, torchvision.models.get_model(made.name, weights=None, **extra))


def timm_network(name: str, size: int, pretrained: bool, **facts: Any) -> nn.Module:
    """facts: for `timm.create_model`. Raises ConfigError (BAD_SETTING) where it is made for
    pictures of one size only."""
    import timm

    config = timm.get_pretrained_cfg(name)
    other = config.fixed_input_size and size != config.input_size[-1]
    if other:
        facts["img_size"] = size
    try:
        return cast(
            nn.Module,
            timm.create_model(name, pretrained=pretrained, **facts),
        )
    except (TypeError, ValueError, AssertionError) as exc:
        if not other:
            raise
        raise ConfigError("BAD_SETTING", _wrong_size(name, size, config.input_size[-1])) from exc


def any_size(made: Architecture) -> bool:
    """Whether weights for pictures of one size fit pictures of another."""
    return made.library != "timm" or not timm_config(made.name).fixed_input_size


def _wrong_size(name: str, size: int, own: int) -> str:
    return (
        f"learn.size = {size} does not fit {name}, which takes pictures of {own} pixels; add --set"
        f" learn.size={own}, or take another learn.arch"
    )


def own_preprocessing(made: Architecture) -> Preprocessing:
    """Of the default weights of its library."""
    if made.library == "timm":
        return _of_timm_config(timm_config(made.name))
    wanted = torchvision.models.get_model_weights(made.name).DEFAULT.transforms()
    (size, *_), (resized, *_) = wanted.crop_size, wanted.resize_size
    mean, std = tuple(wanted.mean), tuple(wanted.std)
    if made.name in _SHIFTED:
        mean, std = _CENTRED, _CENTRED
    return Preprocessing(size, mean, std, size / resized, wanted.interpolation.value)


def timm_config(name: str) -> Any:
    """timm's `PretrainedCfg`."""
    import timm

    return timm.get_pretrained_cfg(name)


def _of_timm_config(config: Any) -> Preprocessing:
    (_, size, _), way = config.input_size, config.interpolation
    way = way if way in INTERPOLATIONS else "bicubic"
    return Preprocessing(
        size, tuple(config.mean), tuple(config.std), min(config.crop_pct, 1.0), way
    )


def head_names(made: Architecture) -> tuple[str, ...]:
    """Beginnings of the names of what belongs to the classes of its weights."""
    if made.library == "torchvision":
        return _HEADS
    names = timm_config(made.name).classifier or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def classifier_layer(model: nn.Module, made: Architecture) -> str:
    """The name of the one linear layer of its head, "" where that has none or several."""
    heads = head_names(made)
    layers = [
        name
        for name, layer in model.named_modules()
        if f"{name}.".startswith(heads) and isinstance(layer, nn.Linear) and layer.bias is not None
    ]
    return layers[0] if len(layers) == 1 else ""
