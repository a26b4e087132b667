"""Tables as people save them."""

from __future__ import annotations

import pytest

from bear_classifier.collect.sources.table_rows import RawTable, read_csv, read_json_lines
from bear_classifier.errors import DataError


def rows(text: str | bytes) -> list[list[str]]:
    table = read_csv(text.encode() if isinstance(text, str) else text, "t.csv")
    return [table.names, *(cells for _, cells in table.rows)]


@pytest.mark.parametrize(
    "text",
    [
        "id,breed\n1,red\n2,green\n",
        "id\tbreed\n1\tred\n2\tgreen\n",
        "id;breed\r\n1;red\r\n2;green\r\n",
        "id|breed\n1|red\n2|green",
        "id breed\n1 red\n2 green\n",
        '"id","breed"\n"1","red"\n"2","green"\n',
        "id, breed\n1, red\n\n2, green\n,\n",
        "\ufeffid,breed\n1,red\n2,green\n",
        "sep=;\nid;breed\n1;red\n2;green\n",
        "id,breed\n1,red\n2,green\n".encode("utf-16"),
    ],
)
def test_delimiters_quotes_and_marks(text: str | bytes) -> None:
    assert rows(text) == [["id", "breed"], ["1", "red"], ["2", "green"]]


def test_cells_that_hold_the_delimiter_and_lines() -> None:
    text = 'id,taken,breed\n1,"May, 2020",red\n2,"two\nlines",green\n'
    assert rows(text)[1:] == [["1", "May, 2020", "red"], ["2", "two\nlines", "green"]]


def test_a_semicolon_with_commas_in_the_cells() -> None:
    text = "id;note;breed\n1;a, b, c;red\n2;d, e;green\n"
    assert rows(text)[0] == ["id", "note", "breed"]


def test_rows_that_are_short_or_long() -> None:
    assert rows("a,b,c\n1\n1,2,3,4\n") == [["a", "b", "c"], ["1", "", ""], ["1", "2", "3"]]


def test_lines_are_those_of_the_file() -> None:
    table = read_csv(b'a,b\n\n1,"x\ny"\n2,z\n', "t.csv")
    assert [line for line, _ in table.rows] == [4, 5]
    assert [line for line, _ in read_csv(b"sep=,\na,b\n1,x\n", "t.csv").rows] == [3]


def test_what_is_no_table() -> None:
    with pytest.raises(DataError, match=r"BAD_TABLE: t.csv, line 2 is not UTF-8; save"):
        rows("id,breed\n1,b\u00e4r\n".encode("cp1252"))
    with pytest.raises(DataError, match="BAD_TABLE: t.csv is empty"):
        rows("\n\n")
    with pytest.raises(DataError, match="BAD_TABLE: t.csv, line 2: field larger"):
        rows(f"id,breed\n1,{'x' * (1 << 24)}x\n")


def test_json_lines() -> None:
    text = b'{"file_name": "1.jpg", "label": "red", "n": 3}\n\n{"file_name": "2", "tags": ["a"]}\n'
    assert read_json_lines(text, "m.jsonl") == RawTable(
        "m.jsonl",
        ["file_name", "label", "n", "tags"],
        [(1, ["1.jpg", "red", "3", ""]), (3, ["2", "", "", '["a"]'])],
    )


@pytest.mark.parametrize("line", [b"{", b"[1]", b'"a"', b"[" * 100_000])
def test_what_is_no_json_line(line: bytes) -> None:
    with pytest.raises(DataError, match="BAD_TABLE: m.jsonl, line 2"):
        read_json_lines(b'{"a": 1}\n' + line, "m.jsonl")
