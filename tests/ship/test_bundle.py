import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import corpus
import numpy as np
import onnx
import pytest
from bundles import rewrite
from onnx import TensorProto, helper

from bear_classifier.errors import ModelError, SelfTestError
from bear_classifier.ship import bundle
from bear_classifier.ship.onnx_check import refuse_unsafe
from bear_classifier.ship.predict import Model
from bear_classifier.stats import ood


@pytest.fixture
def place(model_dir, tmp_path):
    return shutil.copytree(model_dir, tmp_path / "tiny")


def refused(place: Path) -> str:
    with pytest.raises(ModelError) as caught:
        bundle.load(place)
    return str(caught.value)


@pytest.mark.parametrize("places", [2, pytest.param(20, marks=pytest.mark.long)])
def test_every_file_of_the_bundle_refuses_a_changed_byte(place, places):
    rng = np.random.default_rng(0)
    names = sorted(p.relative_to(place) for p in place.rglob("*") if p.is_file())
    about = json.loads((place / "bundle.json").read_text(encoding="utf-8"))
    assert len(names) == 1 + len(about["files"]) >= 32 + 7
    for name in names:
        path = place / name
        data = path.read_bytes()
        for position in {0, len(data) - 1, *rng.integers(0, len(data), places).tolist()}:
            flipped = bytearray(data)
            flipped[position] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(flipped)
            assert path.name in refused(place), (name, position)
        path.write_bytes(data)
    bundle.load(place)


def test_every_byte_of_bundle_json_matters(place):
    data = (place / "bundle.json").read_bytes()
    for position in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[position] ^= 0x20  # the other case of a letter: hex digits, words, white space
        with pytest.raises(ModelError):
            bundle._manifest(bytes(flipped))


