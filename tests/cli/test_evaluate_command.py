"""A bundle on folders of pictures, of its classes and of nothing that it knows."""

import json
import shutil

import numpy as np
import pytest
from bundles import LABELS
from corpus import drawn, lfs_pointer, saved

from bear_classifier.cli import main
from bear_classifier.ship import bundle, golden
from bear_classifier.ship.predict import Model
from bear_classifier.stats.intervals import wilson
from bear_classifier.stats.ood import make_reference


@pytest.fixture
def odd_pictures(tmp_path):
    """Noise in two folders, one in none, and a file that is no picture."""
    root = tmp_path / "odd"
    for number, name in enumerate(["noise/1.png", "noise/2.png", "more/3.png", "4.png"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(drawn(seed=number), "PNG"))
    (root / "more" / "page.jpg").write_text("<html>", encoding="utf-8")
    return root


@pytest.fixture
def known(tmp_path):
    root = tmp_path / "known"
    for number in range(6):
        suffix, data = golden.draw_picture(500 + number)
        path = root / LABELS[number % 3] / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_a_pointer_of_git_lfs_is_named_as_such(model_dir, known, capsys):
    (known / LABELS[0] / "big.jpg").write_bytes(lfs_pointer())
    for option, place in (("--photos", known), ("--ood", known)):
        code, _, errors = judged(capsys, model_dir, option, place)
        assert code == 1
        assert "big.jpg: NOT_AN_IMAGE: the file is a pointer of Git LFS" in errors
        assert errors.endswith("with: git lfs pull\n")


def judged(capsys, model, *words):
    code = main.main(["evaluate", "--model", str(model), *map(str, words)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_strangers_are_counted_as_predict_answers_them(model_dir, odd_pictures, capsys):
    code, output, errors = judged(capsys, model_dir, "--ood", odd_pictures, "--json")
    assert code == 1
    assert errors.count("NOT_AN_IMAGE") == 1
    found = json.loads(output)["ood"]
    model = Model(bundle.load(model_dir))
    accepted = {p: model.predict(p).accepted for p in odd_pictures.rglob("*.png")}
    assert (found["n"], found["let_through"]) == (4, sum(accepted.values()))
    assert {name: row["n"] for name, row in found["kinds"].items()} == {"noise": 2, "more": 1}
    for name, row in found["kinds"].items():
        inside = [yes for path, yes in accepted.items() if path.parent.name == name]
        assert row["let_through"] == sum(inside)


def test_strangers_and_photos_in_words(model_dir, odd_pictures, known, capsys):
    (odd_pictures / "more" / "page.jpg").unlink()
    code, output, errors = judged(capsys, model_dir, "--ood", odd_pictures, "--photos", known)
    assert (code, errors) == (0, "")
    assert "of 6 photos)" in output
    assert "answered although they show none of the classes:" in output
    assert "  noise " in output


def test_both_in_one_object(model_dir, odd_pictures, known, capsys):
    _, output, _ = judged(capsys, model_dir, "--ood", odd_pictures, "--photos", known, "--json")
    found = json.loads(output)
    assert (found["n"], found["ood"]["n"]) == (6, 4)
    model = Model(bundle.load(model_dir))
    share = sum(model.predict(p).accepted for p in known.rglob("*.*")) / 6
    assert found["accepted_share"] == share


def test_folders_that_are_no_class_are_said(model_dir, known, capsys):
    (known / "panda").mkdir()
    (known / "panda" / "1.png").write_bytes(saved(drawn(), "PNG"))
    (known / "lost.png").write_bytes(saved(drawn(), "PNG"))
    (known / ".DS_Store").write_bytes(b"x")
    code, output, _ = judged(capsys, model_dir, "--photos", known)
    assert code == 0
    assert f"left out: {known / 'panda'}: not a class" in output
    assert f"left out: {known / 'lost.png'}: not in a class folder" in output
    assert "DS_Store" not in output
    found = json.loads(judged(capsys, model_dir, "--photos", known, "--json")[1])
    assert sorted(found["ignored"]) == [str(known / "lost.png"), str(known / "panda")]
    assert found["n"] == 6


def test_near_copies_widen_the_interval(model_dir, tmp_path, capsys):
    """Ten encodings of one drawing are one photo."""
    root, picture = tmp_path / "copies", drawn(320, 240, seed=3)
    for number in range(10):
        path = root / LABELS[0] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(picture, "JPEG", quality=80 + number))
    found = json.loads(judged(capsys, model_dir, "--photos", root, "--json")[1])
    assert found["error"] in (0.0, 1.0)
    assert found["error_interval"] == pytest.approx(
        wilson(found["error"], 1), abs=1e-6
    )  # fmt: skip
    strange = json.loads(judged(capsys, model_dir, "--ood", root, "--json")[1])["ood"]
    assert strange["interval"] == pytest.approx(wilson(strange["share"], 1), abs=1e-6)


def test_photos_that_the_model_was_trained_on_are_said():
    """Also encoded anew: the cosine to one of the reference is higher than between any others."""
    rng = np.random.default_rng(0)
    known = np.abs(rng.normal(size=(60, 40)))
    reference = make_reference(known, np.arange(60), None, seed=0)
    again = known[:10] * 1.5 + rng.normal(scale=0.02, size=(10, 40))
    assert reference.holds(again).all()
    assert not reference.holds(np.abs(rng.normal(size=(200, 40)))).any()
    alike = 1 + 0.001 * known  # a network to which all photos are nearly the same
    reference = make_reference(alike, np.arange(60), None, seed=0)
    assert reference.holds(1 + 0.001 * np.abs(rng.normal(size=(200, 40)))).mean() < 0.2


def test_a_report_on_training_photos_warns(model_dir, known, capsys, monkeypatch):
    monkeypatch.setattr(Model, "learned_from", lambda self, pooled: np.arange(len(pooled)) < 2)
    _, output, _ = judged(capsys, model_dir, "--photos", known)
    assert "the model was trained on 2 of these 6 photos" in output
    found = json.loads(judged(capsys, model_dir, "--photos", known, "--json")[1])
    assert len(found["training_photos"]) == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [([], "NO_PHOTOS"), (["--ood", "nowhere"], "NO_FOLDER"), (["--ood", "empty"], "NO_PHOTOS")],
)
def test_nothing_to_judge(model_dir, tmp_path, monkeypatch, capsys, words, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    done, _, errors = judged(capsys, model_dir, *words)
    assert done == 2
    assert errors.startswith(f"bears: {code}: ")


def test_the_report_of_a_dataset_is_told_of_its_own_models_strangers(
    model_dir, odd_pictures, tmp_path, capsys, monkeypatch
):
    (odd_pictures / "more" / "page.jpg").unlink()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bears.toml").write_text(
        'name = "tiny"\n[classes]\na = ["a"]\nb = ["b"]\n', encoding="utf-8"
    )
    (tmp_path / "models").mkdir()
    shutil.copytree(model_dir, tmp_path / "models" / "tiny")
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    left = tmp_path / "data" / "tiny" / "evaluate" / "ood.json"
    assert judged(capsys, model_dir, "--ood", odd_pictures)[0] == 0
    assert not left.exists()  # of another dataset, perhaps
    assert main.main(["evaluate", "--ood", str(odd_pictures)]) == 0
    found = json.loads(left.read_bytes())
    assert (found["n"], found["folder"], set(found["kinds"])) == (4, "odd", {"noise", "more"})
    about = bundle.load(model_dir).about
    assert found["weights"] == about["files"]["weights.safetensors"]["sha256"]
