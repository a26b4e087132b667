"""A folder of photos that is moved, copied, linked or edited between two runs."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bear_classifier.cli import main
from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.config.project_file import as_toml, build
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import CONFLICT, DUPLICATE, GONE, OK

Fill = Callable[[Path, dict[str, "int | bytes"]], None]
LABELS = ["grizzly", "teddy"]


class Moving:
    """A dataset whose photos are read from whatever folder is named."""

    def __init__(self, root: Path, fill: Fill) -> None:
        self.root, self.catalog = root, Catalog(root / "data" / "bears")
        names = [f"{label}/{n}.png" for label in LABELS for n in range(4)]
        fill(root / "old", {name: n for n, name in enumerate(names)})
        self.run("old")

    def config(self, folder: str) -> Config:
        classes = {label: [label] for label in LABELS}
        source = {"source": f"folder:{self.root / folder}"}
        return build({"name": "bears", "classes": classes, "search": source}, where="test")

    def run(self, folder: str) -> dict[str, object]:
        config = self.config(folder)
        return search(self.catalog, config) | download(self.catalog, config)

    def codes(self, folder: str) -> Counter[str]:
        inside = f"{self.root / folder}/"
        return Counter(s.code for s in self.catalog.sources() if s.origin.startswith(inside))

    def photos(self) -> Counter[tuple[str, str]]:
        return Counter((photo.label, photo.status) for photo in self.catalog.photos())


@pytest.fixture
def moving(tmp_path: Path, fill: Fill) -> Iterator[Moving]:
    made = Moving(tmp_path, fill)
    yield made
    made.catalog.close()


def refile(folder: Path) -> None:
    """One into its right class, one deleted."""
    (folder / "grizzly" / "3.png").rename(folder / "teddy" / "was3.png")
    (folder / "grizzly" / "2.png").unlink()


RIGHT = Counter({("grizzly", "ok"): 3, ("teddy", "ok"): 5})


@pytest.mark.parametrize("new", ["new", "old2", "deep/er/photos"])
def test_after_a_move_of_the_folder_a_refiled_photo_is_relabelled(moving: Moving, new: str) -> None:
    (moving.root / new).parent.mkdir(parents=True, exist_ok=True)
    (moving.root / "old").rename(moving.root / new)
    refile(moving.root / new)
    moving.run(new)
    assert moving.photos() == RIGHT
    assert moving.codes("old") == {GONE: 8}
    assert moving.codes(new) == {OK: 7}
    (event,) = moving.catalog.events()
    assert (event.who, event.old, event.new) == ("folder", "grizzly", "teddy")


def test_after_a_copy_of_the_folder_the_copy_counts(moving: Moving) -> None:
    shutil.copytree(moving.root / "old", moving.root / "new")
    refile(moving.root / "new")
    moving.run("new")
    assert moving.photos() == RIGHT
    assert moving.codes("old") == {GONE: 8}
    assert moving.codes("new") == {OK: 7}


def test_a_link_that_stays_at_the_old_place_makes_no_duplicates(moving: Moving) -> None:
    (moving.root / "old").rename(moving.root / "new")
    (moving.root / "old").symlink_to(moving.root / "new")
    refile(moving.root / "new")
    moving.run("new")
    assert moving.photos() == RIGHT
    assert moving.codes("new") == {OK: 7}
    assert moving.run("old")["new"] == 0  # it is the same folder


def test_a_link_to_the_folder_that_moved_on(moving: Moving, fill: Fill) -> None:
    (moving.root / "link").symlink_to("old")
    assert moving.run("link")["new"] == 0
    shutil.move(moving.root / "old", moving.root / "new")
    (moving.root / "link").unlink()
    (moving.root / "link").symlink_to("new")
    refile(moving.root / "new")
    moving.run("link")
    assert moving.photos() == RIGHT
    assert moving.codes("old") == {GONE: 8}


def test_a_class_folder_reached_by_a_link_is_the_same(moving: Moving) -> None:
    (moving.root / "linked").mkdir()
    for label in LABELS:
        (moving.root / "linked" / label).symlink_to(moving.root / "old" / label)
    moving.run("linked")
    assert moving.codes("linked") == {OK: 8}
    assert moving.codes("old") == {GONE: 8}
    assert DUPLICATE not in Counter(s.code for s in moving.catalog.sources())


def test_one_folder_is_removed_while_another_is_added(moving: Moving, fill: Fill) -> None:
    fill(moving.root / "other", {"grizzly/a.png": 90, "teddy/moved.png": 1})
    shutil.rmtree(moving.root / "old")
    moving.run("other")
    assert moving.codes("old") == {GONE: 8}
    assert moving.photos() == {("grizzly", "ok"): 4, ("teddy", "ok"): 5}


def test_two_folders_stand_side_by_side(moving: Moving, fill: Fill) -> None:
    """Names of cameras are the same everywhere, and so may sizes be: content decides."""
    for n, name in enumerate(f"{label}/{n}.png" for label in LABELS for n in range(4)):
        fill(moving.root, {f"b/{name}": 50 + n})
        paths = [moving.root / folder / name for folder in ("old", "b")]
        size = max(path.stat().st_size for path in paths)
        for path in paths:
            path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    moving.run("old")
    outcome = moving.run("b")
    assert outcome["gone"] == 0
    assert moving.codes("old") == moving.codes("b") == {OK: 8}


@pytest.mark.parametrize("where", ["old", "b"])
def test_a_file_that_stands_under_two_classes_stays_a_conflict(
    moving: Moving, fill: Fill, where: str
) -> None:
    fill(moving.root / where, {"teddy/again.png": 0, "teddy/other.png": 70})
    moving.run(where)
    assert moving.photos()["grizzly", "unusable"] == 1
    assert CONFLICT in moving.codes(where)
    assert GONE not in moving.codes("old")
    assert moving.run("old")["label_conflicts"] == 1  # nor does it end by looking again


def test_a_folder_that_nobody_may_open_is_not_gone(
    moving: Moving, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(moving.root / "b", {"grizzly/a.png": 90})
    real = Path.is_file

    def refuse(path: Path, **options: bool) -> bool:
        if f"{os.sep}old{os.sep}" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "is_file", refuse)
    moving.run("b")
    assert moving.codes("old") == {OK: 8}


# files that were replaced or deleted


def test_a_replaced_file_is_said(moving: Moving, fill: Fill) -> None:
    assert moving.run("old")["replaced"] == 0
    fill(moving.root / "old", {"grizzly/0.png": 80})
    assert moving.run("old")["replaced"] == 1
    fill(moving.root / "old", {"grizzly/0.png": 0})
    assert moving.run("old")["replaced"] == 1  # now it is the other one


def test_clean_gone_drops_what_stands_in_no_file_and_undo_brings_it_back(
    moving: Moving,
    fill: Fill,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bears.toml").write_text(as_toml(moving.config("old")), encoding="utf-8")
    assert main.main(["clean", "--gone"]) == 0
    assert capsys.readouterr().out == "nothing to do\n"
    fill(moving.root / "old", {"grizzly/0.png": 80})
    (moving.root / "old" / "teddy" / "1.png").unlink()
    moving.run("old")
    assert main.main(["clean", "--gone"]) == 0
    assert "2 drop; to take it all back, run: bears undo" in capsys.readouterr().out
    kept = {("grizzly", "ok"): 4, ("teddy", "ok"): 3}
    assert moving.photos() == kept | {(label, "dropped"): 1 for label in LABELS}
    assert moving.run("old")["replaced"] == 0
    assert main.main(["undo"]) == 0
    assert moving.photos() == {("grizzly", "ok"): 5, ("teddy", "ok"): 4}
