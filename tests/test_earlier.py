"""What version 0.1.0 wrote opens; what will be made anew is said before it is.

earlier/ holds its project file and the rows of its catalog: 28 pictures, up to the probe."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import within
from corpus import ROOT
from PIL import Image

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.ship import bundle

EARLIER = Path(__file__).parent / "earlier"
FAST = ("learn.arch=squeezenet1_1", "learn.weights=none", "learn.size=64", "learn.device=cpu",
        "probe.folds=2")  # fmt: skip


def pictures(root: Path) -> dict[str, bytes]:
    """The pictures that it was given, bit for bit, by label/name."""
    for label, channel in (("blue", 2), ("red", 0)):
        (root / label).mkdir(parents=True)
        for n in range(14):
            dice = np.random.default_rng([n, channel])
            small = dice.integers(0, 120, (8, 8, 3)).astype(np.uint8)
            small[..., channel] += 120
            pixels = np.kron(small, np.ones((12, 12, 1), np.uint8))
            Image.fromarray(pixels).save(root / label / f"{n}.bmp")
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in root.rglob("*.bmp")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder in which 0.1.0 ran `bears run --until probe`; what the probe left is lost."""
    files = pictures(tmp_path / "photos")
    data = tmp_path / "data" / "mine"
    data.mkdir(parents=True)
    (tmp_path / "mine.toml").write_bytes((EARLIER / "mine-0.1.0.toml").read_bytes())
    rows = (EARLIER / "catalog-0.1.0.sql").read_text(encoding="utf-8")
    connection = sqlite3.connect(data / "catalog.sqlite")
    connection.executescript(rows.replace("{place}", str(tmp_path)))
    connection.close()
    with Catalog(data) as catalog:
        for photo in catalog.photos():
            path = Path(photo.origin)
            catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
            catalog.file(photo).write_bytes(files[f"{path.parent.name}/{path.name}"])
    return tmp_path


def test_a_data_folder_opens_and_what_is_made_anew_is_said_first(place: Path) -> None:
    with Catalog(place / "data" / "mine") as catalog:
        before = {p.sha256: (p.label, p.split) for p in catalog.photos("ok")}
    assert len(before) == 28
    words = ["run", "--project", "mine.toml", "--source", "folder:photos", "--until", "probe",
             *(word for setting in FAST for word in ("--set", setting))]  # fmt: skip
    first = within.bears(*words, cwd=place)
    assert first.returncode == 0, first.stderr
    said = first.stdout + first.stderr
    sentence = "made by an earlier version, and now made anew: probe"
    assert sentence in said
    told = first.stdout if sentence in first.stdout else first.stderr
    assert "wrong" not in told[: told.index(sentence)]  # before the probe's own line
    with Catalog(place / "data" / "mine") as catalog:
        after = {p.sha256: (p.label, p.split) for p in catalog.photos("ok")}
    assert after == before
    second = within.bears(*words, "--json", cwd=place)
    assert '"outcome": "up to date"' in second.stdout
    assert sentence not in second.stdout + second.stderr


def test_its_dataset_can_be_asked(place: Path) -> None:
    done = within.bears("status", "--project", "mine.toml", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["photos"]["blue"] == found["photos"]["red"] == {"train": 9, "valid": 3, "test": 2}
    assert found["sources"] == {"OK": 28}


def test_its_bundle_opens() -> None:
    """The shipped model was published by 0.1.0."""
    about = bundle.load(ROOT / "models" / "bears")
    assert about.labels == ["black", "grizzly", "teddy"]
