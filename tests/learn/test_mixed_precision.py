"""A network in the precision that it learns fastest in, and exact again afterwards."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import nn

from bear_classifier.config.settings import LearnConfig
from bear_classifier.learn import backbone, mixed_precision
from bear_classifier.learn.mixed_precision import depthwise, fast_precision


def classifier(arch: str = "mobilenet_v2") -> backbone.Classifier:
    body = backbone.build_body(LearnConfig(arch, "none"), 0)
    return backbone.Classifier(body, 3, 0.0)


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the processor has no bfloat16."""
    monkeypatch.setattr(mixed_precision, "half_precision", lambda device: torch.bfloat16)


def kinds(model: backbone.Classifier) -> dict[str, torch.dtype]:
    """In which precision each convolution gives its map."""
    seen: dict[str, torch.dtype] = {}
    hooks = [
        part.register_forward_hook(
            lambda module, _, out, name=name: seen.__setitem__(name, out.dtype)
        )
        for name, part in model.named_modules()
        if isinstance(part, nn.Conv2d)
    ]
    model(torch.randn(2, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.usefixtures("half")
def test_depthwise_convolutions_alone_stay_in_single_precision() -> None:
    model = classifier().eval()
    with fast_precision(model):
        seen = kinds(model)
    alone = {name for name, part in model.named_modules() if depthwise(part)}
    assert len(alone) == 17
    for name, kind in seen.items():
        assert kind == (torch.float32 if name in alone else torch.bfloat16), name


@pytest.mark.usefixtures("half")
def test_afterwards_it_is_exact_and_can_be_copied() -> None:
    model, x = classifier().eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        with pytest.raises(ZeroDivisionError), fast_precision(model):
            assert 0 < (model(x) - before).abs().max() < 0.2
            _ = 1 / 0
        assert torch.allclose(model(x), before, atol=1e-5)
        assert torch.allclose(copy.deepcopy(model)(x), before, atol=1e-5)
    assert set(kinds(model).values()) == {torch.float32}


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_1"])
def test_gradients_are_those_of_single_precision_but_for_rounding(arch: str) -> None:
    model, x = classifier(arch).eval(), torch.randn(4, 3, 64, 64)
    slopes = []
    for within in (False, True):
        model.zero_grad()
        if within:
            with fast_precision(model):
                model(x).square().sum().backward()
        else:
            model(x).square().sum().backward()
        slope = model.head[-1].weight.grad
        assert slope is not None
        slopes.append(slope.clone())
    assert torch.cosine_similarity(slopes[0].flatten(), slopes[1].flatten(), dim=0) > 0.99


def test_without_bfloat16_everything_is_single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed_precision, "half_precision", lambda device: None)
    model = classifier().eval()
    with fast_precision(model):
        assert model.precision is None
        assert set(kinds(model).values()) == {torch.float32}


@pytest.mark.usefixtures("half")
def test_the_slope_of_the_map_lies_channels_last() -> None:
    """Otherwise the normalisation before it takes twenty times as long."""
    found = []

    class Spy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, slope: torch.Tensor) -> torch.Tensor:
            found.append(slope.is_contiguous(memory_format=torch.channels_last))
            return slope

    class Watched(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return cast(torch.Tensor, Spy.apply(x))

    model = classifier().train()
    model.body = nn.Sequential(model.body, Watched())
    with fast_precision(model):
        model(torch.randn(4, 3, 64, 64)).square().sum().backward()
    assert found == [True]


def test_what_is_depthwise() -> None:
    assert depthwise(nn.Conv2d(8, 8, 3, groups=8))
    assert not depthwise(nn.Conv2d(8, 8, 3, groups=4))
    assert not depthwise(nn.Conv2d(1, 8, 3))
    assert not depthwise(nn.Linear(8, 8))
