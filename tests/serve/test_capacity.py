"""What models need is measured, and what is too large is said to be the model's fault."""

from __future__ import annotations

import asyncio
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import drawn, saved

from bear_classifier.errors import ModelError
from bear_classifier.images import decoder
from bear_classifier.runtime import usable_memory
from bear_classifier.runtime.usable_memory import free, limit
from bear_classifier.serve import capacity, inference_worker
from bear_classifier.serve.capacity import (
    Need,
    Share,
    allowed_memory,
    measure_models,
    most_of,
    shared,
)
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.ship.bundle import load
from bear_classifier.ship.predict import Model

PHOTO = saved(drawn(seed=3), "JPEG")
GB = 1_000_000_000


def laid(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_the_least_of_what_is_free_and_of_all_limits_above(tmp_path: Path) -> None:
    facts = {"proc__meminfo": "MemTotal: 9 kB\nMemAvailable:  8000000 kB\n"}
    assert usable_memory.usable_memory(laid(tmp_path / "a", **facts)) == 8_192_000_000
    facts["proc__self__cgroup"] = "0::/box/inner\n"
    root = laid(tmp_path / "b", **facts)
    cgroup = root / "sys" / "fs" / "cgroup"
    for name, text in (("box/inner", "max\n"), ("box", "2000000000\n"), (".", "6000000000\n")):
        laid(cgroup / name, **{"memory.max": text})
    assert usable_memory.usable_memory(root) == 2 * GB
    facts["proc__self__cgroup"] = "9:cpu:/x\n4:memory:/docker/7\n"
    root = laid(tmp_path / "c", **facts)
    laid(root / "sys/fs/cgroup/memory/docker/7", **{"memory.limit_in_bytes": "1500000000\n"})
    laid(root / "sys/fs/cgroup/memory", **{"memory.limit_in_bytes": "9223372036854771712\n"})
    assert usable_memory.usable_memory(root) == 1_500_000_000
    assert usable_memory.usable_memory(tmp_path / "nothing") > 0


@pytest.mark.parametrize("text", ["", "max\n", "9223372036854771712", "-1", "x", "0"])
def test_no_limit(text: str) -> None:
    assert limit(text) == 0
    assert free(text) == free(f"MemAvailable: {text}") == 0 or text == "9223372036854771712"


def test_half_may_be_taken_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for usable, half in ((16 * GB, 8 * GB), (GB, GB), (GB // 2, GB // 2), (3 * GB, 3 * GB // 2)):
        monkeypatch.setattr(capacity, "usable_memory", lambda usable=usable: usable)
        assert allowed_memory(0) == half
        assert allowed_memory(700) == 700_000_000


def test_there_are_as_many_processes_as_there_is_memory_for() -> None:
    small = Need(300_000_000, 550_000_000, 0.1, 1.0)
    assert shared(small, 8 * GB, 4) == Share(4, 1_500_000_000, pytest.approx(15.2))
    assert shared(small, 1 * GB, 4).processes == 3
    large = Need(3 * GB, 4 * GB, 1.0, 2.0)
    assert shared(large, 4 * GB, 4) == Share(1, 4_500_000_000, pytest.approx(22.0))
    with pytest.raises(
        ModelError, match=r"^MODEL_TOO_LARGE: answering takes 3,000 MB, and"
    ) as told:
        shared(large, 2 * GB, 4)
    assert "serve.memory allows 2,000 MB here" in told.value.sentence
    assert told.value.sentence.endswith("--set serve.memory=3300")
    assert shared(large, 3_300_000_000, 4).processes == 1, "the advice is enough"
    assert shared(Need(0, 0, 0.0, 0.0), GB, 2).processes == 2, "where nothing is told"
    assert most_of([small, large]) == large


def test_the_largest_picture_is_one_that_is_read() -> None:
    data = decoder.largest()
    _, size = decoder.decode_with_size(data)
    assert size[0] * size[1] == decoder.MEGAPIXELS["png"] * 1_000_000
    assert len(data) < decoder.MAX_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process needed")
def test_what_a_model_needs_is_measured_in_the_process_that_answers(model_dir: Path) -> None:
    """Whatever its bundle says: a small one takes what libraries and the largest picture take."""

    async def work() -> tuple[Service, dict[str, Any]]:
        service = Service(served_models(model_dir), 4)
        async with service:
            await service.check()
            return service, await service.answer("", PHOTO)

    service, answer = asyncio.run(work())
    assert answer["label"]
    assert service._workers.seconds > capacity.CPU_SECONDS
    assert service.slowest > 0
    assert int(service._workers.words[1]) >= 1_500_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process needed")
def test_too_large_a_model_is_said_at_the_start(model_dir: Path) -> None:
    """With the setting's name; no photo is blamed."""

    async def work() -> None:
        async with Service(served_models(model_dir), 4, memory=60) as service:
            await service.check()

    with pytest.raises(ModelError, match=r"^MODEL_TOO_LARGE: .*serve\.memory allows 60 MB here"):
        asyncio.run(work())


@pytest.mark.parametrize(
    ("word", "code"),
    [("crash", "MODEL_TOO_LARGE"), ("compute", "MODEL_TOO_SLOW"), ("large", "MODEL_TOO_LARGE")],
)
def test_what_goes_wrong_before_there_is_a_photo_is_the_models_fault(
    word: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("ODD_WORKER", f"always {word}")
    monkeypatch.setattr(capacity, "_START", 0.5)
    with pytest.raises(ModelError, match=f"^{code}: tiny ") as told:
        asyncio.run(measure_models("odd_worker", "1", ["tiny"], 2 * GB))
    assert ("serve.memory" in told.value.sentence) == (code == "MODEL_TOO_LARGE")


def test_memory_that_the_network_lacks_is_not_the_photos_fault(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load(model_dir)
    models = inference_worker.Models({"tiny": (str(model_dir), bundle.about["checksum"])})
    models.get("tiny")
    lacking = RuntimeError("Failed to allocate memory for requested buffer of size 805306368")

    def run(*_: Any) -> None:
        raise lacking

    session = types.SimpleNamespace(run=run)
    monkeypatch.setattr(models.get("tiny").model, "_session", session)
    with pytest.raises(ModelError, match=r"^MODEL_TOO_LARGE: .* with tiny; see serve\.memory$"):
        inference_worker.work(models, {"model": "tiny", "do": "answer"}, PHOTO)
    with pytest.raises(MemoryError):
        models.get("tiny").model.of_square(np.zeros((64, 64, 3), np.uint8))
    lacking = RuntimeError("another mistake")
    with pytest.raises(ModelError, match=r"^BAD_MODEL: model.onnx cannot be run: another mistake"):
        inference_worker.work(models, {"model": "tiny", "do": "answer"}, PHOTO)


def test_a_model_that_fits_only_alone_is_loaded_alone(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(model_dir), load(model_dir).about["checksum"]
    models = inference_worker.Models({"a": place, "b": place})
    held: list[int] = []

    class Large(Model):
        def __init__(self, *words: Any, **facts: Any) -> None:
            held.append(len(models._held))
            if models._held:
                raise MemoryError
            super().__init__(*words, **facts)

    monkeypatch.setattr(inference_worker, "Model", Large)
    for name in ("a", "b"):
        inference_worker.work(models, {"model": name, "do": "answer"}, PHOTO)
    assert held == [0, 1, 0]
    assert list(models._held) == ["b"]
