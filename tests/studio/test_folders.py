"""Projects are renamed, deleted and restored: each as a whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bear_classifier.config.project_file import create
from bear_classifier.dataset.lock import hold
from bear_classifier.errors import BearsError, ConfigError, DataError
from bear_classifier.studio import folders
from bear_classifier.studio.projects import Place, place_of


def project(root: Path, name: str, nested: bool = True) -> Place:
    home = root / name if nested else root
    home.mkdir(parents=True, exist_ok=True)
    create(name, {"red": ["red"], "blue": ["blue"]}, home, "test")
    place = place_of(root, name)
    for folder in (place.data, place.model, place.own):
        folder.mkdir(parents=True)
        (folder / "kept").write_text(folder.parent.name, encoding="utf-8")
    return place


def whole(place: Place) -> bool:
    """Whether a project has all its parts under its name."""
    return (
        place.config.name == place.name
        and (place.data / "kept").read_text(encoding="utf-8") == "data"
        and (place.model / "kept").read_text(encoding="utf-8") == "models"
        and (place.own / "kept").is_file()
    )


def tree(root: Path) -> dict[str, bytes]:
    """Every file; locks and notes of them do not count."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in ("lock", "lock.json")
    }


@pytest.mark.parametrize("nested", [True, False])
def test_a_project_gets_another_name(tmp_path: Path, nested: bool) -> None:
    before = project(tmp_path, "old", nested)
    text = before.file.read_text(encoding="utf-8")
    after = folders.rename_project(before, "new")
    assert whole(after) and after.is_nested is nested
    assert after.file.read_text(encoding="utf-8") == text.replace('name = "old"', 'name = "new"')
    assert not [path for path in tree(tmp_path) if "old" in path]


def test_a_project_without_photos_gets_another_name(tmp_path: Path) -> None:
    before = project(tmp_path, "old")
    shutil.rmtree(before.home / "data")
    shutil.rmtree(before.home / "models")
    shutil.rmtree(before.own)
    assert folders.rename_project(before, "new").config.name == "new"


@pytest.mark.parametrize(
    ("new", "code"), [("other", "EXISTS"), ("../up", "BAD_NAME"), ("", "BAD_NAME"), ("a b", "BAD")]
)
def test_a_name_that_cannot_be(tmp_path: Path, new: str, code: str) -> None:
    before = project(tmp_path, "old")
    project(tmp_path, "other")
    files = tree(tmp_path)
    with pytest.raises(ConfigError, match=code):
        folders.rename_project(before, new)
    assert tree(tmp_path) == files


@pytest.mark.parametrize("do", [lambda p: folders.rename_project(p, "new"), folders.delete_project])
def test_nothing_moves_while_another_program_works_on_it(tmp_path: Path, do) -> None:  # type: ignore[no-untyped-def]
    place = project(tmp_path, "old")
    with hold(place.data, "run"):
        files = tree(tmp_path)
        with pytest.raises(DataError, match="LOCKED"):
            do(place)
        assert tree(tmp_path) == files


def new_name(place: Place) -> object:
    return folders.rename_project(place, "new")


@pytest.mark.parametrize("do", [new_name, folders.delete_project])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_move_that_fails_takes_the_others_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    do: Callable[[Place], object],
    nested: bool,
    failing: int,
) -> None:
    place = project(tmp_path, "old", nested)
    files, real, moved = tree(tmp_path), folders.replace, []

    def replace(source: Path, target: Path) -> None:
        if len(moved) == failing:
            raise PermissionError(13, "no", str(target))
        moved.append(target)
        real(source, target)

    monkeypatch.setattr(folders, "replace", replace)
    if do is folders.delete_project and nested:
        failing = 0  # there is only one move
    with pytest.raises(BearsError):
        do(place)
    assert tree(tmp_path) == files
    assert not (tmp_path / ".bin").exists() or not list((tmp_path / ".bin").iterdir())
    folders.finish_moves(tmp_path)
    assert tree(tmp_path) == files


