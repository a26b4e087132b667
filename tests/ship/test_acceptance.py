"""Shortcuts of a published model: integers and smaller decoding, and the guards that drop them."""

import dataclasses
import json
import tempfile

import numpy as np
import onnx
import pytest
from bundles import LABELS, tiny_config, trained_dataset
from onnx import TensorProto, numpy_helper
from PIL import Image

from bear_classifier.errors import ModelError, SelfTestError
from bear_classifier.images import decoder
from bear_classifier.learn import int8
from bear_classifier.report import stage_lines
from bear_classifier.ship import acceptance, bundle, export, golden, manifest
from bear_classifier.ship.acceptance import (
    DECODING,
    INT8,
    Bar,
    ModelAnswers,
    compare_models,
    objection,
)
from bear_classifier.ship.class_activation_map import cam_head, evidence
from bear_classifier.ship.model_card import card
from bear_classifier.ship.predict import Model

# kernels


def said(answers, familiarity=0.0, answered=None):
    """answers: class numbers, each with probability 0.9."""
    rows = np.full((len(answers), 2), 0.1)
    rows[np.arange(len(answers)), answers] = 0.9
    yes = np.ones(len(answers), dtype=bool) if answered is None else np.array(answered, dtype=bool)
    return ModelAnswers(rows, np.full(len(answers), familiarity), yes)


def test_figures_by_hand():
    full, short = said([0, 0, 1, 1]), said([0, 1, 1, 1], 0.5, [1, 0, 1, 1])
    found = compare_models(full, short, np.array([0, 0, 1, 0]))
    assert (found["photos"], found["differ"], found["verdicts"]) == (4, 1, 1)
    assert found["refused"] == [0, 1]
    assert found["shift"] == 0.5
    assert found["calibration_error"] == pytest.approx([0.15, 0.4])  # 0.9 stated; 3, 2 of 4 right


def test_the_tolerance_is_twice_what_other_sums_change():
    """Not below 2 %, and not above what a bundle may ask for."""
    moved = [0.0, 0.009, 0.03, 0.09, 0.15]
    assert [acceptance.tolerance_of(m) for m in moved] == [0.02, 0.02, 0.06, 0.18, manifest.LOOSEST]


FINE = {"photos": 200, "differ": 0, "calibration_error": [0.02, 0.02], "verdicts": 0, "shift": 0.0}


@pytest.mark.parametrize(
    ("bar", "change", "words"),
    [
        (INT8, {}, ""),
        (INT8, {"differ": 1}, ""),  # 99.5 %
        (INT8, {"differ": 2}, "int8 agreed on 99.0% of 200 validation photos; 99.5% is required"),
        (DECODING, {"differ": 1}, "agreed on 99.5% of 200 validation photos; 99.8% is required"),
        (INT8, {"photos": 20, "differ": 1}, "agreed on 95.0% of 20"),
        (INT8, {"photos": 0}, "there is no validation photo"),
        (INT8, {"calibration_error": [0.02, 0.024]}, ""),
        (INT8, {"calibration_error": [0.02, 0.026]}, "calibration error went from 2.0% to 2.6%"),
        (INT8, {"calibration_error": [0.026, 0.02]}, ""),  # it fell
        (INT8, {"calibration_error": [0.02, float("nan")]}, "calibration error went from 2.0%"),
        (INT8, {"verdicts": 2}, ""),
        (INT8, {"verdicts": 3}, "3 of 200 validation photos are answered that were not"),
        (INT8, {"shift": -0.09}, ""),
        (INT8, {"shift": 0.2}, "look +0.20 standard deviations more like the training photos"),
        (INT8, {"shift": -0.2}, "look -0.20 standard deviations more like the training photos"),
        (INT8, {"shift": float("nan")}, "standard deviations more like the training photos"),
    ],
)
def test_what_speaks_against_a_shortcut(bar, change, words):
    why = objection("int8", FINE | change, bar)
    assert words in why
    assert bool(why) == bool(words)