def test_the_sentence_names_file_and_both_checksums(place):
    path = place / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    said = refused(place)
    assert said.startswith("MODEL_CORRUPT: weights.safetensors has checksum ")
    assert ", expected " in said


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "README.md", "bundle.json"])
def test_every_truncation_is_refused(place, name):
    data = (place / name).read_bytes()
    for size in [*range(0, len(data), max(4096, len(data) // 40)), len(data) - 1]:
        (place / name).write_bytes(data[:size])
        assert name in refused(place)


def test_a_missing_file(place):
    (place / "golden" / "03.jpeg").unlink()
    assert refused(place).startswith("MODEL_INCOMPLETE: golden/03.jpeg is missing")


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/bears-was-here",)


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "README.md", "bundle.json",
                                  "golden/expected.npz", "golden/00.jpeg"])  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_called_what_they_are(place, name, protocol):
    (place / name).write_bytes(pickle.dumps(Bomb(), protocol))
    if name != "bundle.json":
        rewrite(place)
    assert refused(place).startswith(f"UNSAFE_MODEL_FILE: {name} is a pickle")


def test_loading_and_predicting_runs_no_code(place):
    """Nothing is unpickled, executed or started while a bundle is loaded and asked."""
    code = f"""
import sys
from pathlib import Path
from bear_classifier.ship import bundle, predict
seen = []
sys.addaudithook(lambda event, args: seen.append(event))
model = predict.Model(bundle.load(Path({str(place)!r})))
model.self_test()
bad = [e for e in seen if e in ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec",
                                "os.posix_spawn", "socket.connect", "os.fork")]
assert not bad, bad
assert not {{"torch", "fastai", "gradio", "sklearn", "onnx"}} & set(sys.modules)
print("fine", len(seen))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.stdout.startswith("fine"), done.stderr


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "reference.npz",
                                  "bundle.json", "golden/00.jpeg", "README.md"])  # fmt: skip
def test_a_pointer_of_git_lfs_is_named(place, name):
    """Copying again, as for other damage, would bring the same few lines."""
    (place / name).write_bytes(corpus.lfs_pointer())
    said = refused(place)
    assert said.startswith(f"MODEL_INCOMPLETE: {place / name} is a pointer of Git LFS")
    assert said.endswith("git lfs pull")


def test_a_file_too_many(place):
    (place / "run_me.py").write_text("print(1)", encoding="utf-8")
    assert refused(place).startswith("UNEXPECTED_FILE: run_me.py does not belong")
    (place / "run_me.py").unlink()
    (place / "golden" / "extra.png").write_bytes(b"x")
    assert refused(place).startswith("UNEXPECTED_FILE: golden/extra.png")


def test_a_file_too_many_that_is_listed(place):
    (place / "evil.so").write_bytes(b"x")
    rewrite(place)
    assert refused(place).startswith("UNEXPECTED_FILE: a bundle has no file 'evil.so'")


def test_a_folder_too_many(place):
    (place / "code").mkdir()
    assert refused(place).startswith("UNEXPECTED_FILE: code does not belong")


@pytest.mark.parametrize("name", ["README.md", "bundle.json", "golden/01.png"])
def test_links_are_refused(place, tmp_path, name):
    moved = tmp_path / "elsewhere"
    shutil.move(place / name, moved)
    (place / name).symlink_to(moved)
    assert "UNEXPECTED_FILE" in refused(place)
    (place / name).unlink()
    os.link(moved, place / name)
    assert "UNEXPECTED_FILE" in refused(place)


def test_a_linked_folder_is_refused(place, tmp_path):
    shutil.move(place / "golden", tmp_path / "golden")
    (place / "golden").symlink_to(tmp_path / "golden")
    assert refused(place).startswith("UNEXPECTED_FILE: golden")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "golden/../../x", "a\0b"])
def test_names_that_lead_elsewhere(place, name):
    about = json.loads((place / "bundle.json").read_text(encoding="utf-8"))
    about["files"][name] = {"sha256": "0" * 64, "size": 1}
    del about["schema"], about["checksum"]
    entries = about.pop("files")
    data = bundle.describe({}, about)
    data = data.replace(b'"files": {}', b'"files": ' + json.dumps(entries).encode())
    blank = bundle._CHECKSUM.sub(b'"checksum": "' + bundle._ZEROS + b'"', data)
    import hashlib

    digest = hashlib.sha256(blank).hexdigest().encode()
    (place / "bundle.json").write_bytes(blank.replace(b'm": "' + bundle._ZEROS, b'm": "' + digest))
    assert refused(place).startswith("UNEXPECTED_FILE: a bundle has no file")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["a", "a", "b"]}, "BAD_MODEL: bundle.json: labels is ["),
        ({"labels": ["a", " ", "b"]}, "BAD_MODEL: bundle.json: labels is ["),
        ({"labels": ["a"]}, "BAD_MODEL: bundle.json: labels is ["),
        ({"labels": 7}, "BAD_MODEL: bundle.json: labels is 7, not two or more different names"),
        ({"temperature": 0.0}, "BAD_MODEL: bundle.json: temperature is 0.0, not a number"),
        ({"temperature": float("nan")}, "BAD_MODEL: bundle.json: temperature is nan, not a number"),
        ({"preprocessing": {}}, "BAD_MODEL: bundle.json: preprocessing.size is missing"),
    ],
)
def test_fields_that_cannot_be(place, changes, said):
    rewrite(place, **changes)
    assert refused(place).startswith(said)


def test_a_newer_format_says_so(place):
    data = (place / "bundle.json").read_bytes().replace(b'"schema": 2', b'"schema": 9')
    blank = bundle._CHECKSUM.sub(b'"checksum": "' + bundle._ZEROS + b'"', data)
    import hashlib

    digest = hashlib.sha256(blank).hexdigest().encode()
    (place / "bundle.json").write_bytes(blank.replace(b'm": "' + bundle._ZEROS, b'm": "' + digest))
    assert refused(place).startswith("MODEL_VERSION: this model has format 9; this program reads")


def test_a_reference_that_is_none_is_refused(place):
    bad = dataclasses.replace(bundle.load(place), reference=b"PK\x03\x04 no archive")
    with pytest.raises(ModelError, match=r"BAD_MODEL: reference.npz is no reference"):
        Model(bad)
    other = ood.make_reference(np.ones((9, 7)), np.arange(9), None, seed=0)
    with pytest.raises(ModelError, match="of another network"):
        Model(dataclasses.replace(bad, reference=other.as_bytes()))


@pytest.mark.parametrize(
    "rule",
    [None, {"least": -1.0}, {"close": float("nan"), "least": 0.0}, {"close": 0.1, "least": "x"}],
)
def test_a_rule_that_is_none_is_refused(place, rule):
    rewrite(place, rejection=rule)
    assert refused(place).startswith("BAD_MODEL")


def test_another_number_of_classes_than_the_network_has(place):
    rewrite(place, labels=["black", "grizzly", "polar", "teddy"])
    with pytest.raises(ModelError, match="gives 3 classes, bundle.json names 4"):
        Model(bundle.load(place))


def test_no_model_there(tmp_path):
    with pytest.raises(ModelError, match="NO_MODEL: there is no model in"):
        bundle.load(tmp_path / "nothing")


def test_a_weight_changed_with_its_checksum_fails_the_self_test(place):
    """0.01 on one weight of the head, and of the first layer; all checksums corrected."""
    model = onnx.load(place / "model.onnx")
    for tensor in (model.graph.initializer[0], model.graph.initializer[-1]):
        keep = tensor.raw_data
        values = np.frombuffer(keep, np.float32).copy()
        values[len(values) // 2] += 0.01
        tensor.raw_data = values.tobytes()
        onnx.save(model, place / "model.onnx")
        rewrite(place)
        with pytest.raises(SelfTestError, match=r"MODEL_SELF_TEST_FAILED: image \d+: "):
            Model(bundle.load(place)).self_test()
        tensor.raw_data = keep


def test_not_a_number_fails_the_self_test(place):
    model = onnx.load(place / "model.onnx")
    values = np.frombuffer(model.graph.initializer[0].raw_data, np.float32).copy()
    values[:] = np.nan
    model.graph.initializer[0].raw_data = values.tobytes()
    onnx.save(model, place / "model.onnx")
    rewrite(place)
    with pytest.raises(SelfTestError):
        Model(bundle.load(place)).self_test()


def test_logits_that_a_softmax_would_hide_fail_the_self_test(place):
    """The same added to all classes: probabilities and features stay what they were."""
    model = onnx.load(place / "model.onnx")
    (bias,) = (t for t in model.graph.initializer if tuple(t.dims) == (3,))
    bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + np.float32(7)).tobytes()
    onnx.save(model, place / "model.onnx")
    rewrite(place)
    with pytest.raises(SelfTestError, match="logits off by 7"):
        Model(bundle.load(place)).self_test()


def test_temperature_changed_with_its_checksum_fails_the_self_test(place):
    rewrite(place, temperature=3.0)
    with pytest.raises(SelfTestError):
        Model(bundle.load(place)).self_test()


def external(field: str) -> bytes:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    if field == "external_data":
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "weights.safetensors"
    else:
        tensor.data_location = TensorProto.EXTERNAL
    return tensor


@pytest.mark.parametrize("field", ["external_data", "data_location"])
@pytest.mark.parametrize("where", ["initializer", "constant", "subgraph", "function"])
def test_data_outside_the_file_is_refused_wherever_it_hides(field, where):
    tensor = external(field)
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    node, initializers, functions = helper.make_node("Identity", ["x"], ["y"]), [], []
    if where == "initializer":
        initializers = [tensor]
    elif where == "constant":
        node = constant
    elif where == "subgraph":
        inner = helper.make_graph([constant], "inner", [], [])
        node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    else:
        functions = [helper.make_function("d", "f", [], ["y"], [constant],
                                          [helper.make_opsetid("", 17)])]  # fmt: skip
    graph = helper.make_graph([node], "g", [], [], initializers)
    data = helper.make_model(graph, functions=functions).SerializeToString()
    said = "UNSAFE_MODEL_FILE: model.onnx reads data from another"
    if where == "subgraph":  # which only operators have that are refused themselves
        said += "|BAD_MODEL: model.onnx holds the operator If"
    with pytest.raises(ModelError, match=said):
        refuse_unsafe(data)


def test_a_plain_onnx_file_is_fine_and_noise_is_not(model_dir):
    refuse_unsafe((model_dir / "model.onnx").read_bytes())
    rng = np.random.default_rng(0)
    for size in (1, 10, 1000):
        with pytest.raises(ModelError):
            refuse_unsafe(b"\xff" + rng.bytes(size))


def test_weights_are_verified_without_being_held(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked about a photo, a program needs the network, not the file to train on from."""
    monkeypatch.setattr(bundle, "_BLOCK", 2**16)
    weights = (model_dir / "weights.safetensors").stat().st_size
    kept = sum((model_dir / name).stat().st_size for name in ("model.onnx", "reference.npz"))
    tracemalloc.start()
    try:
        bundle.load(model_dir)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < most < kept + weights / 2


def test_what_systems_leave_is_ignored_and_never_read(place):
    """macOS Finder, Explorer and JupyterLab leave files in a folder that was looked into."""
    for name in (".DS_Store", "golden/Thumbs.db", "golden/.DS_Store", "desktop.ini", "._model.onnx",
                 "golden/._00.jpeg", ".ipynb_checkpoints/README-checkpoint.md",
                 "golden/.ipynb_checkpoints/deep/x", "__MACOSX/._bundle.json",
                 "@eaDir/model.onnx"):  # fmt: skip
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(Bomb()))
    os.mkfifo(place / "golden" / "ehthumbs.db")  # whoever reads it waits for ever
    Model(bundle.load(place)).self_test()


