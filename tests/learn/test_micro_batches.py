"""What does not fit into memory is learned from in parts, as if it had fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bundles import tiny_config
from fastai.losses import CrossEntropyLossFlat
from torch import nn
from training import fresh, pairs_of, probed, same

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import TrainError
from bear_classifier.learn import lr_finder, micro_batches
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.data import dataloaders
from bear_classifier.learn.fit import Plan, fit
from bear_classifier.learn.train import start

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"epochs": 2, "batch_size": 12, "lr": 0.001})
    catalog = probed(tmp_path_factory.mktemp("memory"), config)
    return catalog, config


class Small(RuntimeError):
    """What an allocator of ours says."""


def room_for(model: nn.Module, most: int, words: str = "CUDA out of memory. Tried to ...") -> list:
    """From now on more photos at once than `most` do not fit. Returns what was tried, in order."""
    tried: list[int] = []

    def allocate(module: nn.Module, inputs: Any) -> None:
        tried.append(len(inputs[0]))
        if len(inputs[0]) > most:
            raise Small(words)

    model.register_forward_pre_hook(allocate)
    return tried


def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    prepared: tuple[Catalog, Config],
) -> None:
    catalog, config = prepared
    dls, model = fresh(catalog, config, batch=12)
    tried = room_for(model, 3)
    end, notes = fit(dls, model, Plan(2, 1e-3, 1.0))
    assert tried[:3] == [12, 6, 3]
    assert tried.count(12) == tried.count(6) == 1
    assert notes == ["Not enough memory for 12; using 3 x 4"]
    assert end.facts["part"] == 3
    assert [row["epoch"] for row in end.facts["history"]] == [1, 2]


@pytest.mark.long
def test_down_to_one_photo_and_no_further(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    dls, model = fresh(catalog, config, batch=12)
    room_for(model, 1)
    end, notes = fit(dls, model, Plan(1, 1e-3, 1.0))
    assert notes == ["Not enough memory for 12; using 1 x 12"]
    assert end.facts["history"][0]["train_loss"] > 0
    dls, model = fresh(catalog, config, batch=12)
    tried = room_for(model, 0)
    with pytest.raises(TrainError, match="OUT_OF_MEMORY: even one picture does not fit"):
        fit(dls, model, Plan(1, 1e-3, 1.0))
    assert tried == [12, 6, 3, 1]


def test_any_other_error_is_not_retried(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    dls, model = fresh(catalog, config, batch=12)
    tried = room_for(model, 3, "CUDA error: device-side assert triggered")
    with pytest.raises(Small, match="device-side assert"):
        fit(dls, model, Plan(1, 1e-3, 1.0))
    assert tried == [12]


@pytest.mark.long
def test_it_goes_on_from_the_last_epoch_with_the_rate_that_it_had(
    prepared: tuple[Catalog, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in epoch 2: epoch 1 is not done again, nor is a rate sought again."""
    monkeypatch.setattr(lr_finder.Curve, "falls", lambda _: True)
    catalog, config = prepared
    dls, model = fresh(catalog, config, batch=12)
    states, tried = [], []

    def keep(state: State) -> None:
        states.append(state)
        if state.epoch == 1:
            tried.append(room_for(model, 6))

    end, notes = fit(dls, model, Plan(2, "find", 1.0), keep=keep)
    assert notes == ["Not enough memory for 12; using 6 x 2"]
    assert tried == [[12, 6, 6, 6]]  # the last is validation
    assert end.facts["lr_reason"] == "the LR finder's valley"
    assert end.facts["lr"] == states[0].facts["lr"]
    assert end.facts["history"][0] == states[0].facts["history"][0]
    assert len(end.facts["history"]) == 2


