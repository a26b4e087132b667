"""Backbones: bodies of torchvision classifiers, their pretrained weights, and the linear head."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sys
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
import torchvision
from fastai.vision.learner import create_head
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bear_classifier.config.settings import LearnConfig
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.images.preprocessing import USUAL_SIZE
from bear_classifier.learn import weights
from bear_classifier.runtime import git_lfs
from bear_classifier.stats.arrays import Floats32

_HEADS = ("fc.", "classifier.", "head.", "heads.")  # torchvision's names of what is cut off
OUTPUTS = ["logits", "pooled", "map"]  # of `Outputs`
_TAILS = ("avgpool", "dropout", "fc", "aux1", "aux2", "AuxLogits")
# by what a file that holds no weights may be refused
_UNREADABLE = (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError)


class Classifier(nn.Module):
    """Body, then fastai's head without hidden layers: pool, BatchNorm, dropout, one Linear."""

    def __init__(self, body: nn.Module, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.body = body
        self.precision: torch.dtype | None = None  # of training; everything else is exact
        with torch.no_grad():
            self.n_features = body.eval()(torch.zeros(1, 3, 224, 224)).shape[1]
        self.head = create_head(
            self.n_features, n_classes, lin_ftrs=[], ps=dropout, concat_pool=False
        )
        self.head[-1] = nn.Linear(self.n_features, n_classes)  # fastai's own has no bias

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def with_body(self, body: nn.Module) -> Classifier:
        """The same network behind another body; the head is shared, not copied."""
        other = Classifier.__new__(Classifier)
        nn.Module.__init__(other)
        other.body, other.head = body, self.head
        other.precision, other.n_features = self.precision, self.n_features
        other.training = self.training
        return other

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 3, size, size), normalised. Returns logits (n, classes)."""
        if self.precision is None:
            return cast(Tensor, self.head(self.body(x)))
        last = {"memory_format": torch.channels_last}
        x = x.as_subclass(Tensor).contiguous(**last)
        with torch.autocast(x.device.type, self.precision):
            map_ = self.body(x)
            if map_.requires_grad:  # torch makes a slow layout of the mean's gradient
                map_.register_hook(lambda slope: slope.contiguous(**last))
            return cast(Tensor, self.head(map_)).float()

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n, classes), pooled features (n, f) and the last feature map (n, f, h, w)."""
        map_ = self.body(x)
        pooled = self.head[1](self.head[0](map_))
        return self.head[2:](pooled), pooled, map_

    def start_head(self, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Take over a linear model on standardised features.

        mean, var: (f,) of the pooled features; weight: (classes, f); bias: (classes,)."""
        norm, linear = self.head[2], self.head[-1]
        norm.reset_parameters()
        with torch.no_grad():
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)

    def new_head(self, seed: int) -> None:
        """An untrained head, initialised as by fastai's `vision_learner`: BatchNorm as new, weights
        by kaiming_normal_, bias 0. Drawn on the CPU: the same on every device."""
        norm, linear = self.head[2], self.head[-1]
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            norm.reset_parameters()
            linear.weight.copy_(nn.init.kaiming_normal_(torch.empty(linear.weight.shape)))
            linear.bias.zero_()


class Outputs(nn.Module):
    """The three outputs of a classifier, named in OUTPUTS, as its forward pass."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.outputs(x)


def copied(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's state."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def groups(model: Classifier) -> list[list[nn.Parameter]]:
    """Parameters in three groups for discriminative rates: early body, late body, head."""
    body = list(model.body.parameters())
    half, total, cut = sum(p.numel() for p in body) // 8, 0, 0
    while cut < len(body) - 1 and total < half:
        total += body[cut].numel()
        cut += 1
    return [body[:cut], body[cut:], list(model.head.parameters())]


def build_body(settings: LearnConfig, seed: int) -> nn.Module:
    """The body of `settings.arch` with its weights loaded.

    Raises ConfigError (BAD_ARCH, BAD_SETTING) and TrainError (WEIGHTS_UNAVAILABLE, BAD_WEIGHTS)."""
    model, path = _network(settings.arch, seed), settings.place
    bundle = settings.weights not in ("none", "imagenet") and path.is_dir()
    if settings.weights == "imagenet":
        _load(model, _imagenet(settings.arch), "torchvision's weights")
    elif settings.weights != "none" and not bundle:
        _load(model, _state(path), str(path))
    body = cut(model, settings.arch)
    refuse_small(body, settings)
    if bundle:
        _load_bundle(body, path, settings.arch)
    return body


def weights_classifier(settings: LearnConfig) -> tuple[Floats32, Floats32] | None:
    """Weight (classes, f) and bias (classes,) of the weights' own classes; None where they have
    none, or their head is more than one linear layer on the pooled features."""
    if settings.weights == "none" or settings.place.is_dir():
        return None
    layers = [
        (name, layer)
        for name, layer in _network(settings.arch, 0).named_modules()
        if f"{name}.".startswith(_HEADS) and not isinstance(layer, nn.Sequential | nn.Dropout)
    ]
    if len(layers) != 1 or not isinstance(layers[0][1], nn.Linear):
        return None
    imagenet = settings.weights == "imagenet"
    state = _imagenet(settings.arch) if imagenet else _state(settings.place)
    weight, bias = (state.get(f"{layers[0][0]}.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None:
        return None
    return weight.float().numpy(), bias.float().numpy()


def bare_body(arch: str) -> nn.Module:
    """The body with random weights."""
    return cut(_network(arch, 0), arch)


def _network(arch: str, seed: int) -> nn.Module:
    weights.check_name(arch)
    extra = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cast(nn.Module, torchvision.models.get_model(arch, weights=None, **extra))


def cut(model: nn.Module, arch: str) -> nn.Module:
    """Everything before the pooling: images (n, 3, h, w) to a feature map (n, f, h', w')."""
    children = dict(model.named_children())
    stages = children.get("features") or children.get("layers")  # "layers": mnasnet
    if stages and "norm" in children:  # swin: channels last until `permute`
        body = nn.Sequential(stages, children["norm"], children["permute"])
    elif stages and arch.startswith("densenet"):
        body = nn.Sequential(stages, nn.ReLU())
    elif stages:
        body = cast(nn.Sequential, stages)
    else:
        body = nn.Sequential(*(m for name, m in children.items() if name not in _TAILS))
    shape = _map_of(body, USUAL_SIZE)
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ConfigError(
            "BAD_ARCH",
            f"learn.arch = {arch!r} has no feature map to pool; use a convolutional one such as"
            " resnet34",
        )
    return body


def _map_of(body: nn.Module, size: int) -> torch.Size:
    """The shape of the output for a picture; empty where the body fails on this size."""
    try:
        with torch.no_grad():
            shape: torch.Size = body.eval()(torch.zeros(1, 3, size, size)).shape
    except (RuntimeError, NotImplementedError, AssertionError, TypeError):
        return torch.Size()
    return shape if shape.numel() else torch.Size()


def refuse_small(body: nn.Module, settings: LearnConfig) -> None:
    """Raises ConfigError (BAD_SETTING), with the smallest size that works, where strides and
    windows leave nothing of a picture."""
    size = weights.preprocessing(settings).size
    if size >= USUAL_SIZE or _map_of(body, size):  # of the usual one `cut` has made a map
        return
    small, large = size, USUAL_SIZE
    while large - small > 1:
        middle = (small + large) // 2
        small, large = (small, middle) if _map_of(body, middle) else (middle, large)
    raise ConfigError(
        "BAD_SETTING",
        f"learn.size = {size} is too small for {settings.arch}, which takes pictures of {large}"
        f" pixels or more; add --set learn.size={large}, or take another learn.arch",
    )


def _imagenet(arch: str) -> Mapping[str, Tensor]:
    enum = torchvision.models.get_model_weights(arch).DEFAULT
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch prints its download
            return cast(Mapping[str, Tensor], enum.get_state_dict(check_hash=True))
    except (urllib.error.URLError, OSError, RuntimeError) as exc:
        raise TrainError(
            "WEIGHTS_UNAVAILABLE",
            f"{enum.url.rsplit('/', 1)[-1]}, the ImageNet weights of {arch}, is not in {folder}"
            f" and cannot be fetched ({exc}). Put the file there, or pass --set learn.weights=FILE"
            " (a state dict, .pth or .safetensors), or learn.weights=BUNDLE (the folder of a"
            " model), or learn.weights=none to start from nothing",
        ) from exc


def _state(path: Path) -> Mapping[str, Tensor]:
    """Tensors of a file; no code in it is run."""
    try:
        with path.open("rb") as file:
            if git_lfs.is_pointer(file.read(git_lfs.MAX_POINTER_BYTES)):
                raise TrainError("BAD_WEIGHTS", f"{path} is {git_lfs.ADVICE}")
        if path.suffix == ".safetensors":
            return cast(Mapping[str, Tensor], load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainError(
            "WEIGHTS_UNAVAILABLE",
            f"learn.weights = {str(path)!r}: there is no such file; "
            'use "imagenet", "none", a .pth or .safetensors file, or a bundle folder ("shipped" is'
            " the one in models/bears of the project's repository)",
        ) from None
    except _UNREADABLE as exc:
        raise TrainError(
            "BAD_WEIGHTS",
            f"{path} is no plain file of weights ({str(exc).splitlines()[0][:120]}); save one with "
            "torch.save(model.state_dict(), FILE)",
        ) from exc
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainError("BAD_WEIGHTS", f"{path} holds no state dict (names and tensors)")
    return state


def _load(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load everything but the old head."""
    own = model.state_dict()
    wanted = {k for k in own if not k.startswith(_HEADS)}
    if not wanted & state.keys():
        raise TrainError("BAD_WEIGHTS", f"{where} are of another architecture: no name fits")
    missing = sorted(wanted - state.keys())
    misfit = sorted(k for k in wanted & state.keys() if state[k].shape != own[k].shape)
    unknown = sorted(k for k in state if k not in own and not k.startswith((*_HEADS, "aux", "Aux")))
    if missing or misfit or unknown:
        name = (missing or misfit or unknown)[0]
        raise TrainError(
            "BAD_WEIGHTS",
            f"{where} are of another architecture: {len(missing)} tensors missing, {len(misfit)} of"
            f" another shape, {len(unknown)} unknown (such as {name})",
        )
    _refuse_non_finite(state, where)
    model.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)


def _load_bundle(body: nn.Module, folder: Path, arch: str) -> None:
    """Continue from an earlier model of the same architecture."""
    theirs, _ = weights.bundle_facts(folder)
    if theirs != arch:
        raise TrainError(
            "BAD_WEIGHTS", f"{folder} is a {theirs}; set learn.arch={theirs} to continue"
        )
    state = _state(folder / "weights.safetensors")
    own = {k[5:]: v for k, v in state.items() if k.startswith("body.")}
    _refuse_non_finite(own, str(folder))
    body.load_state_dict(own)


def _refuse_non_finite(state: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainError("BAD_WEIGHTS", f"{where}: {name} holds values that are not numbers")


def weights_digest(body: nn.Module) -> str:
    """Hash (16 hex digits) of all weights."""
    sha = hashlib.sha256()
    for name, tensor in body.state_dict().items():
        sha.update(name.encode())
        sha.update(tensor.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
