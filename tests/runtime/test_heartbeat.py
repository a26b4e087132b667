"""Nothing is silent for long on a terminal: bars that are open go on, else a clock counts."""

import importlib
import io
import threading
from contextlib import redirect_stderr

import pytest
from waiting import until

from bear_classifier.cli.main import main
from bear_classifier.config.settings import SHIPPED
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.runtime.heartbeat import TerminalClock, heartbeat
from bear_classifier.runtime.terminal import progress_bar


class Screen(io.StringIO):
    """A terminal as far as those who write to it can tell."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """What each test redirects standard error to: pytest puts its own back after a fixture."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return Screen()


def drawn(screen: Screen) -> str:
    """What was written since the last look."""
    text = screen.getvalue()
    screen.seek(0)
    screen.truncate()
    return text


def beats() -> bool:
    return any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_without_a_bar_a_clock_counts(screen: Screen) -> None:
    clock = TerminalClock("export")
    with redirect_stderr(screen):
        for _ in range(2):
            clock.beat()
            assert "export: 00:0" in drawn(screen)
        clock.close()
        assert "export" not in drawn(screen)  # it wipes its line


def test_an_open_bar_goes_on_between_its_steps_and_no_clock_stands_beside_it(
    screen: Screen,
) -> None:
    clock = TerminalClock("export")
    with redirect_stderr(screen):
        clock.beat()
        with progress_bar(total=3, desc="checking") as bar:
            clock.beat()
            drawn(screen)
            for _ in range(2):
                clock.beat()
                assert "checking:   0%" in (text := drawn(screen))
                assert "export" not in text
            assert bar.n == 0
        drawn(screen)
        clock.beat()
        assert "export: 00:0" in drawn(screen)
        clock.close()


def test_it_beats_by_itself_until_the_work_ends(screen: Screen) -> None:
    with redirect_stderr(screen), pytest.raises(DataError), heartbeat("export", beat=0.001):
        until(lambda: "export: 00:0" in screen.getvalue())
        raise DataError("ENDED", "as work may")
    assert not beats()
    drawn(screen)
    assert drawn(screen) == ""


def test_nothing_is_drawn_where_nobody_looks(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redirect_stderr(io.StringIO()), heartbeat("export", beat=0.001):  # a file or a pipe
        assert not beats()
    monkeypatch.setenv("TQDM_DISABLE", "1")  # --quiet, --json
    with redirect_stderr(screen), heartbeat("export", beat=0.001):
        assert not beats()


LONG = {  # command: what takes long in it
    "search": "collect.search.search",
    "run --until split": "collect.search.search",
    "clean --list": "judge.clean.open_suspects",
    "clean --auto": "judge.clean.open_suspects",
    "clean --effect": "judge.cleaning_effect.effect",
    "dataset export out": "dataset.formats.export.export_dataset",
    "attribution": "collect.rights.attribution.attribution",
    "features": "learn.features.plan_features",
    "features --shard 1/2": "learn.features.planned_features",
    "curve": "experiments.curve.runs.growth",
    "lr": "experiments.lr.study.find_rates",
    "compare method": "experiments.compare.study.compare_recipes",
    "report": "report.build.make_report",
    "lesson sgd": "lesson.contents.page",
    "lesson features": "lesson.contents.page",
    "review --port 0": "review.app.make_app",
    f"evaluate --model {SHIPPED} --photos .": "ship.bundle.load",
    f"predict --model {SHIPPED} x.jpg": "ship.bundle.load",
    f"push {SHIPPED} x --dry-run": "ship.bundle.load",
    f"serve {SHIPPED} --port 0": "serve.queue.Service.check",
}


@pytest.mark.parametrize("words", LONG)
def test_long_work_beats(words, tmp_path, monkeypatch, screen) -> None:
    """The work itself is left out: whether it would be seen is asked in its place."""
    path, _, name = LONG[words].rpartition(".")
    where = "bear_classifier." + path.removesuffix(".Service")
    place = importlib.import_module(where)
    place = place.Service if path.endswith(".Service") else place
    seen = []

    def work(*_: object, **__: object) -> None:
        seen.append(beats())
        raise DataError("SEEN", "it was asked")

    monkeypatch.setattr(place, name, work)
    monkeypatch.chdir(tmp_path)
    Catalog(tmp_path / "data" / "starter").close()
    with redirect_stderr(screen):
        assert main([*words.split(), "--project", "starter"]) == 2
    assert seen == [True]
    assert not beats()


def test_covering_places_has_a_bar(screen: Screen) -> None:
    """Some thousand passes, of which each photo is a step."""
    import numpy as np
    import torch

    from bear_classifier.lesson.photos.saliency import Predicted, occlude

    x = torch.zeros(2, 3, 8, 8)
    asked = Predicted(
        np.array([0, 1]), np.zeros((2, 2)), np.random.default_rng(0).random((2, 2, 4, 4))
    )
    with redirect_stderr(screen):
        occlude(lambda pictures: torch.zeros(len(pictures), 2), x, asked)
    assert "covering:   0%|          | 0/2 [" in screen.getvalue()
