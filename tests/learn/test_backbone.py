import pickle
from pathlib import Path
from types import SimpleNamespace

import corpus
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from bear_classifier.config.settings import LearnConfig
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.learn import backbone, devices, feature_map
from bear_classifier.learn.architectures import architecture, random_network

CNNS = [
    "resnet18",
    "mobilenet_v2",
    "squeezenet1_1",
    "densenet121",
    "efficientnet_b0",
    "shufflenet_v2_x0_5",
    "mnasnet0_5",
    "regnet_x_400mf",
    "swin_t",
]


@pytest.mark.series
@pytest.mark.parametrize("arch", CNNS)
def test_the_cut_is_where_torchvision_pools(arch):
    """Our pooled features are what the original classifier's first layer gets to see."""
    made = architecture(arch)
    model = random_network(made, 224).eval()
    seen = []
    name = next(n for n in ("classifier", "fc", "head") if hasattr(model, n))
    getattr(model, name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(1, 3, 224, 224, generator=torch.manual_seed(1))
    with torch.no_grad():
        model(x)
        map_ = feature_map.cut(model, made, 224)(x)
    theirs = seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]
    assert torch.allclose(map_.mean((2, 3)), theirs, atol=1e-5)


def test_an_unknown_architecture_is_guessed():
    with pytest.raises(ConfigError, match=r"BAD_ARCH: learn.arch = 'resnet43' .*; try resnet34"):
        backbone.build_body(LearnConfig("resnet43", "none"), 0)


def test_an_architecture_without_a_map():
    with pytest.raises(ConfigError, match="BAD_ARCH: learn.arch = 'vit_b_16' has no feature map"):
        backbone.build_body(LearnConfig("vit_b_16", "none"), 0)


LONG = pytest.mark.long
SMALLEST = {  # pixels; 32 is the least that the setting takes
    "resnet18": 32,
    "squeezenet1_1": 32,
    "alexnet": 63,
    "inception_v3": 75,
    **dict.fromkeys(("googlenet", "mobilenet_v2", "shufflenet_v2_x0_5", "mnasnet0_5"), 32),
    **dict.fromkeys(("convnext_tiny", "densenet121", "efficientnet_b0", "mobilenet_v3_small"), 32),
    **dict.fromkeys(("regnet_x_400mf", "swin_t", "vgg11"), 32),
}


@pytest.mark.parametrize(
    ("arch", "least"),
    [pytest.param(*row, marks=[] if i < 2 else LONG) for i, row in enumerate(SMALLEST.items())],
)
def test_a_size_too_small_for_a_network_is_refused_with_the_smallest_that_works(arch, least):
    """One network of each family: that size gives a map, and one pixel less gives none."""
    body = backbone.bare_body(arch)
    feature_map.refuse_small(body, arch, least)
    assert feature_map._map_of(body, least).numel() > 0
    for size in {32, least - 1} - {31, least}:
        with pytest.raises(ConfigError) as caught:
            feature_map.refuse_small(body, arch, size)
        assert caught.value.code == "BAD_SETTING"
        assert f"learn.size = {size} is too small for {arch}" in caught.value.sentence
        assert f"--set learn.size={least}" in caught.value.sentence


def test_a_size_too_small_is_refused_before_any_photo():
    with pytest.raises(ConfigError, match="learn.size = 48 is too small for alexnet"):
        backbone.build_body(LearnConfig("alexnet", "none", 48), 0)


def test_same_seed_same_body_and_nobody_elses_dice_are_moved():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = backbone.build_body(LearnConfig("squeezenet1_1", "none"), 1)
    assert torch.equal(torch.rand(3), expected)
    two = backbone.build_body(LearnConfig("squeezenet1_1", "none"), 1)
    other = backbone.build_body(LearnConfig("squeezenet1_1", "none"), 2)
    assert (
        backbone.weights_digest(one)
        == backbone.weights_digest(two)
        != backbone.weights_digest(other)
    )


def test_the_head_computes_what_the_probe_computes():
    body = backbone.build_body(LearnConfig("squeezenet1_1", "none"), 0)
    model = backbone.Classifier(body, 3, 0.5).eval()
    f = model.n_features
    mean, var = torch.rand(f), torch.rand(f) + 0.5
    weight, bias = torch.randn(3, f), torch.randn(3)
    model.start_head(mean, var, weight, bias)
    with torch.no_grad():
        logits, pooled, map_ = model.outputs(torch.randn(2, 3, 64, 64))
    expected = ((pooled - mean) / (var + 1e-5).sqrt()) @ weight.T + bias
    assert torch.allclose(logits, expected, atol=1e-4)
    assert torch.equal(pooled, map_.mean((2, 3)))


