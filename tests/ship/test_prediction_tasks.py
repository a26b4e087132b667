"""Predictions as tasks of an engine: the answers of one process, in its order."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clusters import environment, remove_machine, two_machines
from corpus import ROOT, drawn, saved
from engine_tasks import Mishaps, marked, with_mishaps
from waiting import STUCK, until

from bear_classifier.cli.main import main
from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine import choice
from bear_classifier.errors import ModelError
from bear_classifier.ship import bundle, golden, prediction_tasks
from bear_classifier.ship.predict import Prediction, answers
from bear_classifier.ship.prediction_tasks import Kept, answer_photos, answers_on_engine, forget

PLACE = "bear_classifier.ship.prediction_tasks:answer_photos"
DRIVER = """
import sys
from functools import partial
from bear_classifier.cli.main import main
from bear_classifier.ship import prediction_tasks
from engine_tasks import Mishaps, with_mishaps
marks, place, *words = sys.argv[1:]
mishaps = Mishaps(marks, gated=frozenset(range(10, 99)))
prediction_tasks._PHOTOS = 2
prediction_tasks.answer_photos = partial(with_mishaps, place, mishaps)
sys.exit(main(words))
"""


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(11):
        (folder / f"{number:02}.jpg").write_bytes(golden.draw_picture(number)[1])
    (folder / "04.jpg").write_bytes(b"no picture")
    return [*sorted(folder.iterdir()), folder / "not there.jpg"]


def plain(found: Any) -> list[tuple[Path, object]]:
    """Errors compare by what they say."""
    return [(path, a if isinstance(a, Prediction) else str(a)) for path, a in found]


def test_answers_come_in_the_order_of_the_files(
    model_dir: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where tasks end in another order than they began in."""
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 2)
    loaded = bundle.load(model_dir)
    expected = plain(answers(loaded, photos))
    assert sum(isinstance(answer, str) for _, answer in expected) == 2

    def reversed_each(function: Any, tasks: Any, engine: Any) -> Any:
        return [(task, function(task)) for task in reversed(list(tasks))]

    assert plain(answers_on_engine(loaded, photos, EngineConfig())) == expected
    monkeypatch.setattr(choice, "each", reversed_each)
    assert plain(answers_on_engine(loaded, photos, EngineConfig())) == expected
    assert plain(answers_on_engine(loaded, photos[:1], EngineConfig())) == expected[:1]


