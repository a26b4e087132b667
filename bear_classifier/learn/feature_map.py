"""The body of a network: everything before its pooling, from pictures to a feature map.

What a network does after its pooling (the norm of ConvNeXt, a hidden layer of MobileNetV3 and V4)
is left out: our own head, which standardises the pooled features, takes its place. So the pooled
features are the mean of the map, and the evidence of each place is exact. Of transformers the
tokens of the picture's places are the map; those without a place (the class token) are left out.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn

from bear_classifier.errors import ConfigError
from bear_classifier.images.preprocessing import USUAL_SIZE
from bear_classifier.learn.architectures import Architecture

_TAILS = ("avgpool", "dropout", "fc", "aux1", "aux2", "AuxLogits")
_FAILED = (RuntimeError, NotImplementedError, AssertionError, TypeError, ValueError)
_TO_FRONT = (0, 3, 1, 2)  # from channels last to channels first


class TimmFeatures(nn.Module):
    """A network of timm without what only its head runs."""

    def __init__(self, model: nn.Module, used: set[str]) -> None:
        super().__init__()
        self.model = model
        for name in {name for name, _ in model.named_children()} - used:
            setattr(model, name, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.model.forward_features(x)  # type: ignore[operator]
        return features


class TokenMap(nn.Module):
    """Tokens (n, t, f) as a map (n, f, side, side). prefix: tokens in front without a place."""

    def __init__(self, prefix: int, features: int, side: int) -> None:
        super().__init__()
        self.prefix, self.shape = prefix, (features, side, side)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, self.prefix :].transpose(1, 2).reshape(-1, *self.shape)


def cut(model: nn.Module, made: Architecture, size: int) -> nn.Module:
    """Everything before the pooling: images (n, 3, h, w) to a feature map (n, f, h', w').

    size: pixels, side of the pictures. Raises ConfigError (BAD_ARCH, BAD_SETTING)."""
    if made.library == "timm":
        return _of_timm(model.eval(), made, size)
    body = _of_torchvision(model, made.name)
    shape = _map_of(body, USUAL_SIZE)
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ConfigError("BAD_ARCH", _no_map(made))
    refuse_small(body, made.name, size)
    return body


def _of_torchvision(model: nn.Module, arch: str) -> nn.Module:
    children = dict(model.named_children())
    stages = children.get("features") or children.get("layers")  # "layers": mnasnet
    if stages and "norm" in children:  # swin: channels last until `permute`
        return nn.Sequential(stages, children["norm"], children["permute"])
    if stages and arch.startswith("densenet"):
        return nn.Sequential(stages, nn.ReLU())
    if stages:
        return stages
    return nn.Sequential(*(m for name, m in children.items() if name not in _TAILS))


def _of_timm(model: nn.Module, made: Architecture, size: int) -> nn.Module:
    """The children that make the features, one after the other, where that gives the same;
    else the network's own way through them, in one piece."""
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        features, used = _watched(model, noise)
    except _FAILED as exc:
        why = (str(exc) or type(exc).__name__).splitlines()[0][:100]
        raise ConfigError(
            "BAD_SETTING",
            f"learn.size = {size} does not fit {made.name} ({why}); set"
            " another learn.size, 0 for that of its weights, or take another learn.arch",
        ) from exc
    children = dict(model.named_children())
    chain = nn.Sequential(OrderedDict((name, children[name]) for name in used))
    alone = not list(model.named_parameters(recurse=False))  # such as positions: no child's
    if not (alone and _gives(chain, noise, features)):
        chain = nn.Sequential(OrderedDict(features=TimmFeatures(model, set(used))))
    if features.ndim == 3:
        prefix = int(getattr(model, "num_prefix_tokens", 0))
        side = math.isqrt(features.shape[1] - prefix)
        if side * side == features.shape[1] - prefix:
            chain.add_module("map", TokenMap(prefix, features.shape[2], side))
    elif features.ndim == 4 and features.shape[1] == features.shape[2] != features.shape[3]:
        chain.add_module("map", torchvision.ops.Permute(list(_TO_FRONT)))
    shape = _map_of(chain, size)
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ConfigError("BAD_ARCH", _no_map(made))
    return chain


def _watched(model: nn.Module, x: Tensor) -> tuple[Tensor, list[str]]:
    """The network's features of x, and the children that they went through, in order."""
    used: dict[str, None] = {}
    handles = [
        part.register_forward_hook(lambda *_, name=name: used.setdefault(name))
        for name, child in model.named_children()
        for part in child.modules()
    ]
    try:
        with torch.no_grad():
            features = model.forward_features(x)  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(features, Tensor):
        raise TypeError("its features are no tensor")
    return features, list(used)


def _gives(body: nn.Module, x: Tensor, wanted: Tensor) -> bool:
    try:
        with torch.no_grad():
            y = body.eval()(x)
    except _FAILED:
        return False
    return y.shape == wanted.shape and same(y, wanted)


def same(y: Tensor, wanted: Tensor) -> bool:
    """Whether these are equal but for rounding. Noughts are equal to nothing: they say nothing."""
    largest = float(wanted.abs().max())
    return largest > 0 and float((y - wanted).abs().max()) <= 1e-3 * largest


def _no_map(made: Architecture) -> str:
    return (
        f"learn.arch = {made.name!r} has no feature map to pool in {made.library}; use a"
        " convolutional network such as resnet34 and tf_efficientnet_lite2, or a transformer of"
        " timm such as vit_tiny_patch16_224"
    )


def _map_of(body: nn.Module, size: int) -> torch.Size:
    """The shape of the output for a picture; empty where the body fails on this size."""
    try:
        with torch.no_grad():
            shape: torch.Size = body.eval()(torch.zeros(1, 3, size, size)).shape
    except _FAILED:
        return torch.Size()
    return shape if shape.numel() else torch.Size()


def refuse_small(body: nn.Module, name: str, size: int) -> None:
    """Raises ConfigError (BAD_SETTING), with the smallest size that works, where strides and
    windows leave nothing of a picture."""
    if size >= USUAL_SIZE or _map_of(body, size):  # of the usual one `cut` has made a map
        return
    small, large = size, USUAL_SIZE
    while large - small > 1:
        middle = (small + large) // 2
        small, large = (small, middle) if _map_of(body, middle) else (middle, large)
    raise ConfigError(
        "BAD_SETTING",
        f"learn.size = {size} is too small for {name}, which takes pictures of {large}"
        f" pixels or more; add --set learn.size={large}, or take another learn.arch",
    )
