"""Backbones: bodies with pretrained weights, and the linear head."""

from __future__ import annotations

import hashlib
from typing import cast

import torch
from fastai.vision.learner import create_head
from torch import Tensor, nn

from bear_classifier.config.settings import LearnConfig
from bear_classifier.images.preprocessing import USUAL_SIZE
from bear_classifier.learn import feature_map, weights
from bear_classifier.learn.architectures import (
    Architecture,
    architecture,
    classifier_layer,
    random_network,
)
from bear_classifier.stats.arrays import Floats32

OUTPUTS = ["logits", "pooled", "map"]  # of `Outputs`


class Classifier(nn.Module):
    """Body, then fastai's head without hidden layers: pool, BatchNorm, dropout, one Linear."""

    def __init__(
        self, body: nn.Module, n_classes: int, dropout: float, size: int = USUAL_SIZE
    ) -> None:
        """size: pixels, side of the pictures."""
        super().__init__()
        self.body = body
        self.precision: torch.dtype | None = None  # of training; everything else is exact
        with torch.no_grad():
            self.n_features = body.eval()(torch.zeros(1, 3, size, size)).shape[1]
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
    made, size = architecture(settings.arch), weights.preprocessing(settings).size
    model = random_network(made, size, seed)
    if settings.weights != "none" and not settings.is_bundle:
        weights.load_weights(model, *weights.pretrained_state(settings), made)
    body = feature_map.cut(model, made, size)
    if settings.is_bundle:
        weights.load_bundle(body, settings.place, settings.arch)
    return body


def bare_body(arch: str, size: int = USUAL_SIZE) -> nn.Module:
    """The body with random weights. size: pixels, side of the pictures."""
    made = architecture(arch)
    return feature_map.cut(random_network(made, size), made, size)


def weights_classifier(settings: LearnConfig) -> tuple[Floats32, Floats32] | None:
    """Weight (classes, f) and bias (classes,) of the weights' own classes; None where they have
    none, or their head is more than one linear layer on the pooled features, which is tried."""
    if settings.weights == "none" or settings.is_bundle:
        return None
    made, size = architecture(settings.arch), weights.preprocessing(settings).size
    model = random_network(made, size)
    name = classifier_layer(model, made)
    if not name or not is_on_pooled(model, name, made, size):
        return None
    state, _ = weights.pretrained_state(settings)
    weight, bias = (state.get(f"{name}.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None:
        return None
    return weight.float().numpy(), bias.float().numpy()


def is_on_pooled(model: nn.Module, name: str, made: Architecture, size: int) -> bool:
    """Whether the network's own answers are those of this layer on the mean of our feature map.
    model: with random weights; it is not to be used afterwards."""
    layer = cast(nn.Linear, model.get_submodule(name))
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(0))
        layer.bias.zero_()
        theirs = model.eval()(noise)
        pooled = feature_map.cut(model, made, size)(noise).mean((2, 3))
        if pooled.shape[1] != layer.in_features:
            return False
        return feature_map.same(layer(pooled), theirs)


def weights_digest(body: nn.Module) -> str:
    """Hash (16 hex digits) of all weights."""
    sha = hashlib.sha256()
    for name, tensor in body.state_dict().items():
        sha.update(name.encode())
        sha.update(tensor.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
