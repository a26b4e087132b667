"""Classes that are made while photos are looked at: written into the project file, and undone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deciding import ASIDE, UNKNOWN, on, refused, sha, state, table

from bear_classifier.config.project_file import class_names, create, read_project
from bear_classifier.dataset import new_classes
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, history, undo
from bear_classifier.dataset.schema import NewClass, Photo
from bear_classifier.errors import ConfigError, DataError

Make = Callable[..., Photo]


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        with made.transaction():
            made.put_photos([make(1), make(2, **ASIDE), make(5, **UNKNOWN)])
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = create("mine", {"black": ["black bear"], "grizzly": ["grizzly"]}, tmp_path, "test")
    text = made.read_text(encoding="utf-8").replace("grizzly = ", "# brown ones\ngrizzly = ")
    made.write_text(text, encoding="utf-8")
    return made


def labels(file: Path) -> list[str]:
    return class_names(file.read_text(encoding="utf-8"))


def test_a_class_is_one_line_more_and_undo_takes_that_line_back(
    catalog: Catalog, file: Path
) -> None:
    before = file.read_bytes()
    made = new_classes.make_class(catalog, file, "polar bear", " ann\n", "r")
    assert (made.label, made.who, made.undone) == ("polar bear", "ann", 0)
    assert read_project(file).classes["polar bear"] == ["polar bear"]
    assert labels(file) == ["black", "grizzly", "polar bear"]
    lines = file.read_bytes().splitlines(keepends=True)
    lines.remove(b'"polar bear" = ["polar bear"]\n')
    assert b"".join(lines) == before
    assert new_classes.make_class(catalog, file, "polar bear", "ann", "r") == made  # sent twice
    taken = new_classes.take_back(catalog, file, "ann")
    assert isinstance(taken, NewClass) and taken.label == "polar bear"
    assert file.read_bytes() == before
    with pytest.raises(DataError, match="NOTHING_TO_UNDO"):
        new_classes.take_back(catalog, file, "ann")


def test_it_is_undone_after_the_decisions_that_use_it_and_before_older_ones(
    catalog: Catalog, file: Path
) -> None:
    before = file.read_bytes(), table(catalog)
    decide(catalog, labels(file), [on(1, "relabel", "black")], "ann", "first")
    new_classes.make_class(catalog, file, "polar", "ann", "second")
    decide(catalog, labels(file), [on(5, "relabel", "polar")], "ann", "third")
    assert state(catalog, 5) == ("polar", "ok", "")
    kinds = [type(new_classes.take_back(catalog, file, "ann")) for _ in range(3)]
    assert kinds == [list, NewClass, list]
    assert (file.read_bytes(), table(catalog)) == before


def test_a_class_in_use_stays(catalog: Catalog, file: Path, make: Make) -> None:
    new_classes.make_class(catalog, file, "polar", "ann", "r")
    with catalog.transaction():
        catalog.put_photos([make(9, label="polar")])  # as a folder of that name brings it
    with refused(catalog, "CANNOT_UNDO", "1 photo of class 'polar'"):
        new_classes.take_back(catalog, file, "ann")
    assert "polar" in labels(file)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "cannot be a folder name"),
        ("../x", "cannot be a folder name"),
        (".hidden", "cannot be a folder name"),
        ("con", "cannot be a folder name"),
        ("x" * 101, "cannot be a folder name"),
        ("a\u202eb", "cannot be a folder name"),
        ("black", "is there already"),
        ("Black", "differ only in case"),
    ],
)
def test_names_are_checked_as_in_the_project_file(
    catalog: Catalog, file: Path, name: str, words: str
) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=words) as caught:
        new_classes.make_class(catalog, file, name, "ann", "r")
    assert caught.value.code == "BAD_CLASS"
    assert (file.read_bytes(), catalog.new_classes()) == (before, [])


def test_the_starter_has_fixed_classes(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="CANNOT_EDIT"):
        new_classes.make_class(catalog, None, "polar", "ann", "r")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff[classes]\r\na = ['a']\r\nb = [\r\n  'b', # one\r\n]\r\n\r\n# end\r\n",
        "name = 'x'\n[classes]\na = ['a']\n# c = ['c']\nb = ['b']\n[train]\nepochs = 3\n",
    ],
)
def test_everything_else_in_the_file_stays(catalog: Catalog, tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.toml"
    file.write_bytes(text.encode())
    new_classes.make_class(catalog, file, "polar", "ann", "r")
    assert labels_of(file) == ["a", "b", "polar"]
    new_classes.take_back(catalog, file, "ann")
    assert file.read_bytes() == text.encode()


def labels_of(file: Path) -> list[str]:
    return class_names(file.read_text(encoding="utf-8-sig"))


def test_where_a_line_cannot_be_added_it_is_said(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "inline.toml"
    file.write_text("classes = {a = ['a'], b = ['b']}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"add this line to \[classes\] by hand: polar = "):
        new_classes.make_class(catalog, file, "polar", "ann", "r")


@pytest.mark.series
@pytest.mark.parametrize(
    ("seed", "steps"),
    [
        *((seed, 100) for seed in range(12)),
        *(pytest.param(seed, 850, marks=pytest.mark.long) for seed in range(12, 24)),
    ],
)
def test_random_steps_with_first_labels_and_new_classes_can_all_be_taken_back(
    tmp_path: Path, make: Make, file: Path, seed: int, steps: int
) -> None:
    """Confirm, relabel, drop, restore, keep, make classes; take back a part meanwhile, then all.
    The long ones are more than ten thousand steps together."""
    dice, count = random.Random(seed), Counter[str]()
    with Catalog(tmp_path / "random") as catalog:
        catalog._db.execute("PRAGMA synchronous = OFF")
        with catalog.transaction():
            catalog.put_photos(make(n, **(UNKNOWN if n % 2 else {})) for n in range(20))
        hashes = [photo.sha256 for photo in catalog.photos()]
        first = table(catalog), file.read_bytes()
        for step in range(steps):
            kind = dice.random()
            try:
                if kind < 0.05:
                    new_classes.make_class(catalog, file, f"class {step}", "ann", f"c{step}")
                    count["class"] += 1
                elif kind < 0.3:
                    taken = new_classes.take_back(catalog, file, "bob")
                    count[type(taken).__name__] += 1
                elif kind < 0.4 and (events := history(catalog, limit=30)):
                    undo(catalog, "bob", dice.choice(events).id)
                else:
                    number = dice.randrange(20)
                    actions = ["relabel", "relabel", "drop", "restore", "keep"]
                    action, label = dice.choice(actions), dice.choice(labels(file))
                    wanted = [on(number, action, label)]  # type: ignore[arg-type]
                    (event,) = decide(catalog, labels(file), wanted, "ann", f"{step}")
                    count[event.action] += 1
            except DataError as exc:
                assert exc.code in (*("NO_LABEL", "NOT_DROPPED", "CANNOT_UNDO", "NOTHING_TO_UNDO"),)
            if step % 10 == 0:
                assert [photo.sha256 for photo in catalog.photos()] == hashes
                for photo in catalog.photos():
                    assert bool(photo.label) or photo.status in ("unlabelled", "dropped")
        with pytest.raises(DataError, match="NOTHING_TO_UNDO"):
            while True:
                taken = new_classes.take_back(catalog, file, "bob")
                count[type(taken).__name__] += 1
        assert all(count[word] for word in ("class", "confirm", "relabel", "drop", "NewClass"))
        assert (table(catalog), file.read_bytes()) == first
        assert sha(1) in hashes