@pytest.mark.parametrize("do", [new_name, folders.delete_project])
def test_what_cannot_be_moved_back_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, do: Callable[[Place], object]
) -> None:
    """As in Windows, where a program has opened a file meanwhile."""
    place = project(tmp_path, "old", nested=False)
    real, moved = folders.replace, []

    def replace(source: Path, target: Path) -> None:
        if moved:
            raise PermissionError(13, "no", str(target))
        moved.append(target)
        real(source, target)

    def stuck(source: Path, target: Path) -> None:
        raise PermissionError(13, "no", str(source))

    with monkeypatch.context() as patched:
        patched.setattr(folders, "replace", replace)
        patched.setattr(folders, "_back", stuck)
        with pytest.raises(BearsError):
            do(place)
    folders.finish_moves(tmp_path)
    if do is folders.delete_project:
        (one,) = folders.deleted_projects(tmp_path)
        assert folders.restore_project(tmp_path, one.id) == "old"
    assert whole(place_of(tmp_path, "old" if do is folders.delete_project else "new"))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("at", range(5))
def test_a_deletion_that_was_cut_off_is_finished(tmp_path: Path, nested: bool, at: int) -> None:
    """As in `test_a_rename_that_was_cut_off_is_finished`."""
    place = project(tmp_path, "old", nested)
    moves = folders._moves_to_bin(place, "old-1")
    folder = tmp_path / ".bin" / "old-1"
    folder.mkdir(parents=True)
    about = {"title": "old", "deleted": "2026-01-01T00:00:00+00:00"}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    (tmp_path / ".delete-old.json").write_text(json.dumps({"moves": moves}), encoding="utf-8")
    for source, target in moves[:at]:
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / source).replace(tmp_path / target)
    folders.finish_moves(tmp_path)
    assert [one.id for one in folders.deleted_projects(tmp_path)] == ["old-1"]
    assert not (tmp_path / ".delete-old.json").exists()
    folders.restore_project(tmp_path, "old-1")
    assert whole(place_of(tmp_path, "old"))


def test_a_folder_in_the_way_of_a_project_of_the_bin_is_named(tmp_path: Path) -> None:
    number = folders.delete_project(project(tmp_path, "old"))
    (tmp_path / "old").mkdir()
    with pytest.raises(ConfigError, match="EXISTS.*move what is there away"):
        folders.restore_project(tmp_path, number)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("at", range(6))
def test_a_rename_that_was_cut_off_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool, at: int
) -> None:
    """The journal as it stands after any number of moves; nothing cleans up after a kill."""
    place = project(tmp_path, "old", nested)
    moves = folders._moves(place, "new")
    noted = {"from": "old", "to": "new", "moves": moves}
    (tmp_path / ".rename-old.json").write_text(json.dumps(noted), encoding="utf-8")
    for source, target in moves[:at]:
        (tmp_path / source).replace(tmp_path / target)
    if at == 5:
        home = tmp_path / "new" if nested else tmp_path
        toml = home / "new.toml"
        toml.write_text(
            toml.read_text(encoding="utf-8").replace('name = "old"', 'name = "new"'),
            encoding="utf-8",
        )
    folders.finish_moves(tmp_path)
    assert whole(place_of(tmp_path, "new"))
    assert not [path for path in tree(tmp_path) if "old" in path]


@pytest.mark.parametrize("nested", [True, False])
def test_what_is_deleted_can_be_restored(tmp_path: Path, nested: bool) -> None:
    place = project(tmp_path, "old", nested)
    number = folders.delete_project(place)
    with pytest.raises(ConfigError, match="NO_PROJECT"):
        place_of(tmp_path, "old")
    (one,) = folders.deleted_projects(tmp_path)
    assert (one.id, one.title) == (number, "old")
    assert folders.restore_project(tmp_path, number) == "old"
    assert whole(place_of(tmp_path, "old")) and folders.deleted_projects(tmp_path) == []


def test_a_name_that_is_taken_by_now(tmp_path: Path) -> None:
    number = folders.delete_project(project(tmp_path, "old"))
    newer = project(tmp_path, "old")
    with pytest.raises(ConfigError, match="EXISTS"):
        folders.restore_project(tmp_path, number)
    assert whole(newer) and len(folders.deleted_projects(tmp_path)) == 1
    second = folders.delete_project(newer)
    assert [one.id for one in folders.deleted_projects(tmp_path)] == [second, number]


@pytest.mark.parametrize("number", ["../old", "", "nothing", "/"])
def test_what_is_not_in_the_bin(tmp_path: Path, number: str) -> None:
    project(tmp_path, "old")
    with pytest.raises(ConfigError, match="NO_PROJECT"):
        folders.restore_project(tmp_path, number)