def test_forward_and_outputs_agree():
    body = backbone.build_body(LearnConfig("mobilenet_v2", "none"), 0)
    model = backbone.Classifier(body, 3, 0.5).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(model(x), model.outputs(x)[0], atol=1e-6)
        exact = model(x)
        model.precision = torch.bfloat16
        rough = model(x)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.2


def test_three_groups_hold_every_parameter_once():
    model = backbone.Classifier(backbone.bare_body("resnet18"), 3, 0.5)
    parts = backbone.groups(model)
    assert len(parts) == 3
    assert all(parts)
    ids = [id(p) for part in parts for p in part]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_the_early_layers_are_an_eighth_of_the_parameters():
    """By hand: of 64 numbers the first two layers hold eight."""
    body = [torch.nn.Parameter(torch.zeros(n)) for n in (4, 4, 8, 16, 32)]
    head = torch.nn.Linear(1, 1)
    model = SimpleNamespace(body=torch.nn.ParameterList(body), head=head)
    early, late, last = backbone.groups(model)
    assert [len(p) for p in early] == [4, 4]
    assert [len(p) for p in late] == [8, 16, 32]
    assert last == list(head.parameters())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    state = torchvision.models.squeezenet1_1().state_dict()
    torch.save(state, folder / "w.pth")
    save_file(state, folder / "w.safetensors")
    return folder, state


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_local_weights_are_loaded(saved, name):
    folder, state = saved
    body = backbone.build_body(LearnConfig("squeezenet1_1", str(folder / name)), 0)
    assert torch.equal(body.state_dict()["0.weight"], state["features.0.weight"])


def test_weights_of_another_architecture(saved):
    with pytest.raises(TrainError, match="BAD_WEIGHTS: .* are of another architecture"):
        backbone.build_body(LearnConfig("squeezenet1_0", str(saved[0] / "w.pth")), 0)
    with pytest.raises(TrainError, match="no name fits"):
        backbone.build_body(LearnConfig("resnet18", str(saved[0] / "w.pth")), 0)


def test_weights_that_are_not_numbers(saved, tmp_path):
    state = {k: v.clone() for k, v in saved[1].items()}
    state["features.0.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(TrainError, match=r"features\.0\.bias holds values that are not numbers"):
        backbone.build_body(LearnConfig("squeezenet1_1", str(tmp_path / "nan.pth")), 0)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("was-here"),)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "bundle/bundle.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    (tmp_path / "bundle").mkdir()
    (tmp_path / name).write_bytes(corpus.lfs_pointer())
    weights = tmp_path / name.removesuffix("/bundle.json")
    with pytest.raises(TrainError, match="BAD_WEIGHTS: .* is a pointer of Git LFS .* git lfs pull"):
        backbone.build_body(LearnConfig("squeezenet1_1", str(weights)), 0)


@pytest.mark.parametrize("payload", ["pickle", "torch", "noise", "dict", "html"])
def test_files_that_are_no_weights_run_nothing(tmp_path, payload, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    if payload == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif payload == "torch":
        torch.save({"features.0.weight": Bomb()}, path)
    elif payload == "dict":
        torch.save({"features.0.weight": 3}, path)
    else:
        path.write_bytes(b"\x00\x01noise" if payload == "noise" else b"<html>")
    with pytest.raises(TrainError, match="BAD_WEIGHTS"):
        backbone.build_body(LearnConfig("squeezenet1_1", str(path)), 0)
    assert not (tmp_path / "was-here").exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TrainError, match="WEIGHTS_UNAVAILABLE: .*there is no such file"):
        backbone.build_body(LearnConfig("squeezenet1_1", str(tmp_path / "no.pth")), 0)


def test_no_network_names_the_file_the_folder_and_three_ways_out(tmp_path, monkeypatch):
    """The only way out is a closed door on loopback."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainError, match="^WEIGHTS_UNAVAILABLE: resnet34-") as error:
        backbone.build_body(LearnConfig("resnet34", "imagenet"), 0)
    for words in (
        str(tmp_path),
        "learn.weights=FILE",
        "learn.weights=BUNDLE",
        "learn.weights=none",
    ):
        assert words in str(error.value)


def test_a_device_that_is_not_there():
    missing = next(d for d in ("cuda", "mps") if devices.pick_device("auto").type != d)
    if missing == "cuda" and torch.cuda.is_available():
        missing = "mps"
    with pytest.raises(ConfigError, match=f"NO_DEVICE: learn.device = '{missing}'"):
        devices.pick_device(missing)
    with pytest.raises(ConfigError, match="NO_DEVICE"):
        devices.pick_device("tpu")
