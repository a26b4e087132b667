"""A trained network as torchvision, timm and fastai know it: weights under their own names.

Our head standardises the pooled features and is linear on them; the temperature divides what comes
out. All of that is one linear layer, which takes the place of the library's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import fastai.callback.progress  # noqa: F401  # adds no_bar to Learner
import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import backbone, feature_map
from bear_classifier.learn.architectures import (
    Architecture,
    architecture,
    classifier_layer,
    random_network,
)
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import batches, portable_dataloaders
from bear_classifier.stats.arrays import Floats32

LibraryState = dict[str, Tensor]


def classifier_of(weights: bytes, arch: str, classes: int, size: int) -> Classifier:
    """The network of a bundle, in single precision. weights: of weights.safetensors; size: pixels.
    Raises ModelError (BAD_MODEL) and ConfigError (BAD_ARCH)."""
    network = Classifier(backbone.bare_body(arch, size), classes, 0.0, size)
    try:
        state = from_safetensors(weights)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v
                                 for k, v in state.items()})  # fmt: skip
    except (RuntimeError, ValueError, SafetensorError) as exc:
        words = f"weights.safetensors does not fit {arch}: {str(exc).splitlines()[0][:200]}"
        raise ModelError("BAD_MODEL", words) from exc
    return network.eval()


def in_half_precision(weights: bytes) -> bool:
    """Whether a bundle's weights.safetensors holds halves."""
    return any(tensor.dtype == torch.float16 for tensor in from_safetensors(weights).values())


def library_state(network: Classifier, arch: str, size: int, temperature: float) -> LibraryState:
    """A state dict that the library's own network of as many classes loads with strict=True. Its
    logits are ours divided by the temperature. Raises ConfigError (NO_OWN_HEAD)."""
    made, classes = architecture(arch), _last(network).out_features
    full = random_network(made, size, classes=classes)
    name = classifier_layer(full, made)
    if not name or not backbone.is_on_pooled(random_network(made, size), name, made, size):
        raise ConfigError(
            "NO_OWN_HEAD",
            f"{made.library}'s own {made.name} has more than a linear layer behind its pooled"
            " features, so the head that was trained here does not fit into it; use --format"
            " fastai, or the bundle",
        )
    tensors = full.state_dict(keep_vars=True)  # the cut may replace what only the head runs
    feature_map.cut(full, made, size).load_state_dict(network.body.state_dict())
    weight, bias = folded_head(network, temperature)
    tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
    return {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}


def folded_head(network: Classifier, temperature: float) -> tuple[Tensor, Tensor]:
    """Weight (classes, f) and bias (classes,) of the one linear layer on pooled features that does
    what BatchNorm, linear layer and temperature do after each other."""
    norm, linear = cast(nn.BatchNorm1d, network.head[2]), _last(network)
    mean, var = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    scale = norm.weight.double() / (var + norm.eps).sqrt()
    weight = linear.weight.double() * scale
    bias = linear.bias.double() + linear.weight.double() @ (norm.bias.double() - mean * scale)
    return (weight / temperature).float().detach(), (bias / temperature).float().detach()


def _last(network: Classifier) -> nn.Linear:
    return cast(nn.Linear, network.head[-1])


def logits_of_state(
    state: LibraryState,
    made: Architecture,
    classes: int,
    shape: Preprocessing,
    files: Sequence[Path],
) -> Floats32:
    """What the library's own network answers with these weights: (n, classes)."""
    network = random_network(made, shape.size, classes=classes)
    network.load_state_dict(state, strict=True)
    return network_logits(network.eval(), shape, files)


def network_logits(network: nn.Module, shape: Preprocessing, files: Sequence[Path]) -> Floats32:
    """(n, classes), in full precision."""
    with torch.inference_mode():
        logits: Floats32 = torch.cat([network(x) for x in batches(files, shape, 16)]).numpy()
    return logits


def as_learner(
    network: Classifier, config: Config, temperature: float, drawn: Sequence[Path]
) -> tuple[bytes, Floats32]:
    """An exported fastai Learner whose `predict` gives calibrated probabilities, and those of the
    drawn pictures, (n, classes). It is pickled, so that whoever loads it runs what it says. Its
    DataLoaders are made from these pictures; none of them is in it."""
    linear = _last(network)
    with torch.no_grad():
        linear.weight.div_(temperature)
        linear.bias.div_(temperature)
    labelled = [(path, config.labels[n % len(config.labels)]) for n, path in enumerate(drawn)]
    dls = portable_dataloaders(labelled, labelled, config, torch.device("cpu"))
    learner = Learner(dls, network, CrossEntropyLossFlat())
    with tempfile.TemporaryDirectory(prefix="bears-export-") as scratch, learner.no_bar():
        said: Floats32 = torch.stack([learner.predict(path)[2] for path in drawn]).numpy()
        learner.export(Path(scratch, "export.pkl").resolve())
        return Path(scratch, "export.pkl").read_bytes(), said
