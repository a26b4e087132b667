"""The starter set: drawn by code, planted faults of known truth."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bear_classifier.collect.starter import dataset
from bear_classifier.collect.starter.dataset import PlannedFile, Truth, read_truth, write_starter
from bear_classifier.collect.starter.drawing import LABELS, draw_bear
from bear_classifier.errors import DataError

SMALL = 12  # per class; the set then holds 12 + 5 + 12 originals


def contents(folder: Path) -> dict[str, str]:
    """Path to hash of every file, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return {path.relative_to(folder).as_posix(): h for path, h in zip(files, hashes, strict=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("starter") / "bears"
    write_starter(path, seed=7, per_class=SMALL)
    return path


@pytest.fixture(scope="module")
def truth(folder: Path) -> Truth:
    return read_truth(folder)


def of_fault(truth: Truth, fault: str) -> list[PlannedFile]:
    return [row for row in truth.rows if row.fault == fault]


def upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def test_truth_lists_every_file_of_the_class_folders(folder: Path, truth: Truth) -> None:
    files = {path for path in contents(folder) if path.split("/")[0] in LABELS}
    assert [row.path for row in truth.rows] == sorted(files)
    assert all(row.path.split("/")[0] == row.label for row in truth.rows)
    assert set(contents(folder)) - files == {"README.txt", ".thumbnails/bear.png", "truth.json"}
    raw = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert (raw["version"], raw["seed"], raw["per_class"]) == (dataset.STARTER_VERSION, 7, SMALL)


def test_the_counts_are_those_promised(truth: Truth) -> None:
    drawn = [row for row in truth.rows if row.fault in ("none", "mislabel")]
    assert Counter(row.true_label for row in drawn) == {"grizzly": 12, "black": 5, "teddy": 12}
    assert Counter(row.true_label for row in of_fault(truth, "mislabel")) == dict.fromkeys(
        LABELS, 1
    )
    exact, near = of_fault(truth, "exact_duplicate"), of_fault(truth, "near_duplicate")
    assert (len(exact), sum(row.label != row.true_label for row in exact)) == (8, 2)
    assert (len(near), sum(row.label != row.true_label for row in near)) == (16, 4)
    broken = Counter(row.kind for row in of_fault(truth, "broken"))
    assert broken == {"truncated": 3, "html": 2, "zip": 2, "empty": 1}


def test_the_default_plan_plants_six_per_cent_mislabels_and_a_rare_class() -> None:
    default = inspect.signature(write_starter).parameters["per_class"].default
    rows = [row for row, _ in dataset._plan(seed=42, per_class=default)]
    drawn = [row for row in rows if row.fault in ("none", "mislabel")]
    assert Counter(row.true_label for row in drawn) == {"grizzly": 160, "black": 64, "teddy": 160}
    astray = Counter(row.true_label for row in rows if row.fault == "mislabel")
    assert astray == {"grizzly": 10, "black": 4, "teddy": 10}
    assert (
        len({row.path for row in rows}) == len({Path(row.path).stem for row in rows}) == len(rows)
    )


def test_only_mislabels_and_stray_copies_lie_in_a_wrong_folder(truth: Truth) -> None:
    for row in truth.rows:
        if row.fault == "mislabel":
            assert row.label != row.true_label
        if row.fault in ("none", "broken"):
            assert row.label == row.true_label


def test_exact_duplicates_share_their_bytes_and_nothing_else_does(
    folder: Path, truth: Truth
) -> None:
    hashes = contents(folder)
    whole = [row for row in truth.rows if row.fault != "broken"]
    for row in of_fault(truth, "exact_duplicate"):
        assert hashes[row.path] == hashes[str(row.of)]
    assert len({hashes[row.path] for row in whole}) == len(whole) - dataset.EXACT


def test_near_duplicates_look_like_their_originals_and_differ(folder: Path, truth: Truth) -> None:
    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.convert("L").resize((12, 12), Image.Resampling.BOX), float).ravel()

    near, hashes = of_fault(truth, "near_duplicate"), contents(folder)
    assert {row.kind for row in near} == set(dataset._NEAR)
    for row in near:
        image, original = upright(folder / row.path), upright(folder / str(row.of))
        if row.kind == "mirrored":
            image = ImageOps.mirror(image)
        assert hashes[row.path] != hashes[str(row.of)]
        assert np.corrcoef(small(image), small(original))[0, 1] > 0.85, row


def test_broken_files_are_broken_and_all_others_open(folder: Path, truth: Truth) -> None:
    for row in truth.rows:
        data = (folder / row.path).read_bytes()
        if row.fault == "broken":
            with pytest.raises((OSError, SyntaxError)):
                Image.open(io.BytesIO(data)).load()
        else:
            Image.open(io.BytesIO(data)).load()


def test_a_complete_set_is_not_written_again(folder: Path, truth: Truth) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_starter(folder, seed=7, per_class=SMALL) == truth
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.long
def test_an_interrupted_writing_starts_over_and_the_same_seed_gives_the_same_bytes(
    folder: Path, truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(5))

    def interrupted(label: str, rng: np.random.Generator) -> Image.Image:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return draw_bear(label, rng)

    target = tmp_path / "bears"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset, "draw_bear", interrupted)
        write_starter(target, seed=7, per_class=SMALL)
    assert not (target / "truth.json").exists()
    (target / ".README.txt.1.partial").write_bytes(b"half a fi")  # what a kill leaves behind
    assert write_starter(target, seed=7, per_class=SMALL) == truth
    assert contents(target) == contents(folder)


