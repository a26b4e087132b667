"""Training photos that a bundle may show."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from bundles import tiny_config, trained_dataset
from corpus import drawn, saved
from PIL import Image

from bear_classifier.dataset.schema import Source
from bear_classifier.errors import ModelError
from bear_classifier.runtime.npz import as_npz
from bear_classifier.serve.inference_worker import Models, work
from bear_classifier.ship import nearest_photos
from bear_classifier.ship.bundle import load
from bear_classifier.ship.export import export
from bear_classifier.ship.nearest_photos import SimilarPhoto, SimilarPhotos, shareable


def source(licence: str) -> Source:
    return Source("https://a.example/1.jpg", "teddy", "web", licence=licence, author="A. Person")


@pytest.mark.parametrize("licence", ["CC BY 4.0", "CC0 1.0", "cc by-sa 2.0", "Public Domain Mark"])
def test_a_licence_that_lets_copies_be_made(licence: str) -> None:
    assert shareable(source(licence))


@pytest.mark.parametrize(
    "licence", ["", "unknown", "All rights reserved", "CC BY-ND 4.0", "CC BY-NC-ND 2.0",
                "CC BY (search filter)"],
)  # fmt: skip
def test_any_other_does_not(licence: str) -> None:
    assert not shareable(source(licence))


def test_the_nearest_comes_first_whatever_its_length() -> None:
    shown = [SimilarPhoto(str(i), b"", "", "") for i in range(3)]
    found = SimilarPhotos(np.array([[1.0, 0], [10, 10], [0, 5]]), shown)
    assert [p.label for p in found.nearest(np.array([0.1, 0.9], dtype=np.float32), 2)] == ["2", "1"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shown")
    config = tiny_config(export={"parity": 1, "pictures": "licensed"})
    catalog = trained_dataset(root / "data", config)
    photos = [p for p in catalog.photos("ok") if p.split == "train"]
    with catalog.transaction():
        for number, photo in enumerate(photos[:3]):
            licence = "CC BY 4.0" if number < 2 else "All rights reserved"
            catalog.put_sources(
                [dataclasses.replace(source(licence), origin=f"https://a.example/{number}.jpg",
                                     label=photo.label, sha256=photo.sha256,
                                     page="https://a.example/page")]
            )  # fmt: skip
    pooled = np.random.default_rng(0).random((len(photos), 512), dtype=np.float32)
    logits = np.zeros((len(photos), 2), np.float32)
    hashes = np.array([p.sha256 for p in photos])
    data = as_npz(sha256=hashes, pooled=pooled, logits=logits, chosen=np.array("tuned"))
    (root / "data" / "train" / "predictions.npz").write_bytes(data)
    export(catalog, config, root / "tiny")
    return root / "tiny"


def test_only_licensed_photos_are_in_the_bundle_small_and_bare(shown: Path) -> None:
    bundle = load(shown)
    found = nearest_photos.of(bundle)
    assert found and len(found.shown) == 2
    for picture in found.shown:
        assert picture.about == "by A. Person, CC BY 4.0"
        image = Image.open(BytesIO(picture.jpeg))
        assert max(image.size) <= nearest_photos.THUMBNAIL_PIXELS and not image.info.get("exif")
    assert bundle.about["data"]["pictures"] == 2
    assert "small copies of 2 training photos" in (shown / "README.md").read_text(encoding="utf-8")


def test_by_default_a_bundle_shows_none(model_dir: Path) -> None:
    assert nearest_photos.of(load(model_dir)) is None
    assert not (model_dir / nearest_photos.FILE).exists()


def test_why_shows_the_most_similar_with_credit(shown: Path) -> None:
    checksum = load(shown).about["checksum"]
    models = Models({"tiny": (str(shown), checksum)})
    found = work(models, {"model": "tiny", "do": "explain"}, saved(drawn(seed=3), "JPEG"))
    assert len(found["similar"]) == 2
    assert found["similar"][0]["about"] == "by A. Person, CC BY 4.0"
    assert found["similar"][0]["source"] == "https://a.example/page"
    assert found["similar"][0]["image"].startswith("data:image/jpeg;base64,")


def test_changed_pictures_are_refused(shown: Path, tmp_path: Path) -> None:
    bundle = load(shown)
    data = bytearray((shown / nearest_photos.FILE).read_bytes())
    data[-5] ^= 1
    (shown / nearest_photos.FILE).write_bytes(data)
    with pytest.raises(ModelError, match="MODEL_CORRUPT"):
        nearest_photos.of(bundle)
    with pytest.raises(ModelError, match="MODEL_CORRUPT"):
        load(shown)