def test_a_worker_takes_no_other_bundle(
    model_dir: Path, photos: list[Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_dir, model)
    task = prediction_tasks.PredictionTask(0, model, "another", tuple(photos[:1]))
    with pytest.raises(ModelError, match="MODEL_CHANGED") as caught:
        answer_photos(task)
    assert str(model) in caught.value.sentence


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Photos that were answered, of tasks of two each."""
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 2)
    seen: list[Path] = []
    real = prediction_tasks.answers_ahead

    def counted(bundle: Any, sources: Any) -> Any:
        seen.extend(sources)
        return real(bundle, sources)

    monkeypatch.setattr(prediction_tasks, "answers_ahead", counted)
    return seen


def test_answers_are_kept_until_a_table_has_them(
    model_dir: Path, photos: list[Path], tmp_path: Path, made: list[Path]
) -> None:
    """Whichever rows the table has by then, and whatever came behind."""
    loaded = bundle.load(model_dir)
    expected = plain(answers(loaded, photos))
    kept = Kept(str(tmp_path / "out"), "t.csv.answers")
    first = answers_on_engine(loaded, photos[:8], EngineConfig(), kept=kept)
    assert plain(itertools.islice(first, 5)) == expected[:5]
    assert made == photos[:6]
    made.clear()
    left = photos[3:]
    again = answers_on_engine(loaded, photos, EngineConfig(), left.__contains__, kept)
    assert plain(again) == expected[3:]
    assert made == photos[6:]
    assert len(list((tmp_path / "out" / kept.name).iterdir())) == 6
    made.clear()
    assert plain(answers_on_engine(loaded, photos, EngineConfig(), kept=kept)) == expected
    forget(kept)
    assert made == [] and list((tmp_path / "out").iterdir()) == []


def test_workers_that_see_no_photo_answer_the_same(
    model_dir: Path, photos: list[Path], tmp_path: Path, made: list[Path]
) -> None:
    """Bundle and photos go through a storage, in which the photos do not stay."""
    loaded = bundle.load(model_dir)
    engine = EngineConfig(storage=(tmp_path / "storage").as_uri())
    kept = Kept((tmp_path / "out").as_uri(), "t.csv.answers")
    expected = plain(answers(loaded, photos))
    assert plain(answers_on_engine(loaded, photos, engine, kept=kept)) == expected
    assert not set(made) & set(photos)
    assert [path.name.partition("-")[0] for path in (tmp_path / "storage").iterdir()] == ["bundle"]
    made.clear()
    assert plain(answers_on_engine(loaded, photos, engine, kept=kept)) == expected
    assert made == []


def test_a_table_among_its_photos(
    model_dir: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch, made: list[Path]
) -> None:
    """Neither it nor what workers keep beside it is a photo, also for a command that goes on."""

    def each(function: Any, tasks: Any, engine: Any) -> Any:
        for task in tasks:
            yield task, function(task)
            if next(stops):
                raise KeyboardInterrupt

    folder = photos[0].parent
    words = ["predict", "--quiet", "--model", str(model_dir), str(folder), "--csv"]
    main([*words, str(folder.with_name("here.csv"))])
    monkeypatch.setattr(choice, "each", each)
    made.clear()
    stops = itertools.chain([True, True], itertools.repeat(False))
    codes = [main([*words, str(folder / "t.csv"), "--engine", "ray"]) for _ in range(3)]
    assert codes == [130, 130, 1]
    assert made == photos[:-1]
    assert (folder / "t.csv").read_bytes() == folder.with_name("here.csv").read_bytes()
    assert sorted(folder.iterdir()) == [*photos[:-1], folder / "t.csv"]


# -- Ray -------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.ray
def test_workers_of_ray_answer_as_this_process(
    model_dir: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also photos that are named from here."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 3)
    monkeypatch.chdir(photos[0].parent.parent)
    near = [Path(os.path.relpath(path)) for path in photos]
    loaded = bundle.load(model_dir)
    try:
        found = plain(answers_on_engine(loaded, near, EngineConfig("ray")))
    finally:
        choice.close_engine()
    assert found == plain(answers(loaded, near))


@pytest.mark.long
@pytest.mark.ray
def test_twenty_killed_workers_and_a_removed_machine(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost or double, and all comes in its order."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    photos, marks = many(tmp_path, 90), tmp_path / "marks"
    marks.mkdir()
    kills, gated = frozenset(range(20)), frozenset(range(30, 45))
    mishaps = Mishaps(str(marks), kills, gated)
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 2)
    monkeypatch.setattr(prediction_tasks, "answer_photos", partial(with_mishaps, PLACE, mishaps))
    loaded = bundle.load(model_dir)
    with two_machines() as cluster, ThreadPoolExecutor(1) as pool:

        def remove_one() -> None:
            until(lambda: len(gated & marked(marks, "begun").keys()) == 2, "a machine has no work")
            remove_machine(cluster)
            (marks / "gate").touch()

        gone = pool.submit(remove_one)
        found = plain(answers_on_engine(loaded, photos, EngineConfig("ray", cluster.address)))
        gone.result()
    assert found == plain(answers(loaded, photos))
    assert marked(marks, "ended") == dict.fromkeys(range(45), 1)
    again = {number for number, times in marked(marks, "begun").items() if times > 1}
    assert kills <= again and len(again - kills) <= 1, "more than the machine had in hand"


@pytest.mark.long
@pytest.mark.ray
def test_a_killed_driver_costs_at_most_one_task_of_each_worker(
    model_dir: Path, tmp_path: Path
) -> None:
    """Of what others had ended, and the table had not yet, nothing is lost."""
    many(tmp_path, 60)
    marks, table = tmp_path / "marks", tmp_path / "t.csv"
    marks.mkdir()
    words = ["predict", "--quiet", "--model", str(model_dir), str(tmp_path / "photos"), "--csv"]
    with two_machines() as cluster:
        engine = [str(table), "--engine", "ray", "--set", f"engine.address={cluster.address}"]
        line = [sys.executable, "-c", DRIVER, str(marks), PLACE, *words, *engine]
        facts: dict[str, Any] = {"cwd": ROOT / "tests", "env": environment()}
        driver = subprocess.Popen(line, stdout=subprocess.DEVNULL, **facts)
        try:
            until(lambda: sum(n >= 10 for n in marked(marks, "begun")) == 2, "no task waits",
                  lambda: driver.poll() is None)  # fmt: skip
        finally:
            driver.kill()
            driver.wait()
        (marks / "gate").touch()
        again = subprocess.run(line, timeout=STUCK, capture_output=True, **facts)
    assert again.returncode == 0, again.stderr.decode()
    begun = marked(marks, "begun")
    assert begun.keys() == set(range(30))
    twice = {number for number, times in begun.items() if times > 1}
    assert twice <= {10, 11}, "finished tasks were done again"
    assert main([*words, str(tmp_path / "here.csv")]) == 0
    assert table.read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert {path.name for path in tmp_path.glob("t.csv*")} == {"t.csv"}


def many(tmp_path: Path, n: int) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir(exist_ok=True)
    for number in range(n):
        (folder / f"{number:03}.png").write_bytes(saved(drawn(64, 48, seed=number), "PNG"))
    return sorted(folder.iterdir())
