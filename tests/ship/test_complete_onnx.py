"""The one ONNX file from pixels to the answer says what the bundle says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import within
from bundles import LABELS, rewrite
from numpy.typing import NDArray
from PIL import Image

from bear_classifier.errors import ModelError
from bear_classifier.images import decoder
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.ship import bundle, complete_export, complete_onnx
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.class_activation_map import against_others, cam_head, evidence
from bear_classifier.ship.complete_onnx import REASONS, Complete
from bear_classifier.ship.model_card import USE_COMPLETE
from bear_classifier.ship.predict import Model
from bear_classifier.stats import ood

RANDOM = np.random.default_rng(7)


@pytest.fixture(scope="module")
def published(model_dir: Path) -> Bundle:
    return bundle.load(model_dir)


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_table(model: Bundle, **tables: dict[str, object]) -> Bundle:
    """The bundle with other values in these tables of its manifest."""
    about = dict(model.about)
    return replace(model, about=about | {k: about[k] | v for k, v in tables.items()})


def pictures(model: Bundle) -> list[NDArray[np.uint8]]:
    return [np.asarray(decoder.decode(path)) for path in model.golden()[0]]


def test_answers_scores_and_evidence_are_the_bundle_s(published: Bundle) -> None:
    model, complete = Model(published), Complete(complete_onnx.complete(published))
    head = cam_head(published)
    for pixels in pictures(published):
        square = published.preprocessing.square(Image.fromarray(pixels))
        logits, pooled, map_ = model.of_square(np.asarray(square))
        ours, theirs = model.answer(logits, pooled), complete.predict(pixels)
        assert (theirs.label, theirs.reason) == (ours.label, ours.reason)
        assert theirs.probabilities == pytest.approx(ours.probabilities, abs=0.01)
        out = complete.outputs(pixels)
        assert out["pooled"] == pytest.approx(pooled, abs=0.02 * float(np.abs(pooled).max()))
        assert float(out["ood_score"]) == pytest.approx(model.familiarity(pooled[None])[0], abs=0.1)
        wanted = against_others(evidence(head, map_))
        assert out["evidence"] == pytest.approx(wanted, abs=0.02 * float(np.abs(wanted).max()))


@pytest.mark.parametrize(
    "size", [(64, 64), (640, 480), (481, 641), (63, 200), (4000, 90), (16, 17)]
)
@pytest.mark.parametrize("way", [("bilinear", 1.0), ("bicubic", 0.89), ("bilinear", 0.875)])
def test_the_square_is_that_of_the_decoder(size: tuple[int, int], way: tuple[str, float]) -> None:
    """Noise: with a square one pixel further on nothing would be the same."""
    shape = Preprocessing(57, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), way[1], way[0])
    pixels = noise(*size)
    made = 255 * only_pixels(shape)(pixels)
    wanted = np.asarray(shape.square(Image.fromarray(pixels)), dtype=np.float64)
    apart = np.abs(made.transpose(1, 2, 0) - wanted)
    assert apart.mean() < 0.05  # grey levels
    assert apart.max() < 3


def test_the_side_of_the_square_is_rounded_as_the_decoder_does() -> None:
    """With the division before the multiplication, in double precision; see `fit_square`."""
    shape = Preprocessing(49, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    short = [side for side in range(49, 600) if int(side / 49 * 49) < side]
    assert short  # by a pixel, without the rounding
    ask = only_pixels(shape)
    for side in short[:5]:
        pixels = noise(side, side)
        wanted = np.asarray(shape.square(Image.fromarray(pixels)), dtype=np.float64)
        assert np.abs(255 * ask(pixels).transpose(1, 2, 0) - wanted).mean() < 0.05


def only_pixels(shape: Preprocessing):  # type: ignore[no-untyped-def]
    """A function from pixels to the network's input (3, size, size)."""
    graph = complete_onnx._Graph()
    complete_onnx._from_pixels(graph, shape)
    info = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        graph.nodes,
        "square",
        [info("pixels", onnx.TensorProto.UINT8, ["h", "w", 3])],
        [info("image", onnx.TensorProto.FLOAT, None)],
        graph.constants,
    )
    opset = [onnx.helper.make_opsetid("", complete_onnx.RESIZE_OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels})[0][0]


def reasons(model: Bundle, **rule: object) -> set[str]:
    complete = Complete(complete_onnx.complete(with_table(model, rejection=rule)))
    return {complete.predict(pixels).reason for pixels in pictures(model)[:6]}


def test_each_limit_refuses_what_it_should(published: Bundle) -> None:
    assert reasons(published, least=None, close=0.0) == {"ok"}
    assert reasons(published, least=1e6, close=0.0) == {"unlike_training"}
    assert reasons(published, least=None, close=1.0) == {"too_close"}
    assert reasons(published, least=1e6, close=1.0) == {"unlike_training"}


