"""Layers that do not learn answer the same by whatever way they are asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bear_classifier.learn import backbone, frozen_forward
from bear_classifier.learn.frozen_forward import as_onnx

EXAMPLE = torch.zeros(1, 3, 64, 64)
MANY = 1000  # pictures to come


def network(groups: int = 1) -> nn.Module:
    """With normalisations that have seen something."""
    torch.manual_seed(1)
    made = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6()),
        *(nn.Conv2d(8, 8, 3, stride=2, groups=groups), nn.BatchNorm2d(8), nn.ReLU()),
    )
    for _ in range(3):
        made(torch.randn(4, 3, 64, 64) * 3 + 1)
    return made


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        map_ = self.body(x)
        return map_.mean((2, 3)), map_


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("n", [1, 5])
def test_exactly_as_torch(groups: int, n: int) -> None:
    module, x = network(groups), torch.randn(n, 3, 64, 64)
    (found,) = frozen_forward.frozen(module, EXAMPLE, ["map"], MANY)(x)
    with torch.inference_mode():
        assert torch.allclose(found, module.eval()(x), atol=1e-4)


def test_several_outputs_in_their_order() -> None:
    module, x = Two(), torch.randn(2, 3, 64, 64)
    pooled, map_ = frozen_forward.frozen(module, EXAMPLE, ["pooled", "map"], MANY)(x)
    assert (pooled.shape, map_.shape) == ((2, 8), (2, 8, 31, 31))
    assert torch.allclose(pooled, map_.mean((2, 3)), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_half_precision_is_near(
    groups: int, half: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of depthwise convolutions it is exact all the same, as nothing would be gained."""
    monkeypatch.setattr(frozen_forward, "half_precision", lambda device: half)
    module, x = network(groups), torch.randn(4, 3, 64, 64)
    (found,) = frozen_forward.frozen(module, EXAMPLE, ["map"], MANY, exact=False)(x)
    with torch.inference_mode():
        wanted = module.eval()(x)
    off = float((found - wanted).abs().max())
    assert found.dtype == torch.float32
    assert off < 0.05 * float(wanted.abs().max())
    assert (off > 1e-4) == (half is not None and groups == 1)


def test_the_network_itself_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_forward, "half_precision", lambda device: torch.bfloat16)
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for exact in (True, False):
        frozen_forward.frozen(module, EXAMPLE, ["map"], MANY, exact=exact)(
            torch.randn(2, 3, 64, 64)
        )
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("exact", [True, False])
def test_what_cannot_be_taken_apart_is_asked_as_it_is(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("unsupported")

    monkeypatch.setattr(frozen_forward, "as_onnx", refuses)
    monkeypatch.setattr(frozen_forward, "fuse", refuses)
    monkeypatch.setattr(
        frozen_forward, "half_precision", lambda device: None if exact else torch.bfloat16
    )
    module, x = network(), torch.randn(2, 3, 64, 64)
    (found,) = frozen_forward.frozen(module, EXAMPLE, ["map"], MANY, exact=exact)(x)
    with torch.inference_mode():
        assert torch.allclose(found, module.eval()(x), atol=1e-5 if exact else 0.3)


@pytest.mark.parametrize("arch", ["mobilenet_v2", "resnet18", "squeezenet1_1"])
def test_real_bodies(arch: str) -> None:
    body: Callable[[torch.Tensor], torch.Tensor] = backbone.bare_body(arch).eval()
    x = torch.randn(2, 3, 64, 64)
    assert isinstance(body, nn.Module)
    (found,) = frozen_forward.frozen(body, EXAMPLE, ["map"], MANY)(x)
    with torch.inference_mode():
        wanted = body(x)
    assert torch.allclose(found, wanted, atol=1e-4 * max(1.0, float(wanted.abs().max())))


def test_one_file_for_any_number_of_pictures() -> None:
    data = as_onnx(network(), EXAMPLE, "image", ["map"])
    assert b"image" in data
    assert b"map" in data


def test_for_few_pictures_nothing_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when all features are there already: an ONNX file takes longer than they would."""
    monkeypatch.setattr(frozen_forward, "as_onnx", lambda *_: pytest.fail("it was prepared"))
    module, x = network(), torch.randn(2, 3, 64, 64)
    (found,) = frozen_forward.frozen(module, EXAMPLE, ["map"], 2)(x)
    with torch.inference_mode():
        assert torch.allclose(found, module.eval()(x), atol=1e-5)
