"""The Python API: what the README promises, each line, and what happens on wrong input."""

from __future__ import annotations

import ast
import doctest
import importlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import ROOT, drawn, saved
from PIL import Image

import bear_classifier as bc
from bear_classifier import api, results
from bear_classifier.ship import predict

SMALL = {
    "learn.arch": "squeezenet1_1", "learn.weights": "none", "learn.size": 64, "train.epochs": 1,
    "learn.device": "cpu", "train.lr": 0.001, "train.batch_size": 8, "export.parity": 1,
    "train.source_validation": False, "export.precision": "fp32", "export.decode": "full",
}  # fmt: skip
PHOTO = saved(drawn(seed=3), "JPEG")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> bc.Project:
    """A small project that was run to its model."""
    root = tmp_path_factory.mktemp("api")
    for number in range(76):
        folder = root / "photos" / ("grizzly", "teddy")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(saved(drawn(seed=number), "PNG"))
    bc.new_project("mine", ["grizzly", "teddy"], root)
    settings = SMALL | {"search.source": f"folder:{root / 'photos'}"}
    opened = bc.open_project(root / "mine.toml", settings, root / "data", root / "models")
    results = opened.run(quiet=True)
    assert repr(results).startswith("StageResults(done: search, download, screen, split, probe")
    assert repr(opened.run(quiet=True)).startswith("StageResults(done: search, download")
    return opened


@pytest.fixture(scope="module")
def report(project: bc.Project) -> bc.Report:
    return project.report()


@pytest.fixture(scope="module")
def curve(project: bc.Project) -> bc.Study:
    return project.learning_curve(2)


# what is imported


def test_the_package_exports_what_is_public_and_imports_nothing_for_it() -> None:
    code = (
        "import sys; before = set(sys.modules); import bear_classifier as bc; dir(bc); bc.__all__\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert set(done.stdout.split()) <= {"bear_classifier", "importlib", "typing", "__future__"} | {
        name for name in done.stdout.split() if name.partition(".")[0] in sys.stdlib_module_names
    }
    for name in bc.__all__:
        assert getattr(bc, name).__doc__, name
        assert name in dir(bc)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bc.nothing  # type: ignore[attr-defined]
    assert (ROOT / "bear_classifier" / "py.typed").is_file()


def test_what_type_checkers_see_is_what_is_exported() -> None:
    text = (ROOT / "bear_classifier" / "__init__.py").read_text(encoding="utf-8")
    seen = {
        line.rpartition(" as ")[2]
        for line in text.splitlines()
        if line.startswith("    from bear_classifier")
    }
    assert seen == set(bc.__all__)


@pytest.mark.parametrize("module", [bc, api])
def test_the_example_of_a_module_is_a_block_of_code(module: Any) -> None:
    """Indented, so that it is shown as code; its names are there."""
    text = module.__doc__
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    assert "    import bear_classifier as bc" in lines
    assert not [line for line in text.splitlines() if line.startswith(("import ", "bc."))]
    code = ast.parse("\n".join(line[4:] for line in lines))
    used = [node for node in ast.walk(code) if isinstance(node, ast.Attribute)]
    assert {node.attr for node in used if ast.unparse(node.value) == "bc"} <= set(bc.__all__)
    assert {node.attr for node in used if ast.unparse(node.value) == "project"} == {"run"}