def test_without_classes_of_the_weights_the_features_decide_alone(published: Bundle) -> None:
    with_classes = ood.read_reference(published.reference)
    features = np.abs(RANDOM.normal(size=(3, with_classes.features.shape[1]))).astype(np.float16)
    layer = (
        RANDOM.normal(size=(11, features.shape[1])).astype(np.float16),
        RANDOM.normal(size=11).astype(np.float16),
    )
    groups = np.arange(3)
    for classifier in (None, layer):
        made = ood.make_reference(features, groups, classifier, seed=0)
        changed = replace(published, reference=made.as_bytes())
        complete = Complete(complete_onnx.complete(changed))
        for pixels in pictures(published)[:4]:
            out = complete.outputs(pixels)
            wanted = ood.read_reference(changed.reference).score(out["pooled"][None])[0]
            tolerance = 0.01 * max(1.0, abs(wanted))
            assert float(out["ood_score"]) == pytest.approx(wanted, abs=tolerance)


def test_it_says_what_it_is(published: Bundle) -> None:
    about = {
        entry.key: entry.value
        for entry in onnx.load_from_string(complete_onnx.complete(published)).metadata_props
    }
    assert json.loads(about["labels"]) == LABELS
    assert json.loads(about["reasons"]) == list(REASONS)
    assert json.loads(about["limits"])["temperature"] == published.temperature
    assert json.loads(about["test"])["n"] == published.about["metrics"]["test"]["n"]
    assert {"weights", "licence_of_weights", "name", "version"} <= about.keys()


def test_by_the_command_and_by_the_lines_beside_the_file(model_dir: Path, tmp_path: Path) -> None:
    """The lines run where there is nothing but onnxruntime, and numpy, which it brings along."""
    words = ("export", "--format", "onnx-complete", "--model", model_dir, tmp_path / "out")
    done = within.bears(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "complete.onnx and README.md; answers as the bundle does" in done.stdout
    (code,) = (tmp_path / "out" / "README.md").read_text("utf-8").split("```")[1::2]
    lines = code.removeprefix("python\n")
    assert len([line for line in lines.splitlines() if not line.startswith("#")]) <= 10
    alone = (
        "import sys\n"
        "class Only:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('bear_classifier', 'PIL', 'torch', 'onnx', 'scipy',"
        " 'pandas', 'fastai', 'safetensors'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Only())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", alone + lines],
        cwd=tmp_path / "out",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    blank = Complete((tmp_path / "out" / "complete.onnx").read_bytes()).predict(
        np.zeros((480, 640, 3), np.uint8)
    )
    assert ran.stdout.startswith(f"{blank.reason} {blank.label} ")


def test_of_a_bundle_in_integers_the_network_is_made_of_its_weights(published: Bundle) -> None:
    about = {**published.about, "precision": {"is": "int8", "why": "a test", "tolerance": 0.05}}
    in_integers = replace(published, about=about, onnx=b"not to be asked")
    exact = complete_export.in_full_precision(in_integers)
    for pixels in pictures(exact)[:4]:
        ours = Complete(complete_onnx.complete(exact)).predict(pixels)
        theirs = Model(published).predict(pixels)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=0.02)


def test_a_file_that_answers_otherwise_is_not_written(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = complete_onnx.complete
    other = lambda model: whole(replace(model, about={**model.about, "temperature": 9.0}))  # noqa: E731
    monkeypatch.setattr(complete_onnx, "complete", other)
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    (model / complete_export.FILE).unlink()
    rewrite(model)
    with pytest.raises(ModelError, match="PARITY.*Nothing was written"):
        complete_export.write_complete(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_small_one_is_part_of_the_bundle(published: Bundle) -> None:
    """And is the one that the page without a server gets."""
    made = published.about["complete"]
    data = bundle.part(published, complete_export.FILE)
    assert (made["is"], made["bytes"]) == ("in it", len(data))
    assert made["largest_difference"] <= 0.01
    assert len(data) <= complete_export.ROOM_BYTES
    assert complete_export.complete_file(published)[0] == data
    assert USE_COMPLETE in published.card()


def test_one_that_is_changed_is_not_handed_out(published: Bundle, tmp_path: Path) -> None:
    """Though its checksum fits, as an attacker would see to."""
    other = with_table(published, rejection={"least": None})
    other = replace(other, about=other.about | {"temperature": 9.0})
    place = Path(shutil.copytree(published.path, tmp_path / "tiny"))
    (place / complete_export.FILE).write_bytes(complete_onnx.complete(other))
    rewrite(place)
    with pytest.raises(ModelError, match="PARITY"):
        complete_export.complete_file(bundle.load(place))


@pytest.mark.parametrize("most", [1000, 100_000])
def test_a_large_one_is_left_out_and_says_why(
    published: Bundle, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(complete_export, "ROOM_BYTES", most)
    data, made = complete_export.part_of_bundle(published)
    assert (data, made["is"]) == (None, "left out")
    assert "it would add 2.9 MB" in made["why"] and "format onnx-complete" in made["why"]


def test_one_that_cannot_be_written_is_left_out(
    published: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: Bundle) -> bytes:
        raise ModelError("BAD_MODEL", "an operator is not known")

    monkeypatch.setattr(complete_onnx, "complete", fail)
    without = replace(published, about=published.about | {"files": {}})
    data, made = complete_export.part_of_bundle(without)
    assert data is None and "an operator is not known" in made["why"]
