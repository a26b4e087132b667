"""Weights for other libraries: their own networks load them, and answer as the bundle does."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import within
from bundles import LABELS, rewrite, tiny_config, trained_dataset
from safetensors import safe_open

from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.learn.data import batches
from bear_classifier.ship import bundle, library_formats
from bear_classifier.ship.export import export
from bear_classifier.ship.library_formats import weights_text, write_weights
from bear_classifier.ship.predict import Model

NETWORKS = {"torchvision": "shufflenet_v2_x0_5", "timm": "test_resnet"}


@pytest.fixture(scope="module", params=NETWORKS)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small network of this library."""
    root = tmp_path_factory.mktemp(request.param)
    config = tiny_config(learn={"arch": NETWORKS[request.param]}, export={"parity": 4})
    with trained_dataset(root / "data", config) as catalog:
        export(catalog, config, root / "model")
    return root / "model"


def library_of(place: Path) -> str:
    return next(k for k, v in NETWORKS.items() if v == bundle.load(place).about["architecture"])


def the_bundle_s(place: Path) -> np.ndarray:
    """Its probabilities of its own test pictures."""
    model = Model(bundle.load(place))
    pictures, _ = model.bundle.golden()
    return model.probabilities(np.stack([model.outputs(path)[0] for path in pictures]))


def code_of(out: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text("utf-8"), re.DOTALL)
    return str(code)


def test_the_library_s_own_network_answers_as_the_bundle(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the code that stands beside the weights."""
    done = write_weights(published, library_of(published), tmp_path / "out")
    assert done.files == ["weights.pth", "README.md"]
    opened = bundle.load(published)
    (batch,) = batches(opened.golden()[0], opened.preprocessing, 64)
    known = {"batch": batch}
    monkeypatch.chdir(tmp_path / "out")
    with torch.inference_mode():
        exec(code_of(tmp_path / "out"), known)
    assert np.abs(known["probabilities"].numpy() - the_bundle_s(published)).max() < 1e-3
    assert f"in this order: {', '.join(LABELS)}." in (tmp_path / "out/README.md").read_text("utf-8")
    assert "does not refuse pictures" in (tmp_path / "out/README.md").read_text("utf-8")


def test_a_file_that_runs_no_code_holds_the_same(published: Path, tmp_path: Path) -> None:
    write_weights(published, library_of(published), tmp_path)
    write_weights(published, "safetensors", tmp_path)
    state = torch.load(tmp_path / "weights.pth", weights_only=True)
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(key), state[key]) for key in state)
        assert json.loads(file.metadata()["labels"]) == LABELS


def test_fastai_loads_it_and_whoever_does_is_warned(published: Path, tmp_path: Path) -> None:
    from fastai.learner import load_learner

    done = write_weights(published, "fastai", tmp_path)
    assert weights_text(done).endswith("warning: whoever loads export.pkl runs the code in it")
    learner = load_learner(tmp_path / "export.pkl")
    assert list(learner.dls.vocab) == LABELS
    assert str(published).encode() not in (tmp_path / "export.pkl").read_bytes()
    opened = bundle.load(published)
    with learner.no_bar():
        _, _, said = learner.predict(opened.golden()[0][0])
    assert np.abs(said.numpy() - the_bundle_s(published)[0]).max() < 1e-3


def test_another_library_is_refused(published: Path, tmp_path: Path) -> None:
    other = "timm" if library_of(published) == "torchvision" else "torchvision"
    with pytest.raises(ConfigError, match="OTHER_LIBRARY") as refused:
        write_weights(published, other, tmp_path / "out")
    assert f"use --format {library_of(published)}" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_head_that_is_more_than_a_linear_layer_is_refused(
    model_dir: Path, tmp_path: Path
) -> None:
    """SqueezeNet's own head is a convolution."""
    with pytest.raises(ConfigError, match="NO_OWN_HEAD"):
        write_weights(model_dir, "torchvision", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert write_weights(model_dir, "fastai", tmp_path / "out").difference < 1e-3


def test_weights_that_answer_otherwise_are_not_written(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = library_formats.library_weights.folded_head

    def wrong(*words):
        weight, bias = real(*words)
        return weight, bias + torch.tensor([0.0, 0.1, 0.0])

    monkeypatch.setattr(library_formats.library_weights, "folded_head", wrong)
    with pytest.raises(ModelError, match="PARITY"):
        write_weights(published, library_of(published), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_is_for_a_format_only(tmp_path: Path) -> None:
    done = within.bears("export", "out", cwd=tmp_path)
    assert done.returncode == 2 and "OUT out needs --format FORMAT" in done.stderr


def test_the_command_writes_beside_the_bundle(model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir, tmp_path / "mine")
    words = ("export", "--format", "fastai", "--model", "mine", "--json")
    done = within.bears(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["export.pkl", "README.md"]
    assert (tmp_path / "mine-fastai" / "export.pkl").is_file()


def test_weights_of_another_network_are_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(published, tmp_path / "model")
    rewrite(tmp_path / "model", architecture="resnet18")
    with pytest.raises(ModelError, match=r"BAD_MODEL: weights.safetensors does not fit resnet18"):
        write_weights(tmp_path / "model", "torchvision", tmp_path / "out")