class Plain(nn.Module):
    """Without BatchNorm: parts have to come to exactly the same."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Held:
    """As much of a Learner as a callback of one batch needs."""

    def __init__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        self.model, self.xb, self.yb = model, (x,), (y,)
        self.loss_func = nn.functional.cross_entropy
        self.loss_grad = self.loss = torch.zeros(())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 10])
def test_parts_have_the_gradient_and_the_loss_of_the_whole(size: int) -> None:
    x, y = torch.randn(10, 3, 2, 2), torch.arange(10) % 3
    whole, parted = Plain(), Plain()
    loss = nn.functional.cross_entropy(whole(x), y)
    loss.backward()
    parts = micro_batches.Parts(size)
    parts.learn = held = Held(parted, x, y)
    parts.before_batch()
    assert len(held.yb[0]) <= size
    held.loss_grad = held.loss_func(held.model(*held.xb), *held.yb)
    parts.after_loss()
    held.loss_grad.backward()
    assert float(held.loss) == pytest.approx(float(loss), rel=1e-5)
    for one, two in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 9])
def test_parts_of_a_weighted_loss_too(size: int) -> None:
    """torch divides by the sum of the weights, which differs from part to part."""
    weighted = CrossEntropyLossFlat(weight=torch.tensor([0.2, 1.0, 5.0]))
    x, y = torch.randn(10, 3, 2, 2), torch.tensor([0, 0, 0, 0, 1, 1, 2, 0, 0, 2])
    whole, parted = Plain(), Plain()
    weighted(whole(x), y).backward()
    parts = micro_batches.Parts(size)
    parts.learn = held = Held(parted, x, y)
    held.loss_func = weighted
    parts.before_batch()
    held.loss_grad = weighted(held.model(*held.xb), *held.yb)
    parts.after_loss()
    held.loss_grad.backward()
    for one, two in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-6)


def test_one_photo_alone_leaves_the_norms_alone() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    micro_batches._only_norm_many(model, 1)
    before = model[0].running_mean.clone()
    model(torch.randn(1, 3))
    assert torch.equal(before, model[0].running_mean)
    micro_batches._only_norm_many(model, 2)
    model(torch.randn(2, 3))
    assert not torch.equal(before, model[0].running_mean)


@pytest.mark.parametrize(
    ("exc", "lack"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (torch.cuda.OutOfMemoryError("HIP out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (NotImplementedError("x"), False),
    ],
)
def test_what_is_a_lack_of_memory(exc: RuntimeError, lack: bool) -> None:
    assert micro_batches.exhausted(exc) is lack


def test_words_for_people() -> None:
    assert micro_batches.note(64, 16, CUDA) == ["Not enough GPU memory for 64; using 16 x 4"]
    assert micro_batches.note(64, 0, CUDA) == []
    assert micro_batches.note(7, 3, CPU) == ["Not enough memory for 7; using 3 x 3"]
    assert micro_batches.smaller_part(64, CUDA) == 32
    with pytest.raises(TrainError, match="use --device cpu or --set learn.size=128"):
        micro_batches.smaller_part(1, CUDA)
    with pytest.raises(TrainError, match="close other programs or --set learn.size=128"):
        micro_batches.smaller_part(1, CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU that PyTorch can use")
def test_a_real_gpu_with_little_memory(tmp_path: Path) -> None:
    """ResNet-18, its gradients and moments take 180 MB, and a photo of 448 pixels 60 MB more."""
    config = tiny_config(learn={"device": "cuda", "arch": "resnet18", "size": 448},
                         train={"epochs": 1, "batch_size": 12, "lr": 0.001})  # fmt: skip
    catalog = probed(tmp_path, config)
    model = start(catalog, config)
    dls = dataloaders(pairs_of(catalog, "train"), pairs_of(catalog, "valid"), config, CUDA)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(600e6 / total)
    try:
        end, notes = fit(dls, model.cuda(), Plan(1, 1e-3, 1.0))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "Not enough GPU memory" in notes[0]
    assert end.facts["part"] < 12
    assert same(end.best(), {k: v.cpu() for k, v in model.state_dict().items()})
