"""What version 0.1.0 wrote opens; what will be made anew is said before it is.

earlier/ holds its project file and the rows of its catalog: 28 pictures, up to the probe."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import within
from PIL import Image

from bear_classifier.config import project_file
from bear_classifier.config.project_file import as_toml, read_project
from bear_classifier.dataset.backups import restore
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SCHEMA_VERSION
from bear_classifier.errors import DataError
from bear_classifier.images.preprocessing import Preprocessing
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


def test_its_bundle_opens(model_dir: Path, tmp_path: Path) -> None:
    """It said neither how pictures are cropped and resized, nor where weights came from."""
    place = tmp_path / "model"
    shutil.copytree(model_dir, place)
    about = json.loads((place / "bundle.json").read_text(encoding="utf-8"))
    new = {key: about["preprocessing"].pop(key) for key in ("crop", "interpolation")}
    later = ("pretrained", "schema", "files", "checksum")
    files = {name: (place / name).read_bytes() for name in about["files"]}
    kept = {key: value for key, value in about.items() if key not in later}
    (place / "bundle.json").write_bytes(bundle.describe(files, kept))
    opened = bundle.load(place)
    assert new == {"crop": 1.0, "interpolation": "bilinear"}
    assert "crop" not in opened.about["preprocessing"]
    assert opened.preprocessing == Preprocessing(about["preprocessing"]["size"])


# -- a catalog of format 3 (November 2026) -------------------------------------------------------


@pytest.fixture
def format_3(tmp_path: Path) -> Path:
    """The folder of a dataset whose catalog the last code of format 3 wrote: photos with reasons, a
    search, decisions with an undo, a take-down, a publication and a run."""
    root = tmp_path / "data"
    root.mkdir()
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        db.executescript((EARLIER / "catalog-format-3.sql").read_text(encoding="utf-8"))
    return root


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables}


def without_format_6(tables: dict[str, list[tuple[object, ...]]]) -> None:
    """Take from each source the columns of format 6, which are empty there."""
    assert {row[-4:] for row in tables["source"]} == {("",) * 4}
    tables["source"] = [row[:-4] for row in tables["source"]]


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_a_catalog_of_format_3_is_upgraded_and_kept(format_3: Path) -> None:
    before = rows(format_3 / "catalog.sqlite")
    with Catalog(format_3) as catalog:
        photos, pages = catalog.photos(), catalog.search_pages()
        assert len(catalog.sources()) == 7 and len(catalog.events()) == 3
        assert catalog.take_downs()[0].value == "gone.example"
        assert catalog.published()[0].photos and catalog.last_run("screen")
    assert [(page.page, page.code) for page in pages] == [(1, "OK"), (2, "EMPTY")]
    assert [p.reason.partition(" ")[0] for p in photos if p.status == "unusable"] == [
        "ACROSS_SPLITS:"
    ]
    after = rows(format_3 / "catalog.sqlite")
    assert after.pop("search_page") == before.pop("asked")
    assert after.pop("new_class") == []
    without_format_6(after)
    assert {name: after[name] for name in after if name != "photo"} == {
        name: before[name] for name in before if name != "photo"
    }
    kept = format_3 / "copies" / "format-3.sqlite"
    assert (version(format_3 / "catalog.sqlite"), version(kept)) == (SCHEMA_VERSION, 3)
    assert "asked" in rows(kept)


def test_a_catalog_of_format_4_is_upgraded_and_kept(tmp_path: Path) -> None:
    """Its photos get a table that knows of photos without a label; nothing else changes."""
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as db:
        db.executescript((EARLIER / "catalog-format-4.sql").read_text(encoding="utf-8"))
    before = rows(tmp_path / "catalog.sqlite")
    with Catalog(tmp_path) as catalog:
        assert len(catalog.photos()) == 6 and catalog.new_classes() == []
        assert catalog._db.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert catalog._db.execute("PRAGMA foreign_key_check").fetchall() == []
    after = rows(tmp_path / "catalog.sqlite")
    assert after.pop("new_class") == []
    without_format_6(after)
    assert after == before
    kept = tmp_path / "copies" / "format-4.sqlite"
    assert (version(tmp_path / "catalog.sqlite"), version(kept)) == (SCHEMA_VERSION, 4)
    with Catalog(tmp_path) as catalog, pytest.raises(DataError), catalog.transaction():
        catalog._db.execute("DELETE FROM photo")  # sources and events still point at its rows


def test_a_catalog_of_format_5_is_upgraded_and_kept(tmp_path: Path) -> None:
    """Its sources get the split that a file was published in."""
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as db:
        db.executescript((EARLIER / "catalog-format-5.sql").read_text(encoding="utf-8"))
    before = rows(tmp_path / "catalog.sqlite")
    with Catalog(tmp_path) as catalog:
        assert len(catalog.photos("unlabelled")) == 1 and len(catalog.new_classes()) == 1
        assert catalog.given_splits() == []
    after = rows(tmp_path / "catalog.sqlite")
    without_format_6(after)
    assert after == before
    kept = tmp_path / "copies" / "format-5.sqlite"
    assert (version(tmp_path / "catalog.sqlite"), version(kept)) == (SCHEMA_VERSION, 5)


def test_an_upgrade_without_a_copy_does_not_begin(format_3: Path) -> None:
    """Here because a file stands where the folder of copies should be."""
    (format_3 / "copies").write_bytes(b"")
    with pytest.raises(DataError, match="CATALOG_UNUSABLE"):
        Catalog(format_3)
    assert version(format_3 / "catalog.sqlite") == 3


def test_a_copy_of_format_3_is_put_back_and_upgraded(format_3: Path) -> None:
    (format_3 / "copies").mkdir()
    copy = format_3 / "copies" / "catalog-20261101-100000-0001.sqlite"
    copy.write_bytes((format_3 / "catalog.sqlite").read_bytes())
    (format_3 / "catalog.sqlite").write_bytes(b"damaged")
    restore(format_3)
    with Catalog(format_3) as catalog:
        assert len(catalog.photos()) == 6


def test_old_names_of_settings_work_and_name_their_successor_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_file, "_named_once", set())
    new = within.bears("new", "mine", "--class", "a", "--class", "b", cwd=tmp_path)
    assert new.returncode == 0, new.stderr
    path = tmp_path / "mine.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\nlr_ratio =", "\nspread ="), encoding="utf-8")
    words = ["search", "--project", "mine.toml", "--set", "train.rehearse=false", "--json"]
    done = within.bears(*words, cwd=tmp_path)
    assert "UNKNOWN_SETTING" not in done.stdout
    lines = [line for line in done.stderr.splitlines() if "is now called" in line]
    assert [line.split()[1] for line in lines] == ["train.rehearse", "train.spread"]
    for first in ("lr_ratio", "spread"):  # whichever name the file has
        path.write_text(text.replace("\nlr_ratio =", f"\n{first} ="), encoding="utf-8")
        config = read_project(path, ["train.spread=3", "train.rehearse=false"])
        assert (config.train.lr_ratio, config.train.source_validation) == (3.0, False)
    assert read_project(path, ["train.lr_ratio=4"]).train.lr_ratio == 4.0
    assert as_toml(config).count("lr_ratio = 3.0") == 1