def test_what_rounding_adds_by_hand():
    """Two outputs of one input each (depthwise) and of two: rounding error times the mean."""
    exact = np.float32([0.9, 2.2]).reshape(2, 1, 1, 1)
    rounded = np.int8([1, 2]).reshape(2, 1, 1, 1)
    scale, mean = np.float32([1, 1]), np.float32([10, 100])
    assert int8.added(rounded, scale, exact, mean) == pytest.approx([1, -20], rel=1e-4)
    both = np.float32([[0.9, 2.2]]).reshape(1, 2, 1, 1)
    assert int8.added(rounded.reshape(1, 2, 1, 1), scale[:1], both, mean) == pytest.approx(
        [-19], rel=1e-4
    )


# the network in integers


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("precision")
    return trained_dataset(root / "data", tiny_config())


@pytest.fixture(scope="module")
def plain(dataset, tmp_path_factory):
    """In full precision: it has eight validation photos."""
    return published(dataset, tmp_path_factory.mktemp("plain") / "tiny")[0]


LENIENT = Bar(agreement=0.6, ece=0.2, verdicts=0.3, shift=1.0)  # of eight grainy drawings


@pytest.fixture(scope="module")
def integers(dataset, tmp_path_factory):
    """The same in integers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acceptance, "INT8", LENIENT)
        return published(dataset, tmp_path_factory.mktemp("int8") / "tiny", precision="int8")[0]


@pytest.fixture
def few(monkeypatch):
    """A few photos are enough to try on, and a large change is small."""
    monkeypatch.setattr(acceptance, "LEAST_PHOTOS", 1)
    monkeypatch.setattr(acceptance, "INT8", LENIENT)
    monkeypatch.setattr(acceptance, "DECODING", LENIENT)
    monkeypatch.setattr(int8, "milliseconds", lambda networks, image: [2.0, 1.0])


def tried(dataset, model, **settings):
    """What would be taken: without all that export does besides."""
    return acceptance.take(dataset, tiny_config(export=settings), model)


def published(dataset, place, **settings):
    config = tiny_config(export={"parity": 1, **settings})
    outcome = export.export(dataset, config, place)
    return Model(bundle.load(place), threads=1), outcome


def test_unsigned_activations_and_seven_bits_of_weights(integers):
    """255 * 64 * 2 fits into 16 bits, where processors without VNNI add; 255 * 127 * 2 does not."""
    graph = onnx.load_from_string(integers.bundle.onnx).graph
    tensors = {t.name: t for t in graph.initializer}
    source = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 26 - 1  # squeezenet's, without the old head
    for node in convolutions:
        image, weights = source[node.input[0]], source[node.input[1]]
        assert tensors[image.input[2]].data_type == TensorProto.UINT8
        values = numpy_helper.to_array(tensors[weights.input[0]])
        assert values.dtype == np.int8
        assert 30 < np.abs(values.astype(int)).max() <= 64
    for node in graph.node:
        if node.op_type in ("Gemm", "BatchNormalization"):
            assert not any(
                source[n].op_type == "DequantizeLinear" for n in node.input if n in source
            )


def test_integers_load_test_themselves_and_are_smaller(plain, integers):
    integers.self_test()
    assert integers.bundle.about["precision"]["is"] == "int8"
    assert len(integers.bundle.onnx) < 0.35 * len(plain.bundle.onnx)
    assert integers.bundle.about["schema"] == plain.bundle.about["schema"] == 2
    assert 0.02 <= integers.bundle.tolerance <= manifest.LOOSEST
    assert plain.bundle.tolerance == manifest.EXACT


def test_integers_answer_nearly_alike(dataset, plain, integers):
    """On the photos of the guard, and with figures that are those of the bundle."""
    valid = [dataset.file(p) for p in dataset.photos("ok") if p.split == "valid"]
    rows = [[m.probabilities(m.outputs(f)[0]) for f in valid] for m in (plain, integers)]
    one, other = map(np.array, rows)
    figures = integers.bundle.about["precision"]
    assert figures["photos"] == len(valid) == 8
    assert figures["differ"] == (one.argmax(1) != other.argmax(1)).sum() == 0
    assert 0 < np.abs(one - other).max() < 0.2


def test_maps_of_integers_still_add_up(integers):
    weights = cam_head(integers.bundle)
    for number in range(500, 503):
        logits, pooled, map_ = integers.outputs(golden.draw_picture(number)[1])
        assert map_.shape == (512, 3, 3)
        assert np.abs(map_.mean(axis=(1, 2)) - pooled).max() < 1e-4
        found = evidence(weights, map_)
        assert np.abs(found.mean(axis=(1, 2)) + weights.bias - logits).max() < 1e-3


def test_the_card_and_the_outcome_say_what_was_taken(plain, integers):
    words = (integers.bundle.path / "README.md").read_text(encoding="utf-8")
    assert "It computes in 8-bit integers: 8 of 8 validation photos are answered alike" in words
    assert "In full precision, with photos decoded in full, the network answered as" in words
    about = plain.bundle.about
    why = "8 validation photos, and trying int8 needs 100"
    assert about["precision"] == {"is": "fp32", "why": why}
    words = (plain.bundle.path / "README.md").read_text(encoding="utf-8")
    assert f"It computes in full precision: {why}." in words
    assert "`model.onnx` answered as" in words
    outcome = {"model": "m", "version": 1, "bytes": 1, "outcome": "done", "seconds": 1.0}
    outcome |= {kind: about[kind] for kind in ("parity", "precision", "decoding")}
    assert f"precision fp32: {why}" in stage_lines.stage_text("export", outcome)


def test_nothing_is_left_in_the_temporary_folder(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    image = np.zeros((3, 64, 64), np.float32)
    int8.quantised(plain.bundle.onnx, [lambda: image] * 2)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_network_is_not_quantised():
    with pytest.raises(ModelError, match="NOT_QUANTISED"):
        int8.quantised(b"nothing", [])


# a shortcut that fails is dropped


def damaged(network, images):
    """Integers of which every weight is turned round."""
    model = onnx.load_from_string(honest(network, images))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4:
            values = -numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


honest = int8.quantised


@pytest.mark.long
def test_a_quantised_model_that_disagrees_is_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "quantised", damaged)
    with pytest.raises(ModelError, match=r"PRECISION: model not published: .*int8") as caught:
        published(dataset, tmp_path / "tiny", precision="int8")
    assert "validation photos" in caught.value.sentence
    assert list(tmp_path.iterdir()) == []


def test_auto_falls_back_and_says_why(dataset, plain, few, monkeypatch):
    assert tried(dataset, plain).precision["is"] == "int8"
    monkeypatch.setattr(int8, "quantised", damaged)
    taken = tried(dataset, plain)
    assert taken.precision["is"] == "fp32"
    assert "validation photos" in taken.precision["why"]
    assert taken.precision["photos"] == 8
    assert taken.onnx == plain.bundle.onnx
    about = {**plain.bundle.about, "precision": taken.precision, "decoding": taken.decoding}
    assert f"It computes in full precision: {taken.precision['why']}." in card(about)


@pytest.mark.series
@pytest.mark.parametrize(("times", "kind"), [([12.0, 10.0], "int8"), ([11.9, 10.0], "fp32")])
def test_what_is_not_faster_is_not_taken(dataset, plain, few, monkeypatch, times, kind):
    monkeypatch.setattr(int8, "milliseconds", lambda networks, image: times)
    precision = tried(dataset, plain).precision
    assert precision["is"] == kind
    assert ("1.2 times as fast is required" in precision["why"]) == (kind == "fp32")
    assert tried(dataset, plain, precision="int8").precision["is"] == "int8"


def test_few_photos_prove_nothing(dataset, plain, few, monkeypatch):
    monkeypatch.setattr(acceptance, "LEAST_PHOTOS", 9)
    taken = tried(dataset, plain)
    assert (taken.precision["is"], taken.decoding["is"]) == ("fp32", "full")
    assert "needs 9" in taken.precision["why"]
    assert "9 are needed" in taken.decoding["why"]


def test_a_network_that_cannot_be_written_in_integers(dataset, plain, few, monkeypatch):
    monkeypatch.setattr(int8, "quantised", lambda network, images: network[:1000])
    precision = tried(dataset, plain).precision
    assert precision["is"] == "fp32"
    assert "cannot be run" in precision["why"]


def test_what_rounds_otherwise_elsewhere_is_not_taken(dataset, plain, few, monkeypatch):
    monkeypatch.setattr(int8, "rounding", lambda network, images: 0.3)
    with pytest.raises(ModelError, match="moves by 30% where a processor rounds otherwise"):
        tried(dataset, plain, precision="int8")


def test_milliseconds_are_of_each_in_turn(plain, integers):
    image = np.zeros((3, 64, 64), np.float32)
    found = int8.milliseconds([plain.bundle.onnx, integers.bundle.onnx], image)
    assert len(found) == 2
    assert min(found) > 0


def test_the_self_test_of_integers_still_finds_a_wrong_model(integers):
    twisted = damaged_bytes(integers.bundle.onnx, lambda values: np.roll(values, 1, axis=0))
    with pytest.raises(SelfTestError):
        Model(dataclasses.replace(integers.bundle, onnx=twisted)).self_test()
    hotter = {**integers.bundle.about, "temperature": 1.6}
    with pytest.raises(SelfTestError, match="temperature"):
        Model(dataclasses.replace(integers.bundle, about=hotter)).self_test()


def damaged_bytes(network, change):
    """The weights of the fifth convolution changed."""
    model = onnx.load_from_string(network)
    weights = [t for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    tensor = [t for t in weights if len(t.dims) == 4][4]
    values = np.ascontiguousarray(change(numpy_helper.to_array(tensor)))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


# smaller decoding


def test_few_large_photos_are_decoded_in_full(plain):
    about = plain.bundle.about
    assert about["preprocessing"]["decode"] == "full"
    assert plain.bundle.least is None
    assert (
        "validation photos are large enough to be decoded smaller; 100 are"
        in (about["decoding"]["why"])
    )


@pytest.fixture(scope="module")
def scaled(dataset, tmp_path_factory):
    place = tmp_path_factory.mktemp("scaled") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acceptance, "LEAST_PHOTOS", 1)
        patch.setattr(acceptance, "DECODING", LENIENT)
        return published(dataset, place, precision="fp32")[0]


def test_a_large_jpeg_is_decoded_no_larger_than_needed(scaled, plain):
    shape = scaled.bundle.about["preprocessing"]
    assert (shape["decoder"], shape["decode"], shape["least"]) == (2, "scaled", 74)
    big = golden.draw_picture(8, 600)[1]
    half = decoder.decode_with_size(big, 74)[0]
    assert half.size < decoder.decode(big).size
    assert np.array_equal(scaled.square(big), decoder.fit_square(half, 64))
    assert np.array_equal(plain.square(big), decoder.fit_square(decoder.decode(big), 64))
    assert not np.array_equal(scaled.square(big), plain.square(big))


def test_the_self_test_covers_smaller_decoding(scaled):
    """Two of its pictures are large; decoded in full, they would be answered a little otherwise."""
    scaled.self_test()
    pictures, expected = scaled.bundle.golden()
    shape = {k: v for k, v in scaled.bundle.about["preprocessing"].items() if k != "least"}
    about = {**scaled.bundle.about, "preprocessing": shape | {"decoder": 1}}
    other = Model(dataclasses.replace(scaled.bundle, about=about))
    changed = [
        not np.array_equal(scaled.square(picture), other.square(picture)) for picture in pictures
    ]
    assert changed[0]
    assert changed[3]
    said_now = np.array([other.outputs(picture)[0] for picture in pictures])
    gap = np.abs(said_now - expected["logits"]).max(axis=1)
    assert gap[0] > 0
    assert gap[~np.array(changed)].max() < 1e-4


def test_decoding_that_changes_answers_is_dropped(dataset, plain, few, monkeypatch):
    monkeypatch.setattr(acceptance, "DECODING", dataclasses.replace(LENIENT, shift=0.5))
    assert tried(dataset, plain, precision="fp32").decoding["is"] == "scaled"
    honest_square = Model.square

    def worse(self, source):
        image = honest_square(self, source)
        return Image.new("RGB", image.size) if self.bundle.least else image

    monkeypatch.setattr(Model, "square", worse)
    taken = tried(dataset, plain, precision="fp32")
    assert taken.decoding["is"] == "full"
    assert "decoding smaller" in taken.decoding["why"]
    assert taken.preprocessing == {"decode": "full"}


def test_decoding_in_full_may_be_asked_for(dataset, plain, few):
    taken = tried(dataset, plain, precision="fp32", decode="full")
    assert taken.decoding == {"is": "full", "why": "export.decode says so"}
    assert taken.preprocessing == {"decode": "full"}


# the format


def fields(model, **changes):
    about = json.loads((model.bundle.path / "bundle.json").read_bytes())
    return about | changes


def test_a_bundle_from_before_still_loads(plain, tmp_path):
    about = fields(plain)
    for name in ("precision", "decoding", "schema", "checksum"):
        del about[name]
    del about["preprocessing"]["decode"]
    names = about.pop("files")
    files = {name: (plain.bundle.path / name).read_bytes() for name in names}
    bundle.write_bundle(tmp_path / "old", files)
    bundle.write_bundle(tmp_path / "old", {"bundle.json": bundle.describe(files, about)})
    old = Model(bundle.load(tmp_path / "old"))
    old.self_test()
    assert old.bundle.least is None
    assert old.bundle.labels == LABELS


def test_a_reader_from_before_refuses_smaller_decoding_and_reads_integers(scaled, integers):
    """It compared the number of the decoder with 1, and knew no other field of these."""
    assert scaled.bundle.about["preprocessing"]["decoder"] != 1
    assert integers.bundle.about["preprocessing"]["decoder"] == 1


@pytest.mark.parametrize(
    ("precision", "shape", "code"),
    [
        ({"is": "int4"}, {}, "MODEL_VERSION"),
        ({"is": "int8", "tolerance": 0.5}, {}, "BAD_MODEL"),
        ({"is": "int8", "tolerance": float("nan")}, {}, "BAD_MODEL"),
        ({}, {}, "BAD_MODEL"),
        ({"is": "fp32"}, {"decoder": 3}, "MODEL_VERSION"),
        ({"is": "fp32"}, {"least": 74}, "BAD_MODEL"),  # of decoder 1
        ({"is": "fp32"}, {"decoder": 2}, "BAD_MODEL"),
        ({"is": "fp32"}, {"decoder": 2, "least": 63}, "BAD_MODEL"),
    ],
)
def test_what_contradicts_itself_is_refused(plain, precision, shape, code):
    about = fields(plain, precision=precision)
    about["preprocessing"] |= shape
    with pytest.raises(ModelError) as caught:
        bundle._manifest(resealed(about))
    assert caught.value.code == code


def resealed(about):
    files = {name: b"" for name in about["files"]}
    rest = {k: v for k, v in about.items() if k not in ("schema", "files", "checksum")}
    return bundle.describe(files, rest)


def test_nothing_is_silent_while_the_range_of_activations_is_sought(monkeypatch):
    """Some hundred passes, of which there is a bar: for each batch one step."""
    seen = []

    def bar(items, **words):
        assert "hidden" not in words  # as elsewhere: no bar where nobody looks
        for item in items:
            seen.append(item)
            yield item

    monkeypatch.setattr(int8, "progress_bar", bar)
    images = [lambda: np.zeros((3, 4, 4), dtype=np.float32)] * 20
    assert [len(batch) for batch in int8._batches(images)] == [8, 8, 4]
    assert seen == [0, 8, 16]
