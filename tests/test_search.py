"""Listing a folder of photos: odd names, what is ignored and said, changes between two runs."""

from __future__ import annotations

import os
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bear_classifier.catalog import Catalog
from bear_classifier.collect.download import download
from bear_classifier.collect.search import Candidate, list_folder, search
from bear_classifier.config import build
from bear_classifier.errors import DataError
from bear_classifier.schema import GONE, OK, PENDING, Source
from bear_classifier.settings import Config

Fill = Callable[[Path, dict[str, int | bytes]], None]
LABELS = ["grizzly", "teddy"]


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(root: Path) -> list[tuple[str, str]]:
    """Path inside the folder, and label, of every candidate in the order of the listing."""
    candidates = list_folder(root, LABELS).candidates
    return [(str(Path(c.origin).relative_to(root)), c.label) for c in candidates]


def ignored(root: Path) -> dict[str, str]:
    listing = list_folder(root, LABELS)
    return {path.removeprefix(f"{root}/"): why for path, why in listing.ignored.items()}


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_folder(root, LABELS)
    return str(caught.value)


# what is a candidate


def test_stamp_is_size_and_time_of_change(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/a.png")
    path = tmp_path / "grizzly" / "a.png"
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    listing = list_folder(tmp_path, LABELS)
    assert listing.candidates == [Candidate(str(path), "grizzly", "1-1234567890123456789")]
    assert listing.ignored == {}


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/2019/june/a.png", "grizzly/b.png", "teddy/teddy/grizzly/c.png")
    assert found(tmp_path) == [
        ("grizzly/2019/june/a.png", "grizzly"),
        ("grizzly/b.png", "grizzly"),
        ("teddy/teddy/grizzly/c.png", "teddy"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "two words.jpg",
        "b\u00e4r.jpg",
        "ba\u0308r.jpg",
        "🐻.jpg",
        "two\nlines.jpg",
        "tab\t.jpg",
        "x" * 251 + ".jpg",
        "'quote\".jpg",
        "$(rm).jpg",
        "no suffix",
        "_DSC0123.JPG",
        "-rf.jpg",
        "file.jpg?w=300",
    ],
)
def test_odd_names_go_all_the_way(tmp_path: Path, fill: Fill, name: str) -> None:
    fill(tmp_path / "photos", {f"grizzly/{name}": 1, f"teddy/{name}": 2})
    config = project(tmp_path / "photos")
    with Catalog(tmp_path / "data") as catalog:
        assert search(catalog, config) == {"found": 2, "new": 2, "gone": 0, "ignored": {}}
        download(catalog, config)
        origins = [str(tmp_path / "photos" / label / name) for label in LABELS]
        assert [(s.origin, s.code) for s in catalog.sources()] == [(o, OK) for o in origins]
        assert search(catalog, config)["new"] == 0


def test_the_order_is_that_of_the_names_not_of_the_disk(tmp_path: Path) -> None:
    names = [f"{label}/{n:03}.png" for label in LABELS for n in range(50)]
    shuffled = random.Random(1).sample(names, len(names))
    touch(tmp_path, *shuffled)
    assert [name for name, _ in found(tmp_path)] == names


@pytest.mark.parametrize("name", ["Grizzly", "GRIZZLY"])
def test_folder_names_match_in_any_case(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/a.png")
    assert found(tmp_path) == [(f"{name}/a.png", "grizzly")]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_folder_names_match_however_accents_are_stored(tmp_path: Path, form: str) -> None:
    touch(tmp_path, unicodedata.normalize(form, "B\u00e4r/a.png"))
    (candidate,) = list_folder(tmp_path, ["b\u00e4r", "teddy"]).candidates
    assert candidate.label == "b\u00e4r"


# what is none, and is said


def test_hidden_things_are_ignored_and_said(tmp_path: Path) -> None:
    hidden = [".git", "_old", "grizzly/.thumbs", "grizzly/_out", "grizzly/x/_deep"]
    touch(tmp_path, *(f"{name}/a.png" for name in hidden), "grizzly/a.png", "_readme.txt")
    touch(tmp_path, "grizzly/.DS_Store", "grizzly/Thumbs.db", "grizzly/desktop.ini")
    assert found(tmp_path) == [("grizzly/a.png", "grizzly")]
    files = ["grizzly/.DS_Store", "grizzly/Thumbs.db", "grizzly/desktop.ini"]
    assert ignored(tmp_path) == {
        **dict.fromkeys([*hidden, *files], "hidden"),
        "_readme.txt": "not in a class folder",
    }


def test_files_of_the_root_and_unknown_classes_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/a.png", "b.png", "polar/c.png")
    assert found(tmp_path) == [("grizzly/a.png", "grizzly")]
    assert ignored(tmp_path) == {
        "b.png": "not in a class folder",
        "polar": "not a class of this project",
    }


def test_things_that_are_no_files_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/a.png")
    os.mkfifo(tmp_path / "grizzly" / "pipe.png")
    (tmp_path / "grizzly" / "broken.png").symlink_to("nowhere")
    assert found(tmp_path) == [("grizzly/a.png", "grizzly")]
    assert ignored(tmp_path) == {
        "grizzly/pipe.png": "not a file",
        "grizzly/broken.png": "not a file",
    }


def test_names_that_are_not_unicode_are_said(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "photos", {"grizzly/a.png": 1})
    for name in (b"grizzly/b\xe4r.png", b"b\xe4ren"):
        Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/" + name)).write_bytes(b"x")
    with Catalog(tmp_path / "data") as catalog:
        outcome = search(catalog, project(tmp_path / "photos"))
    assert outcome["found"] == 1
    assert outcome["ignored"] == {
        f"{tmp_path}/photos/grizzly/b?r.png": "its name is not valid Unicode; rename it",
        f"{tmp_path}/photos/b?ren": "not in a class folder",
    }


def test_links_to_folders_are_not_followed_but_said(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/a.png", "grizzly/in/b.png")
    (tmp_path / "grizzly" / "in" / "loop").symlink_to(tmp_path / "grizzly")
    (tmp_path / "grizzly" / "self").symlink_to("self")
    (tmp_path / "teddy").symlink_to("teddy")
    assert found(tmp_path) == [("grizzly/a.png", "grizzly"), ("grizzly/in/b.png", "grizzly")]
    assert ignored(tmp_path) == {
        "grizzly/in/loop": "a link to a folder",
        "grizzly/self": "not a file",
        "teddy": "not in a class folder",
    }


def test_links_to_photos_and_to_class_folders_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.png")
    root = tmp_path / "photos"
    touch(root, "teddy/b.png")
    (root / "grizzly").symlink_to(tmp_path / "elsewhere")
    (root / "teddy" / "c.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    names = ["grizzly/a.png", "teddy/b.png", "teddy/c.png"]
    assert [name for name, _ in found(root)] == names


# what is refused


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "Grizzly/a.png", "grizzly/b.png")
    assert (
        refusal(tmp_path)
        == f"CLASS_CLASH: {tmp_path}/Grizzly and {tmp_path}/grizzly are both class 'grizzly'; "
        "join them"
    )


def test_no_class_folder_lists_what_there_is(tmp_path: Path) -> None:
    touch(tmp_path, "polar/a.png", "panda/b.png", ".git/c.png", "d.png")
    assert (
        refusal(tmp_path)
        == f"NO_CLASS_FOLDERS: {tmp_path}: its folders are panda, polar; expected one folder per "
        "class (grizzly, teddy); for other classes make a project: "
        'bears new NAME --class "first" --class "second"'
    )


def test_no_folder_at_all(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    assert refusal(tmp_path).startswith(
        f"NO_CLASS_FOLDERS: {tmp_path}: it has no folders; expected"
    )
    missing = tmp_path / "missing"
    assert refusal(missing).startswith(f"NO_FOLDER: {missing} is not a folder; expected")
    assert refusal(tmp_path / "a.png").startswith(f"NO_FOLDER: {tmp_path}/a.png is not a folder")


# between two runs


def project(photos: Path) -> Config:
    classes = {label: [label] for label in LABELS}
    return build({"classes": classes, "search": {"source": f"folder:{photos}"}}, where="test")


@pytest.fixture
def photos(tmp_path: Path, fill: Fill) -> Path:
    fill(tmp_path / "photos", {"grizzly/a.png": 1, "grizzly/b.png": 2, "teddy/c.png": 3})
    return tmp_path / "photos"


@pytest.fixture
def catalog(tmp_path: Path, photos: Path) -> Iterator[Catalog]:
    """All photos searched and downloaded once."""
    with Catalog(tmp_path / "data") as made:
        search(made, project(photos))
        download(made, project(photos))
        yield made


def test_nothing_new_the_second_time(catalog: Catalog, photos: Path) -> None:
    before = catalog.sources()
    outcome = search(catalog, project(photos))
    assert outcome == {"found": 3, "new": 0, "gone": 0, "ignored": {}}
    assert catalog.sources() == before


def test_changed_file_is_read_again_and_the_old_photo_kept(
    catalog: Catalog, photos: Path, fill: Fill
) -> None:
    before = {photo.sha256 for photo in catalog.photos()}
    fill(photos, {"grizzly/a.png": 9})
    assert search(catalog, project(photos))["new"] == 1
    (pending,) = catalog.sources(PENDING)
    assert (pending.origin, pending.sha256) == (str(photos / "grizzly" / "a.png"), None)
    assert download(catalog, project(photos))["fetched"] == 1
    assert {photo.sha256 for photo in catalog.photos()} > before
    assert len(catalog.photos("ok")) == 4


def test_file_that_broke_keeps_its_photo(catalog: Catalog, photos: Path, fill: Fill) -> None:
    before = catalog.photos()
    fill(photos, {"grizzly/a.png": b"<html>"})
    search(catalog, project(photos))
    assert download(catalog, project(photos))["failed"] == {"NOT_AN_IMAGE": 1}
    assert catalog.photos() == before


def test_vanished_file_is_gone_and_its_photo_kept(catalog: Catalog, photos: Path) -> None:
    before = catalog.photos()
    (photos / "grizzly" / "a.png").unlink()
    assert search(catalog, project(photos))["gone"] == 1
    download(catalog, project(photos))
    (gone,) = catalog.sources(GONE)
    assert gone.sentence == "no longer in the folder"
    assert gone.sha256 in {photo.sha256 for photo in before}
    assert catalog.photos() == before
    assert search(catalog, project(photos))["gone"] == 0


def test_file_that_comes_back_is_read_again(catalog: Catalog, photos: Path, fill: Fill) -> None:
    before = catalog.sources()
    (photos / "grizzly" / "a.png").rename(photos / "a.png")
    search(catalog, project(photos))
    (photos / "a.png").rename(photos / "grizzly" / "a.png")
    assert search(catalog, project(photos))["new"] == 1
    download(catalog, project(photos))
    assert catalog.sources() == before


def test_files_gone_behind_a_linked_class_folder_are_noticed(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, {"elsewhere/a.png": 1, "photos/teddy/b.png": 2})
    (tmp_path / "photos" / "grizzly").symlink_to(tmp_path / "elsewhere")
    config = project(tmp_path / "photos")
    with Catalog(tmp_path / "data") as catalog:
        search(catalog, config)
        (tmp_path / "elsewhere" / "a.png").unlink()
        assert search(catalog, config)["gone"] == 1


def test_another_folder_adds_and_takes_nothing_away(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    fill(tmp_path / "photos2", {"teddy/d.png": 4})  # a name that begins like that of the first
    outcome = search(catalog, project(tmp_path / "photos2"))
    assert outcome == {"found": 1, "new": 1, "gone": 0, "ignored": {}}
    assert len(catalog.sources()) == 4
    assert search(catalog, project(tmp_path / "photos"))["gone"] == 0


def test_a_relative_folder_is_the_same_folder(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert search(catalog, project(Path("photos")))["new"] == 0
    monkeypatch.chdir(photos)
    assert search(catalog, project(Path("../photos/.")))["new"] == 0


def test_without_a_source_what_is_there_goes_on(catalog: Catalog) -> None:
    config = build({"classes": {label: [label] for label in LABELS}}, where="test")
    assert search(catalog, config) == {"found": 0, "new": 0, "gone": 0, "ignored": {}}


@pytest.mark.parametrize("source", ["", "folder:", "folder", "web", "/photos"])
def test_no_such_source(tmp_path: Path, source: str) -> None:
    classes = {label: [label] for label in LABELS}
    config = build({"classes": classes, "search": {"source": source}}, where="test")
    with Catalog(tmp_path) as catalog, pytest.raises(DataError) as caught:
        search(catalog, config)
    assert str(caught.value).startswith(
        f'NO_SOURCE: {source!r} is no source of photos; pass --source with "folder:PATH"'
    )


def test_photos_refuse_drawings_before_anything_is_drawn(catalog: Catalog) -> None:
    classes = {label: [label] for label in LABELS}
    starter = build({"classes": classes, "search": {"source": "starter"}}, where="test")
    with pytest.raises(DataError, match=r"^MIXED_SOURCES: .*data holds photos; drawings and"):
        search(catalog, starter)
    assert not (catalog.root / "starter").exists()


def test_drawings_refuse_photos(tmp_path: Path, photos: Path) -> None:
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            catalog.put_sources([Source("/x", "teddy", "starter")])
        with pytest.raises(DataError, match=r"^MIXED_SOURCES: .*data holds drawn starter pictures"):
            search(catalog, project(photos))
        assert len(catalog.sources()) == 1
