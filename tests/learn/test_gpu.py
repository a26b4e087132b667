"""What is otherwise on a GPU; as far as that can be told, also where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config
from fastai.torch_core import set_seed
from torch import nn
from training import fresh, pairs_of, probed

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.learn import backbone, checkpoints, mixed_precision
from bear_classifier.learn import fit as cycle
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.data import Unreadable, dataloaders
from bear_classifier.learn.devices import LoadingWorkers
from bear_classifier.learn.fit import Plan, fit, make_learner
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.learn.mixed_precision import exactly, fast_precision, half_precision
from bear_classifier.learn.train import start
from bear_classifier.learn.trainable_part import LastStage, part_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EXAMPLE = torch.zeros(1, 3, 64, 64)
SCALE = {"scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000,
         "_growth_tracker": 3}  # fmt: skip
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU that PyTorch can use")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"epochs": 1, "batch_size": 4, "lr": 0.003, "layers": "last-stage"})
    catalog = probed(tmp_path_factory.mktemp("gpu"), config)
    return catalog, config


class Flag(nn.Module):
    """What torch may do to convolutions while this is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(torch.backends.cudnn.allow_tf32)
        return x * self.weight


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_where_the_gpu_has_it(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one would say so too, and emulate it slowly."""

    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert half_precision(CUDA) == (torch.bfloat16 if native else torch.float16)


@pytest.mark.parametrize("before", [True, False])
def test_exact_is_without_tf32_and_leaves_no_trace(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    with pytest.raises(ZeroDivisionError), exactly():
        assert torch.backends.cudnn.allow_tf32 is False
        _ = 1 / 0
    assert torch.backends.cudnn.allow_tf32 is before


def test_exact_passes_are_without_tf32_and_others_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "bear_classifier.learn.frozen_forward.half_precision", lambda _: torch.bfloat16
    )
    module = Flag()
    for exact in (True, False):
        frozen(module, EXAMPLE, ["map"], 1, exact=exact)(torch.zeros(1, 3, 64, 64))
    assert module.seen == [False, True]
    assert torch.backends.cudnn.allow_tf32


def test_what_the_last_stage_says_is_without_tf32(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    set_seed(1, reproducible=True)
    photos = [p for p in catalog.photos("ok") if p.split != "test"]
    part, _ = part_of(catalog, config, start(catalog, config), photos, Unreadable(100))
    assert isinstance(part, LastStage)
    seen = []
    part.model.body.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    part.outputs(photos, config)
    assert set(seen) == {False}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, None])
def test_only_float16_has_its_losses_scaled(
    prepared: tuple[Catalog, Config],
    kind: torch.dtype | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps whose scaled gradients overflow are skipped: half of a short training."""
    for module in (cycle, mixed_precision):
        monkeypatch.setattr(module, "half_precision", lambda _: kind)
    dls, model = fresh(*prepared)
    with fast_precision(model):
        names = [cb.name for cb in make_learner(dls, model, tmp_path, Plan(1, 1e-3, 1.0)).cbs]
        assert ("mixed_precision" in names) == (kind == torch.float16)
        assert model.precision == (torch.bfloat16 if kind == torch.bfloat16 else None)


class Learns:
    """As much of a Learner as has a scaler."""

    def __init__(self, enabled: bool) -> None:
        self.scaler = torch.amp.GradScaler("cpu", enabled=enabled)


def test_the_scale_is_kept_in_float16_and_absent_in_bfloat16() -> None:
    state = State({"history": [], "scaler": SCALE}, {})
    half, brain = Learns(True), Learns(False)
    for learn in (half, brain):
        checkpoints.restore_scaler(learn, state)  # type: ignore[arg-type]
    assert half.scaler.get_scale() == 1024
    assert checkpoints._scaler(half) == SCALE  # type: ignore[arg-type]
    assert checkpoints._scaler(brain) == {}  # type: ignore[arg-type]
    begun_in_bfloat16 = State({"history": [], "scaler": {}}, {})
    checkpoints.restore_scaler(half, begun_in_bfloat16)  # type: ignore[arg-type]
    assert half.scaler.get_scale() == 1024


def test_what_was_begun_in_float16_goes_on_on_a_processor(
    prepared: tuple[Catalog, Config],
) -> None:
    dls, model = fresh(*prepared)
    states: list[State] = []
    fit(dls, model, Plan(2, 1e-3, 1.0), keep=states.append)
    begun = State({**states[0].facts, "scaler": SCALE}, states[0].tensors)
    end, _ = fit(*fresh(*prepared), Plan(2, 1e-3, 1.0), begun)
    assert end.facts["history"] == states[1].facts["history"]


def test_a_training_on_the_processor_leaves_the_gpu_alone(
    prepared: tuple[Catalog, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts(*_: Any) -> None:
        pytest.fail("CUDA was started")

    dls, model = fresh(*prepared)
    learn = make_learner(dls, model, tmp_path, Plan(1, 1e-3, 1.0))
    learn.create_opt()
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_rng_state", starts)
        patch.setattr(torch.cuda, "set_rng_state", starts)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        state = checkpoints.capture(learn, checkpoints.begin(model).facts, None)
        assert "dice.cuda" not in state.tensors
        state.tensors["dice.cuda"] = torch.zeros(16, dtype=torch.uint8)  # begun on a GPU
        checkpoints.load_state(learn, state)


@needs_gpu
def test_exact_passes_on_a_gpu_are_those_of_the_processor() -> None:
    set_seed(0)
    body = backbone.bare_body("resnet18").eval()
    x = torch.randn(8, 3, 224, 224)
    with torch.inference_mode():
        wanted = body(x).numpy()
    body.cuda()
    (found,) = frozen(body, torch.zeros(1, 3, 224, 224, device="cuda"), ["map"], 8)(x)
    assert found.numpy() == pytest.approx(wanted, abs=1e-4 * float(np.abs(wanted).max()))


@needs_gpu
def test_batches_that_are_copied_ahead_are_those_of_the_processor(
    prepared: tuple[Catalog, Config],
) -> None:
    """Also while the GPU still computes with the one before, in memory that is used again."""
    catalog, config = prepared
    sides = [pairs_of(catalog, side) for side in ("train", "valid")]
    found: list[list[torch.Tensor]] = []
    for device, workers in ((CPU, LoadingWorkers(1, 0)), (CUDA, LoadingWorkers(2, 3))):
        set_seed(1, reproducible=True)
        train = dataloaders(*sides, config, device, workers=workers).train
        train.after_batch.fs.clear()
        sums = []
        for _ in range(20):
            for x, _ in train:
                busy = torch.ones(2000, 2000, device=device)
                for _ in range(20 if device.type == "cuda" else 0):
                    busy = busy @ busy / 2000
                sums.append(x.as_subclass(torch.Tensor).long().sum((1, 2, 3)) + busy[0, 0].long())
        found.append([one.cpu() for one in sums])
    assert all(map(torch.equal, *found))
