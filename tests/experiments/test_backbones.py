"""bears compare backbones: which networks are found, their errors, and what chance explains."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from bundles import tiny_config
from PIL import Image
from training import dataset

from bear_classifier import pipeline
from bear_classifier.cli import compare
from bear_classifier.cli import project as cli_project
from bear_classifier.cli.options import parser
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.experiments.backbones import study
from bear_classifier.experiments.backbones.analysis import (
    Errors,
    backbone_verdicts,
    compare_errors,
)
from bear_classifier.experiments.backbones.plot import draw
from bear_classifier.learn import int8
from bear_classifier.learn import weights_here as weights_here_module
from bear_classifier.learn.weights_here import named_weights, weights_here

# -- kernels ---------------------------------------------------------------------------------------


def errors(*wrong: int, n: int = 100) -> Errors:
    """These photos of n are answered wrongly; each is a group."""
    rows = np.zeros(n, dtype=bool)
    rows[list(wrong)] = True
    return Errors(rows, np.arange(n).astype(str))


def named(backbones: list[dict[str, Errors]]) -> list[dict[str, Any]]:
    rows = compare_errors(backbones)
    return [{"name": f"net{n}"} | row for n, row in enumerate(rows)]


def test_figures_by_hand() -> None:
    first, better = errors(*range(12)), errors(0, 1, 50)
    rows = named([{"out_of_fold": first}, {"out_of_fold": better}])
    assert rows[0]["verdict"] == "first" and rows[0]["unseen_sources"] is None
    found = rows[1]["out_of_fold"]
    assert (found["n"], found["wrong"], found["error"]) == (100, 3, 0.03)
    assert (found["put_right"], found["newly_wrong"]) == (10, 1)
    assert found["p"] == pytest.approx(24 / 2**11)  # 1 of 11 or fewer, on either side
    assert rows[1]["verdict"] == "better"
    assert backbone_verdicts(rows) == [
        "net1 does better than net0: 3 instead of 12 of 100 wrong out of fold"
        " (10 put right, 1 newly wrong, p = 0.012)"
    ]


def test_chance_is_for_all_backbones_together() -> None:
    """p = 0.012 of one of five is 0.06."""
    first, one = {"out_of_fold": errors(*range(12))}, {"out_of_fold": errors(0, 1, 50)}
    rows = named([first, one, one, one, one, one])
    assert [row["verdict"] for row in rows[1:]] == ["no difference"] * 5
    (words, *_) = backbone_verdicts(rows)
    assert words.startswith("chance may explain the difference between net1 and net0: 3 instead")
    level = named([{"out_of_fold": errors(0, 1)}, {"out_of_fold": errors(1, 2)}])
    assert "net0: both 2 of 100 wrong out of fold (1 put right" in backbone_verdicts(level)[0]


def test_unseen_sources_decide_where_they_are_known() -> None:
    first = {"out_of_fold": errors(*range(20)), "unseen_sources": errors(*range(2))}
    other = {"out_of_fold": errors(0), "unseen_sources": errors(*range(30))}
    rows = named([first, other])
    assert rows[1]["out_of_fold"]["verdict"] == "better" and rows[1]["verdict"] == "worse"
    (words,) = backbone_verdicts(rows)
    assert words.startswith("net1 does worse than net0: 30 instead of 2 of 100 wrong on photos of")


@pytest.mark.parametrize("kinds", [["out_of_fold"], ["out_of_fold", "unseen_sources"]])
def test_the_picture_is_one(kinds: list[str]) -> None:
    rows = named([dict.fromkeys(kinds, errors(*range(k))) for k in (5, 0, 40)])
    facts: dict[str, Any] = {"bytes": 9e6, "milliseconds": 7.0}
    rows = [row | facts for row in rows]
    rows[1]["milliseconds"] = None
    assert Image.open(io.BytesIO(draw(rows, backbone_verdicts(rows)))).format == "PNG"


# -- weights that are here -------------------------------------------------------------------------


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of weights in tmp_path; nothing is timed."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(int8, "milliseconds", lambda networks, image: [7.0])
    monkeypatch.setattr(weights_here_module, "PACKAGES", {})
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path


def test_weights_are_found_in_the_caches(caches: Path) -> None:
    assert weights_here() == []
    checkpoints = caches / "torch" / "hub" / "checkpoints"
    kinds = torchvision.models.ResNet50_Weights
    newest, older = (kind.url.rpartition("/")[2] for kind in (kinds.DEFAULT, kinds.IMAGENET1K_V1))
    squeezed = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    for name in (older, squeezed, "stranger.pth"):
        (checkpoints / name).touch()
    folder = caches / "hf" / "hub" / "models--timm--tf_efficientnet_lite0.in1k" / "snapshots" / "0"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    (caches / "hf" / "hub" / "models--someone--bert").mkdir()
    found = {one.arch: one.weights for one in weights_here()}
    assert found == {
        "resnet50": str(checkpoints / older),  # not the weights that the library would load
        "squeezenet1_1": "imagenet",
        "tf_efficientnet_lite0.in1k": str(folder / "model.safetensors"),
    }
    (checkpoints / newest).touch()
    assert {one.arch: one.weights for one in weights_here()}["resnet50"] == "imagenet"


def test_installed_packages_are_found(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"tf_efficientnet_lite0": "lite0-model", "tf_efficientnet_lite2": "lite2-model"}
    monkeypatch.setattr(weights_here_module, "PACKAGES", packages)
    (caches / "lite2_model.py").touch()
    monkeypatch.syspath_prepend(str(caches))
    (found,) = weights_here()
    assert dataclasses.astuple(found) == ("tf_efficientnet_lite2", "package", "lite2-model")


def test_weights_that_are_named() -> None:
    assert dataclasses.astuple(named_weights("resnet18")) == ("resnet18", "imagenet", "ImageNet")
    assert dataclasses.astuple(named_weights("vgg11=a/b.pth")) == ("vgg11", "a/b.pth", "b.pth")
    file = "x/mobilenet_v2-imagenet.pth"
    assert dataclasses.astuple(named_weights(file)) == ("mobilenet_v2", file, Path(file).name)
    with pytest.raises(ConfigError, match=r"BAD_ARCH: .*write ARCH=weights.pth"):
        named_weights("weights.pth")


# -- the study -------------------------------------------------------------------------------------


def test_backbones_from_the_command_line(
    caches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One in the cache, one in a file, and what cannot be had with the reason."""
    config = tiny_config(probe={"folds": 2})
    catalog = dataset(caches / "data", config)
    before = {p: p.read_bytes() for p in (caches / "data" / "photos").rglob("*") if p.is_file()}
    file = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    torch.manual_seed(1)
    state = torchvision.models.squeezenet1_1().state_dict()
    torch.save(state, caches / "torch" / "hub" / "checkpoints" / file)
    torch.save(state, caches / "squeezenet1_1-mine.pth")  # the same: not listed once more
    asked: list[Path] = []
    split = {catalog.file(photo): photo.split for photo in catalog.photos("ok")}
    catalog.close()
    import bear_classifier.learn.features as features

    batches = features.batches
    monkeypatch.setattr(
        features, "batches", lambda files, *a, **k: asked.extend(files) or batches(files, *a, **k)
    )
    project = pipeline.Project(config, caches / "data", caches / "model")
    monkeypatch.setattr(cli_project, "named_project", lambda _: project)
    names = [str(caches / "squeezenet1_1-mine.pth"), "resnet18=nowhere.pth", "resnet999"]
    compare.run(parser().parse_args(["compare", "backbones", *names, "--json"]))
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["rows"]] == [
        "squeezenet1_1",
        "squeezenet1_1 (squeezenet1_1-mine.pth)",
    ]
    assert {one["name"]: one["why"][:30] for one in found["missing"]} == {
        "resnet18": "learn.weights = 'nowhere.pth':",
        "resnet999": "learn.arch = 'resnet999' is no",
    }
    own, other = found["rows"]
    assert own["parameters"] == other["parameters"] == 722_496
    assert own["size"] == 64 and own["settings"] == []
    assert own["milliseconds"] == 7 and 2.8e6 < own["bytes"] < 3.1e6
    assert own["out_of_fold"]["n"] == 18 and own["unseen_sources"] is None
    assert f"learn.weights={names[0]}" in other["settings"]
    assert len(found["verdicts"]) == 1
    assert found["notes"][0].startswith("errors on unseen sources are not measured: ")
    assert {split[file] for file in asked} == {"train", "valid"}  # the test split stays out of it
    saved = json.loads((caches / "data" / "compare" / "backbones.json").read_bytes())
    assert saved == found and Image.open(found["figure"]).format == "PNG"
    assert {p: p.read_bytes() for p in before} == before
    lines = study.text(found)
    assert any(line.startswith("resnet18 ") and "there is no such file" in line for line in lines)


def test_errors_on_unseen_sources(caches: Path) -> None:
    config = tiny_config(probe={"folds": 2})
    dataset(caches / "data", config).close()
    rows = [f"p{n},site{n % 2}.org" for n in range(24)]
    (caches / "sources.csv").write_text("\n".join(["path,source", *rows]), encoding="utf-8")
    own = dataclasses.replace(config.split, sources=str(caches / "sources.csv"))
    config = dataclasses.replace(config, split=own)
    project = pipeline.Project(config, caches / "data", caches / "model")
    found = study.compare_backbones(project)
    (row,) = found["rows"]
    assert row["unseen_sources"]["n"] == 18
    assert any("no other weights are on this computer" in note for note in found["notes"])


def test_the_projects_own_backbone_has_to_be_there(caches: Path) -> None:
    config = tiny_config(learn={"weights": str(caches / "nowhere.pth")})
    dataset(caches / "data", tiny_config()).close()
    project = pipeline.Project(config, caches / "data", caches / "model")
    with pytest.raises(TrainError, match="WEIGHTS_UNAVAILABLE"):
        study.compare_backbones(project)
