"""A network that somebody else made is tried in a process with limits before it answers here."""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import rewrite
from corpus import drawn, saved
from onnx import TensorProto, helper, numpy_helper

from bear_classifier.cli import main
from bear_classifier.errors import ModelError, SelfTestError
from bear_classifier.runtime.npz import as_npz, as_small_npz, read_npz
from bear_classifier.serve.queue import served_models
from bear_classifier.ship import bundle, sandbox
from bear_classifier.ship.onnx_check import refuse_unsafe
from bear_classifier.ship.predict import Model
from bear_classifier.stats import ood


@pytest.fixture
def place(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEARS_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(model_dir, tmp_path / "tiny"))


def photo(tmp_path: Path) -> str:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(drawn(seed=3), "JPEG"))
    return str(path)


def asking(place: Path, numbers: int) -> None:
    """Let the network of a bundle ask for so many numbers, to add their maximum, which is 0."""
    model = onnx.load(place / "model.onnx")
    node = next(n for n in model.graph.node if "logits" in n.output)
    node.output[list(node.output).index("logits")] = "before"
    shape = [numbers // 1000, 1000]
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "S"))
    model.graph.node.extend([
        helper.make_node("ConstantOfShape", ["S"], ["B"]),
        helper.make_node("ReduceMax", ["B"], ["M"], keepdims=0),
        helper.make_node("Add", ["before", "M"], ["logits"]),
    ])  # fmt: skip
    (place / "model.onnx").write_bytes(model.SerializeToString())
    rewrite(place)


def looping(operator: str) -> bytes:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])], "body", [],
        [helper.make_tensor_value_info("d", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    words = {"If": ["then_branch", "else_branch"], "Loop": ["body"], "Scan": ["body"]}
    node = helper.make_node(operator, ["x"], ["y"], **dict.fromkeys(words.get(operator, []), inner))
    return helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan", "SequenceMap"])
def test_a_network_that_may_go_on_for_ever_is_refused_unrun(operator: str) -> None:
    with pytest.raises(ModelError, match=f"BAD_MODEL: model.onnx holds the operator {operator}"):
        refuse_unsafe(looping(operator))
    refuse_unsafe(looping("Identity"))


@pytest.mark.parametrize("gigabytes", [4, 160])
def test_a_network_that_asks_for_too_much_is_one_sentence(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], gigabytes: int
) -> None:
    asking(place, gigabytes * 250_000_000)
    assert main.main(["predict", "--model", str(place), photo(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bears: BAD_MODEL: model.onnx ") and said.count("\n") == 1
    assert "did not answer" not in said, "it had the memory, and only took too long"
    assert not (tmp_path / "cache" / "passed").exists()


def test_it_is_not_served_either(place: Path) -> None:
    asking(place, 10**9)
    with pytest.raises(ModelError, match="^BAD_MODEL: model.onnx "):
        served_models(place.parent)


def test_of_a_slow_network_one_picture_is_enough(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a large one would take minutes, and what is not hostile would be refused."""
    model = Model(bundle.load(place))
    asked = []
    honest = Model.outputs
    monkeypatch.setattr(Model, "outputs", lambda m, s: asked.append(s) or honest(m, s))
    model.self_test(begin=0.0)
    assert len(asked) == 1
    model.self_test()
    assert len(asked) == 1 + bundle.GOLDEN


def test_time_and_memory_grow_with_the_network(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[list[str]] = []
    done = subprocess.CompletedProcess([], 0, b"{}", b"")
    monkeypatch.setattr(sandbox.subprocess, "run", lambda w, **_: words.append(w) or done)
    monkeypatch.setattr(sandbox, "remember", lambda _: None)
    small = bundle.load(place)
    large = dataclasses.replace(small, onnx=bytes(100_000_000))
    wide = {**small.about, "preprocessing": {**small.about["preprocessing"], "size": 448}}
    for one in (small, large, dataclasses.replace(large, about=wide)):
        sandbox.trust(one)
    memory, seconds = zip(*((int(w[-2]), float(w[-1])) for w in words), strict=True)
    scale = (small.size / 224) ** 2
    assert seconds[0] == pytest.approx(5 + 1e-7 * len(small.onnx) * scale)
    assert seconds[1:] == (pytest.approx(5 + 10 * scale), pytest.approx(5 + 40))
    assert memory[1] - memory[0] == 4 * (100_000_000 - len(small.onnx))


def test_other_numbers_than_published_are_a_failed_self_test(place: Path, tmp_path: Path) -> None:
    rewrite(place, temperature=3.0)
    with pytest.raises(SelfTestError):
        sandbox.trust(bundle.load(place))
    assert main.main(["predict", "--model", str(place), photo(tmp_path)]) == 3


def test_what_passed_is_not_tried_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bundle.load(place)
    sandbox.trust(found)
    monkeypatch.setattr(sandbox.subprocess, "run", None)
    sandbox.trust(found)
    rewrite(place, version=2)
    with pytest.raises(TypeError):  # another one is tried
        sandbox.trust(bundle.load(place))


def test_where_nothing_can_be_remembered_it_is_tried_each_time(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_bytes(b"in the way")
    tries = []
    honest = sandbox.subprocess.run
    monkeypatch.setattr(
        sandbox.subprocess, "run", lambda *words, **more: tries.append(1) or honest(*words, **more)
    )
    for _ in range(2):
        sandbox.trust(bundle.load(place))
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("code", "said"), [(-9, b""), (1, b"Traceback"), (0, b"[]"), (-11, b"{"), (0, b"")]
)
def test_a_process_that_ended_otherwise_speaks_against_the_model(code: int, said: bytes) -> None:
    with pytest.raises(ModelError, match=r"^BAD_MODEL: model.onnx cannot be run: "):
        sandbox._judged(code, said, 10**9, 10.0)


# arrays that unpack to more than they may


def test_arrays_come_back_as_they_were() -> None:
    values = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yz"])}
    for packed in (as_npz(**values), as_small_npz(**values)):
        found = read_npz(packed, 10_000)
        assert list(found) == ["a", "b"]
        assert all((found[name] == values[name]).all() for name in values)


def claiming(shape: tuple[int, ...]) -> bytes:
    """An .npz whose header promises an array of this shape, and holds 8 bytes of it."""
    header = io.BytesIO()
    words = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, words)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.getvalue() + b"\0" * 8)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        as_small_npz(a=np.zeros(10**7)),
        claiming((10**12,)),
        claiming((2**62, 2**62)),
        b"PK\x03\x04 no archive",
        b"",
        as_npz(a=np.zeros(3))[:-30],
    ],
    ids=["unpacks", "claims", "overflows", "noise", "empty", "cut"],
)
def test_sizes_are_read_before_anything_is_unpacked(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_npz(data, 10**6)


def test_a_reference_that_unpacks_to_all_memory_is_refused(place: Path) -> None:
    large = as_small_npz(features=np.zeros((40_000, 4096), np.float16))
    assert len(large) < 1_000_000
    with pytest.raises(ValueError, match="take more than"):
        ood.read_reference(large)