@pytest.mark.parametrize("module", [api, results, predict])
def test_the_examples_of_the_docstrings_run(
    module: Any, project: bc.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(PHOTO)
    examples = [
        test
        for test in doctest.DocTestFinder().find(module, extraglobs={"project": project})
        if test.examples
    ]
    assert examples
    for test in examples:
        if test.name.endswith("Project.run"):
            continue  # draws the starter set: the block below runs it
        found = io.StringIO()
        doctest.DocTestRunner(verbose=False).run(test, out=found.write)
        assert not found.getvalue(), found.getvalue()


BLOCK = """
project.run(until="clean")
assert len(project.photos()) > 30 and len(project.sources()) > 30
project.show_photos(split="train", n=12)
project.suspects()
one, two = project.suspects()["sha256"][:2]
project.relabel(one, "teddy"); project.drop(two); project.undo(); project.history()
project.run()
learn = project.learner()
project.evaluate(); project.report()
model = bc.load_model(project.model_folder)
model.predict("photo.jpg")
list(model.predict_many(["photo.jpg"]))
model
"""


def test_the_block_runs_line_by_line(
    project: bc.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On what is there, so that nothing is trained again; its decision is taken back. The whole of
    it in an empty folder: tests/test_install.py, and README's block in tests/test_docs.py."""
    monkeypatch.setattr(bc.Project, "run", lambda *_, **__: None)
    monkeypatch.setattr(bc.Project, "evaluate", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(PHOTO)
    before = len(project.history())
    names: dict[str, Any] = {"project": project, "bc": bc}
    for line in BLOCK.strip().splitlines():
        exec(line, names)  # noqa: S102
    first, *others = project.history()["action"][before:]
    assert first in ("relabel", "keep")  # where its label is that one already
    assert others == ["drop", "undo"]
    project.undo()


# a model and what it is asked with


@pytest.fixture(scope="module")
def model(model_dir: Path) -> bc.Model:
    return bc.load_model(model_dir)


def test_a_photo_is_taken_in_every_form(model: bc.Model, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(drawn(seed=3), "PNG"))
    image = Image.open(path)
    pixels = np.asarray(image.convert("RGB"))
    forms: list[Any] = [
        path, str(path), path.read_bytes(), bytearray(path.read_bytes()), image,
        image.convert("RGBA"), pixels, np.asarray(image.convert("RGBA")),
        np.asfortranarray(pixels), pixels[::-1][::-1],
    ]  # fmt: skip
    first, *others = [model.predict(form) for form in forms]
    assert all(other == first for other in others)
    grey = np.asarray(image.convert("L"))
    assert (
        model.predict(grey) == model.predict(grey[:, :, None]) == model.predict(image.convert("L"))
    )


def test_a_pil_image_is_turned_as_its_file_would_be(model: bc.Model, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    drawn(seed=4).save(file, "PNG", exif=exif)
    assert model.predict(Image.open(file)) == model.predict(file.getvalue())
    assert Image.open(file).getexif()[274] == 6, "the caller's picture is left as it is"


@pytest.mark.parametrize("wrong", [
    5, None, [1, 2], {"a": 1}, object(), np.zeros((4, 4, 3)), np.zeros((64, 64, 3), np.float32),
    np.zeros((3, 64, 64), np.uint8), np.zeros(9, np.uint8), np.zeros((0, 0, 3), np.uint8),
    np.zeros((64, 64), bool), np.zeros((1, 64, 64, 3), np.uint8), Image.new("F", (64, 64)),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_what_is_no_picture_is_told_what_is(model: bc.Model, wrong: Any) -> None:
    with pytest.raises(bc.PhotoError, match="^NOT_AN_IMAGE: .* give .*uint8"):
        model.predict(wrong)


@pytest.mark.parametrize("wrong", ["nowhere.jpg", b"", b"no picture", np.zeros((2, 2), np.uint8)])
def test_a_photo_that_cannot_be_used_is_a_sentence(model: bc.Model, wrong: Any) -> None:
    with pytest.raises(bc.PhotoError):
        model.predict(wrong)


def test_many_come_in_order_and_a_bad_one_ends_nothing(model: bc.Model, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(saved(drawn(seed=number), "PNG"))
    asked = [folder, b"no picture", PHOTO, str(folder / "1.png"), 7]
    found = list(model.predict_many(asked))
    assert [source for source, _ in found] == [
        *(folder / f"{number}.png" for number in range(3)), *asked[1:]
    ]  # fmt: skip
    kinds = [type(answer).__name__ for _, answer in found]
    assert kinds == ["Prediction"] * 3 + ["PhotoError", "Prediction", "Prediction", "PhotoError"]
    assert found[1][1] == found[5][1] == model.predict(folder / "1.png")
    assert len(list(model.predict_many(folder))) == 3
    assert len(list(model.predict_many(str(folder / "0.png")))) == 1
    assert list(model.predict_many([])) == []


def test_a_model_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(bc.ModelError, match="NO_MODEL"):
        bc.load_model(tmp_path / "none")
    monkeypatch.setattr(api, "SHIPPED", tmp_path / "site-packages")
    with pytest.raises(bc.ModelError, match="NO_MODEL: the shipped model is not part of"):
        bc.load_model("shipped")


# a project


def test_every_public_object_is_one_short_line(
    project: bc.Project, model: bc.Model, report: bc.Report, curve: bc.Study
) -> None:
    for one in (project, project.run(quiet=True), project.evaluate(), report, model, model.bundle,
                curve):  # fmt: skip
        assert len(repr(one)) < 200 and "\n" not in repr(one), repr(one)[:300]
    assert "\n" not in repr(model.predict(PHOTO))


def test_tables(project: bc.Project) -> None:
    photos, sources, suspects = project.photos(), project.sources(), project.suspects()
    assert len(photos) == 76 and set(photos["label"]) == {"grizzly", "teddy"}
    assert all(Path(file).is_file() for file in photos["file"])
    assert set(sources["code"]) == {"OK"} and len(sources) == 76
    assert suspects["score"].is_monotonic_decreasing
    assert project.splits().set_index("class")["train"].sum() == sum(photos["split"] == "train")


def test_decisions(project: bc.Project) -> None:
    before = project.suspects()
    first, second, third = before["sha256"][:3]
    other = "teddy" if before["label"][0] == "grizzly" else "grizzly"
    project.relabel(first[:8], other, why="seen")
    project.drop(second)
    project.keep(third)
    photos = project.photos().set_index("sha256")
    assert photos.loc[first, "label"] == other and photos.loc[second, "status"] == "dropped"
    assert not {first, second, third} & set(project.suspects()["sha256"])
    history = project.history()
    assert history["action"].tolist()[-3:] == ["relabel", "drop", "keep"]
    assert history["why"].tolist()[-3] == "seen"
    for _ in range(3):
        project.undo()
    assert project.suspects()["sha256"].tolist() == before["sha256"].tolist()
    with pytest.raises(bc.DataError, match="UNKNOWN_CLASS"):
        project.relabel(first, "panda")
    with pytest.raises(bc.DataError, match="NO_SUCH_PHOTO"):
        project.drop("abc")


def test_figures_are_matplotlibs_and_show_themselves(
    project: bc.Project, report: bc.Report
) -> None:
    from matplotlib.figure import Figure

    for figure in (
        project.show_photos(n=4), project.show_photos("train", "teddy", 13),
        bc.show_predictions(project.model(), [PHOTO, drawn(seed=1)]),
        project.show_suspects(3), project.training().figure, project.evaluate().show_confusion(),
        report.show_calibration(), report.show_rejection(), report.mistakes,
    ):  # fmt: skip
        assert isinstance(figure, Figure) and hasattr(figure, "_repr_png_")
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_results_are_html_in_a_notebook(
    project: bc.Project, report: bc.Report, curve: bc.Study
) -> None:
    evaluation = project.evaluate()
    assert "<pre>" in evaluation._repr_html_() and "grizzly" in evaluation._repr_html_()
    assert evaluation.n == report.evaluation.n > 0 and set(evaluation.per_class()["class"]) == {
        *("grizzly", "teddy")
    }
    assert project.training()._repr_html_().count("data:image/png") == 1
    assert all(report.explain(what) for what in ("calibration", "mistakes", "rejection"))
    with pytest.raises(bc.ConfigError, match="give calibration, mistakes or rejection"):
        report.explain("nothing")  # type: ignore[arg-type]
    assert list(report.confused().columns)[:2] == ["is", "taken for"]
    assert "<iframe srcdoc=" in report._repr_html_() and report.path.is_file()
    assert report.verdict and isinstance(report.warnings, list)
    assert "data:image/png;base64," in curve._repr_html_() and curve.text


def test_a_wrong_stage_or_class_list_is_a_sentence(project: bc.Project, tmp_path: Path) -> None:
    with pytest.raises(bc.ConfigError, match="'fly' is no stage; there are search, download"):
        project.run(until="fly")
    for split, label in (("test", "panda"), ("trial", None)):
        with pytest.raises(bc.ConfigError, match="splits are train, valid, test, classes grizzly"):
            project.show_photos(split, label)
    with pytest.raises(bc.ConfigError, match="give a list of names"):
        bc.new_project("x", "grizzly", tmp_path)
    bc.new_project("x", {"a": ["one", "two"], "b": ["three"]}, tmp_path)
    with pytest.raises(bc.ConfigError, match="EXISTS"):
        bc.new_project("x", ["a", "b"], tmp_path)
    with pytest.raises(bc.ConfigError, match="NO_PROJECT"):
        bc.open_project(tmp_path / "none.toml")
    assert bc.open_project("starter", {"train.cycles": 2, "train.source_validation": False})
    with pytest.raises(bc.DataError, match="NO_DATA"):
        bc.new_project("y", ["a", "b"], tmp_path).photos()


def test_tables_need_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(bc.ConfigError, match="NO_PANDAS: .* pip install pandas"):
        results.frame([])


# fastai


def test_fastai_works_on_the_learner(project: bc.Project, tmp_path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import torch
    from fastai.interpret import ClassificationInterpretation, Interpretation
    from fastai.learner import Learner, load_learner

    before = (project.data / "train" / "weights.safetensors").read_bytes()
    learn = project.learner()
    assert isinstance(learn, Learner) and list(learn.dls.vocab) == project.labels
    photos = project.photos()
    assert len(learn.dls.train_ds) == sum(photos["split"] == "train")
    assert len(learn.dls.valid_ds) == sum(photos["split"] == "valid")
    said = {row["sha256"]: row["label"] for _, row in photos.iterrows()}
    assert all(said[p.stem] == learn.dls.vocab[y] for p, y in zip(
        learn.dls.valid_ds.items, [y for _, y in learn.dls.valid_ds], strict=True))  # fmt: skip
    with learn.no_bar(), learn.no_logging():
        learn.show_batch if hasattr(learn, "show_batch") else learn.dls.show_batch(max_n=4)
        found = learn.lr_find(num_it=5, show_plot=False, suggest_funcs=())
        Interpretation.from_learner(learn).plot_top_losses(2)
        ClassificationInterpretation.from_learner(learn).plot_confusion_matrix()
        photo = photos["file"][0]
        label, _, probabilities = learn.predict(photo)
        assert label in project.labels and float(probabilities.sum()) == pytest.approx(1, abs=1e-4)
        learn.export(tmp_path / "model.pkl")
        again = load_learner(tmp_path / "model.pkl")
        with again.no_bar():
            assert torch.allclose(again.predict(Path(photo))[2], probabilities, atol=1e-5)
    exported = (tmp_path / "model.pkl").read_bytes()
    assert not [name for name in photos["sha256"] if name.encode() in exported]
    learn.fit_one_cycle(1)
    assert (project.data / "train" / "weights.safetensors").read_bytes() == before
    del found


def test_its_answers_are_those_of_the_bundle(project: bc.Project) -> None:
    """The same network, the same resize: logits and probabilities agree."""
    learn, model = project.learner(), project.model()
    files = [file for file in project.photos()["file"][:4]]
    with learn.no_bar():
        said = [learn.predict(file)[2].numpy() for file in files]
    for file, probabilities in zip(files, said, strict=True):
        logits = model.outputs(Path(file))[0]
        own = np.exp(logits - logits.max())
        assert np.abs(own / own.sum() - probabilities).max() < 0.02  # int8 may be published


def test_the_module_of_the_api_is_found_by_its_name() -> None:
    assert importlib.import_module("bear_classifier.api").load_model is bc.load_model


def test_a_model_is_tried_before_it_answers(model_dir, monkeypatch):
    tried = []
    monkeypatch.setattr("bear_classifier.ship.sandbox.trust", tried.append)
    model = bc.load_model(model_dir)
    assert [one.about["checksum"] for one in tried] == [model.bundle.about["checksum"]]