@pytest.mark.parametrize("name", ["extra.py", ".hidden", "golden/thumbs.jpg", ".DS_Store.so",
                                  "golden/__MACOSX.py", "._"])  # fmt: skip
def test_what_only_looks_like_a_systems_is_refused(place, name):
    (place / name).write_text("print(1)", encoding="utf-8")
    assert refused(place).startswith(f"UNEXPECTED_FILE: {name} does not belong")


@pytest.mark.parametrize("name", [".DS_Store", "__pycache__", "golden/desktop.ini", "MACOSX"])
def test_a_folder_that_no_system_leaves_is_refused(place, name):
    (place / name).mkdir()
    assert refused(place).startswith(f"UNEXPECTED_FILE: {name} does not belong")


def test_a_link_in_the_name_of_a_system_folder_is_refused(place, tmp_path):
    (place / "__MACOSX").symlink_to(tmp_path)
    assert refused(place).startswith("UNEXPECTED_FILE: __MACOSX does not belong")


@pytest.mark.parametrize("name", [".DS_Store", "golden/Thumbs.db", "__MACOSX/model.onnx"])
def test_a_system_file_is_no_part_of_a_bundle_though_it_is_listed(place, name):
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(b"x")
    rewrite(place)
    assert refused(place).startswith(f"UNEXPECTED_FILE: a bundle has no file {name!r}")
