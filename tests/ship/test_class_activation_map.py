import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
from bundles import LABELS
from PIL import Image
from safetensors.numpy import load_file, save_file

from bear_classifier.errors import ModelError
from bear_classifier.images import decoder
from bear_classifier.ship import bundle, golden
from bear_classifier.ship.class_activation_map import (
    CamHead,
    against_others,
    cam_head,
    evidence,
    explain,
    overlay,
)
from bear_classifier.ship.predict import Model


@pytest.fixture(scope="module")
def model(model_dir):
    return Model(bundle.load(model_dir))


def test_the_evidence_of_all_places_and_the_bias_are_the_logit(model):
    weights = cam_head(model.bundle)
    for number in range(500, 506):
        logits, _, map_ = model.outputs(golden.draw_picture(number)[1])
        found = evidence(weights, map_)
        assert found.shape == (3, *map_.shape[1:])
        assert found.shape[1] > 1  # places, or the mean would be no test
        assert np.ptp(found, axis=(1, 2)).max() > 1e-3  # they differ
        assert np.abs(found.mean(axis=(1, 2)) + weights.bias - logits).max() < 1e-3


def test_evidence_by_hand():
    """Two features, one row of two places: (map - mean) * scale + shift, then the weights."""
    weights = CamHead(
        mean=np.float32([1, 0]),
        scale=np.float32([2, 1]),
        shift=np.float32([0, 0.5]),
        weight=np.float32([[1, 1], [-1, 2]]),
        bias=np.float32([9, 9]),
    )
    map_ = np.float32([[[1, 2]], [[0, 1]]])  # standardised: 0, 2 and 0.5, 1.5
    assert evidence(weights, map_).tolist() == [[[0.5, 3.5]], [[1.0, 1.0]]]
    assert against_others(evidence(weights, map_)).tolist() == [[[-0.25, 1.25]], [[0.25, -1.25]]]


def test_the_norm_is_folded_as_torch_computes_it(model, model_dir):
    stored = load_file(model_dir / "weights.safetensors")
    found = cam_head(model.bundle)
    assert np.array_equal(found.mean, stored["head.2.running_mean"])
    deviation = np.sqrt(stored["head.2.running_var"] + 1e-5)
    assert np.allclose(found.scale, stored["head.2.weight"] / deviation)


def test_changed_weights_are_not_explained_with(model, model_dir, tmp_path):
    """The bundle was verified when it was loaded; its file may have changed since."""
    shutil.copytree(model_dir, tmp_path / "tiny")
    values = load_file(tmp_path / "tiny" / "weights.safetensors")
    values["head.2.running_mean"] = values["head.2.running_mean"] + 1
    save_file(values, tmp_path / "tiny" / "weights.safetensors")
    with pytest.raises(ModelError, match="MODEL_CORRUPT"):
        cam_head(dataclasses.replace(model.bundle, path=tmp_path / "tiny"))
    (tmp_path / "tiny" / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="MODEL_INCOMPLETE"):
        cam_head(dataclasses.replace(model.bundle, path=tmp_path / "tiny"))


def test_orange_speaks_for_and_blue_against():
    photo = Image.new("RGB", (40, 20), "grey")
    found = np.asarray(overlay(photo, np.float32([[-2, 0, 0, 2]]), 2.0)).astype(int)
    assert found.shape == (20, 40, 3)
    left, middle, right = found[10, 0], found[10, 19], found[10, 39]
    assert left[2] - left[0] > 80  # blue
    assert right[0] - right[2] > 80  # orange
    assert np.ptp(middle) < 15  # of a grey photo without evidence: grey


def test_no_evidence_shows_no_colour():
    photo = Image.new("RGB", (8, 8), (200, 10, 10))
    found = np.asarray(overlay(photo, np.zeros((2, 2), np.float32), 0.0))
    assert (found[..., 0] == found[..., 2]).all()


def test_the_deepest_colour_means_the_same_in_all_maps_of_a_photo(model):
    data = golden.draw_picture(500)[1]
    weights = cam_head(model.bundle)
    found = explain(model, weights, data, [2, 0])
    exact = against_others(evidence(weights, model.outputs(data)[2]))
    assert found.strongest == pytest.approx(float(np.abs(exact[[2, 0]]).max()))
    assert found.cells == exact.shape[-1]
    assert [one.size for one in (found.photo, *found.maps)] == [(64, 64)] * 3
    square = decoder.fit_square(decoder.decode(data), 64)
    assert found.photo.tobytes() == square.tobytes()
    again = overlay(square, exact[2], found.strongest)
    assert found.maps[0].tobytes() == again.tobytes()
    assert model.bundle.labels == LABELS


def test_explaining_needs_no_torch():
    code = "import sys, bear_classifier.ship.class_activation_map; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "False"