def test_another_seed_gives_another_set(truth: Truth) -> None:
    other = {row for row, _ in dataset._plan(seed=8, per_class=SMALL)}
    assert other != set(truth.rows)
    assert {row for row, _ in dataset._plan(seed=7, per_class=SMALL)} == set(truth.rows)


def test_a_set_that_lost_a_picture_is_not_complete(
    folder: Path, truth: Truth, tmp_path: Path
) -> None:
    target, head = tmp_path / "bears", (folder / "README.txt").read_text(encoding="utf-8")
    shutil.copytree(folder, target)
    assert dataset._complete(target, head) == truth
    (target / truth.rows[3].path).unlink()
    assert dataset._complete(target, head) is None


def test_a_folder_with_something_else_is_refused_and_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    for used, seed in ((tmp_path, 7), (folder, 8)):
        before = contents(used)
        with pytest.raises(DataError) as caught:
            write_starter(used, seed=seed, per_class=SMALL)
        assert caught.value.code == "FOLDER_IN_USE"
        assert caught.value.sentence.startswith(f"{used} holds something else than the starter set")
        assert "choose another folder or move that one away" in caught.value.sentence
        assert contents(used) == before


def test_a_file_in_place_of_the_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "bears").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"^FOLDER_IN_USE: .*bears holds something else"):
        write_starter(tmp_path / "bears", per_class=SMALL)
    assert (tmp_path / "bears").read_bytes() == b"mine"


@pytest.mark.parametrize("damaged", ['{"version": 1', "[]", '{"rows": [{}]}', '{"rows": []}'])
def test_a_damaged_truth_is_an_error_of_ours(folder: Path, tmp_path: Path, damaged: str) -> None:
    (tmp_path / "README.txt").write_bytes((folder / "README.txt").read_bytes())
    (tmp_path / "truth.json").write_text(damaged, encoding="utf-8")
    with pytest.raises(DataError, match=r"^DAMAGED_TRUTH: .*truth.json is damaged \(.*; delete it"):
        write_starter(tmp_path, seed=7, per_class=SMALL)
    assert (tmp_path / "truth.json").read_text(encoding="utf-8") == damaged


def test_too_few_per_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="TOO_FEW: per_class is 11"):
        write_starter(tmp_path / "bears", per_class=11)


def test_stored_orientations_show_the_picture_upright() -> None:
    picture = draw_bear("teddy", np.random.default_rng(0))
    for turned in dataset._STORED:
        stored = Image.open(io.BytesIO(dataset._jpeg(picture, 95, turned)))
        shown = np.asarray(ImageOps.exif_transpose(stored), float)
        assert stored.getexif()[0x0112] == turned
        assert np.abs(shown - np.asarray(picture, float)).mean() < 4


@pytest.mark.parametrize("label", LABELS)
def test_draw_is_pure_and_keeps_to_its_sizes(label: str) -> None:
    pictures = [draw_bear(label, np.random.default_rng(seed)) for seed in range(4)]
    again = [draw_bear(label, np.random.default_rng(seed)) for seed in range(4)]
    assert [p.tobytes() for p in pictures] == [p.tobytes() for p in again]
    assert len({p.tobytes() for p in pictures}) == 4
    assert all(p.mode == "RGB" and 180 <= max(p.size) <= 900 for p in pictures)


@pytest.mark.long
def test_files_vary_and_trivial_features_do_not_tell_the_classes(tmp_path: Path) -> None:
    """Colour, light, size and format say little: chance is 1/3 for balanced classes."""
    rng, forms, sizes, turned, features, labels = np.random.default_rng(1), [], [], [], [], []
    for k in range(105):
        label = LABELS[k % 3]
        suffix = str(rng.choice(list(dataset._SUFFIXES), p=list(dataset._SUFFIXES.values())))
        data = dataset._encode(draw_bear(label, rng), suffix, rng)
        image = Image.open(io.BytesIO(data))
        forms.append((image.format, image.mode))
        turned.append(image.getexif().get(0x0112, 1))
        image = ImageOps.exif_transpose(image).convert("RGB")
        pixels = np.asarray(image.resize((32, 32), Image.Resampling.BOX), float)
        one_hot = [float(suffix == other) for other in dataset._SUFFIXES]
        shape = [image.width, image.height, image.width / image.height, len(data)]
        features.append([*pixels.mean((0, 1)), pixels.mean(), *shape, *one_hot])
        sizes.append(image.size)
        labels.append(label)

    assert {form for form, _ in forms} == {"JPEG", "PNG", "WEBP", "GIF", "BMP"}
    assert {mode for form, mode in forms if form == "PNG"} == {"RGB", "RGBA", "P"}
    assert set(turned) == {1, *dataset._STORED}
    assert min(max(size) for size in sizes) < 250 < 750 < max(max(size) for size in sizes)
    assert len({round(w / h, 1) for w, h in sizes}) >= 4

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    accuracy = cross_val_score(model, np.array(features), np.array(labels), cv=5).mean()
    assert accuracy < 0.55  # 0.35 to 0.46 over seeds
