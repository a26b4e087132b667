"""The project file: what is refused and in which words, overrides, and writing it."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT

from bear_classifier.config.project_file import STARTER, TABLES, as_toml, build, read_project
from bear_classifier.config.settings import Config
from bear_classifier.errors import BearsError, ConfigError

TWO = {"grizzly": ["grizzly bear"], "teddy": ["teddy bear"]}


def built(**tables: Any) -> Config:
    return build({"classes": TWO, **tables}, where="test")


def refusal(**tables: Any) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        built(**tables)
    return caught.value.code, caught.value.sentence


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "bears.toml"
    path.write_text(as_toml(built()), encoding="utf-8")
    return path


# names that nobody knows


def test_unknown_table_names_a_guess() -> None:
    said = ("UNKNOWN_SETTING", "test: unknown table [trian]; did you mean 'train'?")
    assert refusal(trian={}) == said


def test_unknown_table_unlike_any_lists_the_known() -> None:
    known = (
        "name, classes, search, download, screen, split, learn, probe, clean, train, reject,"
        " export, serve, engine"
    )
    assert refusal(xyz={}) == ("UNKNOWN_SETTING", f"test: unknown table [xyz]; known are {known}")


def test_unknown_setting_names_a_guess() -> None:
    said = ("UNKNOWN_SETTING", "test: unknown setting train.epoch; did you mean 'epochs'?")
    assert refusal(train={"epoch": 3}) == said


# values


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        ("train", "epochs", "six", "train.epochs = 'six' must be int (passes over the training"),
        ("train", "epochs", 2.0, "train.epochs = 2.0 must be int"),
        ("train", "epochs", True, "train.epochs = True must be int"),
        ("train", "lr", True, "train.lr = True must be float or str"),
        ("train", "lr", "fnid", "train.lr = 'fnid' must be a number or \"find\""),
        ("learn", "arch", 18, "learn.arch = 18 must be str"),
        ("split", "valid", [0.2], "split.valid = [0.2] must be float"),
        ("train", "lr_ratio", 10**400, f"train.lr_ratio = {10**400} must be float"),
        ("train", "epochs", -1, "train.epochs = -1 must be at least 0 (passes over"),
        ("split", "valid", 0.0, "split.valid = 0.0 must be between 0.01 and 0.8 (share of"),
        ("split", "valid", 0.81, "split.valid = 0.81 must be between 0.01 and 0.8"),
        ("split", "valid", float("nan"), "split.valid = nan must be between 0.01 and 0.8"),
        ("train", "lr", float("inf"), "train.lr = inf must be finite"),
        ("train", "lr", -0.1, "train.lr = -0.1 must be at least 0"),
        ("learn", "size", 31, "learn.size = 31 must be 0, or between 32 and 1024"),
    ],
)
def test_wrong_type_or_range(table: str, key: str, value: object, words: str) -> None:
    code, sentence = refusal(**{table: {key: value}})
    assert code == "BAD_SETTING"
    assert sentence.startswith(f"test: {words}")


def test_bounds_themselves_are_allowed() -> None:
    config = built(split={"valid": 0.8, "test": 0.01}, learn={"size": 32}, train={"epochs": 1})
    assert (config.split.valid, config.split.test) == (0.8, 0.01)
    assert (config.learn.size, config.train.epochs) == (32, 1)


def test_whole_number_where_a_fraction_is_meant() -> None:
    lr = built(train={"lr": 1}).train.lr
    assert (lr, type(lr)) == (1.0, float)


def test_a_table_that_is_none() -> None:
    assert refusal(train=3) == ("BAD_SETTING", "test: [train] must be a table, not 3")


def test_valid_and_test_leave_too_little() -> None:
    said = "test: split.valid + split.test leave 5% to train on; keep 10 % or more"
    assert refusal(split={"valid": 0.5, "test": 0.45}) == ("BAD_SETTING", said)
    assert built(split={"valid": 0.5, "test": 0.4}).split.test == 0.4


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "con", "LPT1", "x" * 65, "x\n", 3])
def test_project_name_becomes_a_folder(name: object) -> None:
    assert refusal(name=name) == (
        "BAD_NAME",
        f"test: name = {name!r} must be letters, digits, - and _ (it becomes a folder)",
    )


# classes


@pytest.mark.parametrize(
    "label",
    [
        *("", " ", "../x", "a/b", "a\\b", "..", ".x", "_x", "x.", " x", "x ", "x" * 300, "x" * 101),
        *("a\0b", "a\nb", "a\x1bb", "a\x7fb", "a\x85b", "a\u2028b", "a\u202eb", "a\udce4b"),
        *("<b>", "a:b", 'a"b', "a|b", "a?", "a*", "con", "NUL", "Com1", "aux.txt"),
    ],
)
def test_class_that_cannot_be_a_folder(label: str) -> None:
    assert refusal(classes={**TWO, label: ["x"]}) == (
        "BAD_CLASS",
        f"test: class {label!r} cannot be a folder name; use up to 100 letters, digits, spaces "
        "and dashes, not beginning with . or _",
    )


@pytest.mark.parametrize("label", ["x" * 100, "fly agaric", "Bär", "熊", "a.b", "1", "🐻", "cons"])
def test_class_that_can(label: str) -> None:
    assert built(classes={**TWO, label: ["x"]}).labels == sorted([*TWO, label])


@pytest.mark.parametrize("other", ["Grizzly", "GRIZZLY"])
def test_classes_that_differ_in_case_only(other: str) -> None:
    assert refusal(classes={**TWO, other: ["x"]}) == (
        "BAD_CLASS",
        f"test: classes 'grizzly' and {other!r} differ only in case or in how accents are"
        " stored; rename one",
    )


def test_classes_that_differ_in_how_an_accent_is_stored() -> None:
    code, sentence = refusal(classes={"b\u00e4r": ["x"], "ba\u0308r": ["x"]})
    assert code == "BAD_CLASS"
    assert "how accents are stored" in sentence


@pytest.mark.parametrize(("classes", "n"), [({}, 0), ({"bear": ["bear"]}, 1), (["a", "b"], 0)])
def test_fewer_than_two_classes(classes: object, n: int) -> None:
    assert refusal(classes=classes) == (
        "TOO_FEW_CLASSES",
        f'test: [classes] names {n}; at least two are needed, such as grizzly = ["grizzly bear"]',
    )


@pytest.mark.parametrize("queries", ["grizzly bear", [3], [" "], None])
def test_queries_must_be_words(queries: object) -> None:
    code, sentence = refusal(classes={**TWO, "polar": queries})
    assert code == "BAD_CLASS"
    assert sentence.endswith(f'needs a list of search queries, such as ["polar"], not {queries!r}')


def test_vocabulary_is_sorted_whatever_the_order_of_the_file() -> None:
    classes = {"teddy": ["t"], "black": ["b"], "grizzly": ["g"]}
    assert built(classes=classes).labels == ["black", "grizzly", "teddy"]


# reading


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^NO_PROJECT: there is no project file .*bears new"):
        read_project(tmp_path / "missing.toml")


def test_a_folder_or_noise_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^NO_PROJECT: .* cannot be read: "):
        read_project(tmp_path)
    noise = tmp_path / "noise.toml"
    noise.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^NO_PROJECT: .*noise.toml cannot be read: "):
        read_project(noise)


def test_a_file_that_may_not_be_read_says_what_the_system_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(self: Path, **how: str) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(BearsError, match=r"^SYSTEM: .*mine\.toml: Permission denied; give your"):
        read_project(tmp_path / "mine.toml")


def test_bad_toml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("name = 'x'\n[train\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^BAD_TOML: .*bad.toml is not valid TOML: .*line 2"):
        read_project(path)


def test_file_as_windows_notepad_saves_it(project: Path) -> None:
    project.write_text(project.read_text(encoding="utf-8"), encoding="utf-8-sig", newline="\r\n")
    assert read_project(project) == built()


# --set


@pytest.mark.parametrize(
    ("text", "table", "key", "value"),
    [
        ("train.epochs=6", "train", "epochs", 6),
        ("train.lr=0.002", "train", "lr", 0.002),
        ("train.lr=2e-3", "train", "lr", 0.002),
        ("train.lr=find", "train", "lr", "find"),
        (" train.lr = find ", "train", "lr", "find"),
        ("learn.weights=none", "learn", "weights", "none"),
        ('learn.weights="a b.pth"', "learn", "weights", "a b.pth"),
        ("learn.weights='none'", "learn", "weights", "none"),
        ("learn.weights=C:\\w.pth", "learn", "weights", "C:\\w.pth"),
        ("search.source=folder:a=b c", "search", "source", "folder:a=b c"),
        ('search.source="folder:Bär 🐻"', "search", "source", "folder:Bär 🐻"),
        ("search.source=", "search", "source", ""),
    ],
)
def test_override(project: Path, text: str, table: str, key: str, value: object) -> None:
    assert getattr(getattr(read_project(project, [text]), table), key) == value


def test_later_override_wins(project: Path) -> None:
    assert read_project(project, ["train.epochs=6", "train.epochs=7"]).train.epochs == 7


def test_override_of_a_class(project: Path) -> None:
    config = read_project(project, ['classes.polar=["polar bear"]'])
    assert config.classes["polar"] == ["polar bear"]


@pytest.mark.parametrize("text", ["", "train", "train.epochs", "epochs=3", ".epochs=3", "train.=3"])
def test_override_of_bad_form(project: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_project(project, [text])
    form = "must look like table.key=value, such as train.epochs=6"
    assert str(caught.value) == f"BAD_SETTING: --set {text!r} {form}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.epoch=3", "unknown setting train.epoch; did you mean 'epochs'?"),
        ("trian.epochs=3", "unknown table [trian]; did you mean 'train'?"),
        ("search.licence=free", "= 'free'; known are any, share, commercial, public (what its"),
        ("search.size=big", "search.size = 'big'; known are any, small, medium, large, wallpaper"),
        ("download.ignore_opt_outs=1", "download.ignore_opt_outs = 1 must be bool"),
        ("train.epochs=", "train.epochs = '' must be int"),
        ("train.epochs=many", "train.epochs = 'many' must be int"),
        ("name.x=1", "--set 'name.x=1': name is not a table"),
        ("classes.grizzly=bear", "needs a list of search queries"),
    ],
)
def test_override_is_checked_like_the_file(project: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_project(project, [text])
    assert words in str(caught.value)


# writing


ODD = 'folder:C:\\Bär "🐻"\x7f\n# x'


def unlike_the_defaults() -> Config:
    """Every setting changed, with text that a careless writer breaks."""
    tables = {
        table: {f.name: another(f) for f in dataclasses.fields(kind)}
        for table, kind in TABLES.items()
    }
    tables["train"]["lr"] = 1e30
    tables["search"]["only_class"] = "熊 a"
    classes = {"熊 a": ["x"], "plain": ["y\x7f", '"z"', "\\"], "a'b": []}
    return built(name="other", classes=classes, **tables)


def another(field: dataclasses.Field[Any]) -> float | str:
    """A value that is allowed and not the default."""
    value = field.default
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return ([ODD, *field.metadata["choices"]])[-1]
    if field.metadata["or_zero"]:
        return type(value)(field.metadata["low"])
    return value + (1 if isinstance(value, int) else 0.01)


@pytest.mark.parametrize("config", [built(), unlike_the_defaults()])
def test_written_and_read_again_is_equal(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "x.toml"
    path.write_text(as_toml(config), encoding="utf-8")
    assert read_project(path) == config


def test_every_setting_explains_itself() -> None:
    written = as_toml(built()).splitlines()
    for kind in TABLES.values():
        for field in dataclasses.fields(kind):
            about = field.metadata["about"]
            assert len(about) > 10
            assert sum(line.endswith(f"  # {about}") for line in written) == 1


def test_the_project_file_of_the_bears_is_what_would_be_written() -> None:
    path = ROOT / "bears.toml"
    assert path.read_text(encoding="utf-8") == as_toml(read_project(path))


def test_the_project_file_of_the_bears_has_the_defaults() -> None:
    config = read_project(ROOT / "bears.toml")
    assert {table: getattr(config, table) for table in TABLES} == {
        table: kind() for table, kind in TABLES.items()
    }


def test_the_starter_project_is_valid() -> None:
    assert read_project(STARTER).labels == ["black", "grizzly", "teddy"]
