"""Which column is what, by what is in it."""

from __future__ import annotations

import pytest

from bear_classifier.collect.sources.file_names import FileNames
from bear_classifier.collect.sources.table_columns import Columns, class_of, find_columns
from bear_classifier.collect.sources.table_rows import read_csv
from bear_classifier.errors import DataError

LABELS = ["red", "green"]
FILES = FileNames([f"pool/{n:03}.jpg" for n in range(10)])


def columns(text: str, labels: list[str] = LABELS) -> tuple[str, str, str]:
    """The names of the columns of files, classes and splits."""
    table, found = find_columns(read_csv(text.encode(), "t.csv"), FILES, labels, "photos")
    names = [*table.names, ""]
    return names[found.file], names[found.label], names[found.split]


def refusal(text: str, labels: list[str] = LABELS) -> str:
    with pytest.raises(DataError) as caught:
        columns(text, labels)
    return str(caught.value)


def test_by_content_whatever_the_names() -> None:
    text = "when,x,y,z\n2020,red,000,1\n2020,green,001.jpg,2\n2021,Red,pool/002,3\n"
    assert columns(text) == ("y", "x", "")


def test_the_column_of_files_is_the_one_that_names_most() -> None:
    assert columns("n,image,label\n001,000.jpg,red\nx,001.jpg,green\n") == ("image", "label", "")
    assert columns("id,path,label\n001,000.jpg,red\n002,001.jpg,green\n") == ("path", "label", "")


def test_of_two_columns_of_classes_the_name_decides() -> None:
    text = "id,prediction,label\n000,red,red\n001,red,green\n"
    assert columns(text) == ("id", "label", "")
    assert columns("id,one,two\n000,red,red\n001,green,green\n") == ("id", "one", "")
    words = refusal("id,one,two\n000,red,red\n001,green,red\n")
    assert words.startswith(
        "AMBIGUOUS_COLUMNS: t.csv: the columns 'one' and 'two' all hold classes"
    )


def test_a_word_in_a_note_makes_no_column_of_classes() -> None:
    text = "id,note,breed\n000,red,red\n001,,green\n002,,green\n003,,red\n"
    assert columns(text) == ("id", "breed", "")


@pytest.mark.parametrize("names", ["train,val,test", "Training,Validation,Testing", "train,,test"])
def test_a_column_of_splits(names: str) -> None:
    one, two, three = names.split(",")
    text = f"id,where,breed\n000,{one},red\n001,{two},green\n002,{three},red\n"
    assert columns(text) == ("id", "breed", "where")


def test_a_column_with_other_words_holds_no_splits() -> None:
    assert columns("id,kind,breed\n000,train,red\n001,ship,green\n") == ("id", "breed", "")


def test_classes_that_are_called_as_splits() -> None:
    text = "id,split,label\n000,train,test\n001,test,train\n"
    assert columns(text, ["train", "test"]) == ("id", "label", "split")


def test_two_columns_of_splits() -> None:
    text = "id,split,usage,breed\n000,train,test,red\n001,test,test,green\n"
    assert columns(text) == ("id", "breed", "split")
    words = refusal("id,a,b,breed\n000,train,test,red\n001,test,test,green\n")
    assert "the columns 'a' and 'b' all hold splits, and differ; name the one" in words


def test_a_table_without_a_heading() -> None:
    table, found = find_columns(read_csv(b"000.jpg,red\n001.jpg,green\n", "t"), FILES, LABELS, "p")
    assert [line for line, _ in table.rows] == [1, 2]
    assert (found.file, found.label) == (0, 1)


def test_a_column_for_each_class() -> None:
    text = "image,red,green\n000,1.0,0.0\n001,0,1\n002,1,1\n003,0,0\n"
    table, found = find_columns(read_csv(text.encode(), "t"), FILES, LABELS, "p")
    assert found == Columns(0, -1, -1, {1: "red", 2: "green"})
    assert [class_of(found, cells) for _, cells in table.rows] == ["red", "green", "", ""]


def test_what_is_missing_is_said() -> None:
    words = refusal("id,breed\nx1,red\nx2,green\n")
    assert words.startswith("NO_FILE_COLUMN: no column of t.csv names files below photos")
    assert "'x1, red'" in words and "'pool/000.jpg'" in words
    words = refusal("id,breed\n000,rot\n001,gruen\n")
    assert words.startswith("NO_CLASS_COLUMN: no column of t.csv holds classes of this project")
    assert "'breed' holds 'rot', 'gruen'" in words
    assert "urls:FILE" in refusal("class,url\nred,https://example.org/1.jpg\n")
