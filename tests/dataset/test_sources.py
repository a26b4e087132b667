"""Where photos come from, by their addresses or by a table."""

import itertools
import ntpath

import pytest

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source
from bear_classifier.dataset.sources import named_for, read_table, sites, web_site
from bear_classifier.errors import DataError


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("https://img.zoo.co.uk/a/b.jpg", "zoo.co.uk"),
        ("http://bears.example.org:8080/x", "example.org"),
        ("https://192.0.2.7/x.jpg", "192.0.2.7"),
        ("/photos/grizzly/1.jpg", ""),
        ("ftp://a.b/c", ""),
        ("", ""),
    ],
)
def test_web_site(address, site):
    assert web_site(address) == site


def test_the_longest_end_of_a_path_counts():
    named = {"1.jpg": "short", "grizzly/1.jpg": "long", "x/1.jpg": "other"}
    assert named_for("/photos/grizzly/1.jpg", named) == "long"
    assert named_for("/photos/black/1.jpg", named) == "short"
    assert named_for("/photos/black/11.jpg", named) == ""


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("grizzly\\1.jpg", "/photos/grizzly/1.jpg"),
        ("grizzly/1.jpg", "C:\\Users\\ann\\grizzly\\1.jpg"),
        ("C:\\Users\\ann\\grizzly\\1.jpg", "C:\\Users\\ann\\grizzly\\1.jpg"),
        ("\\\\server\\share\\1.jpg", "\\\\server\\share\\1.jpg"),
        ("ba\u0308r/1.jpg", "/photos/b\u00e4r/1.jpg"),
    ],
)
def test_paths_of_windows_and_macos_are_found_in_either_way(tmp_path, written, origin):
    assert ntpath.join("grizzly", "1.jpg") == "grizzly\\1.jpg"  # how Windows writes a path
    for encoding, divider in itertools.product(("utf-8", "utf-8-sig"), ",;\t"):
        text = f"path{divider}source\r\n{written}{divider}camera"
        (tmp_path / "t").write_bytes(text.encode(encoding))
        assert named_for(origin, read_table(tmp_path / "t")) == "camera"
    assert named_for("/photos/grizzly/2.jpg", read_table(tmp_path / "t")) == ""


def test_the_page_goes_before_the_file_and_the_table_before_both(tmp_path, make):
    table = tmp_path / "t.tsv"
    table.write_text("file\tsource\tmore\nphotos/3.png\tcamera trap\tx\n", encoding="utf-8")
    photos = [
        make(1, origin="https://cdn.net/1.jpg"),
        make(2, origin="https://cdn.net/2.jpg"),
        make(3, origin="/home/photos/3.png"),
        make(4, origin="/home/photos/4.png"),
    ]
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            catalog.put_sources(
                [Source("https://cdn.net/1.jpg", "grizzly", "web", page="https://www.zoo.org/a")]
            )
        found = sites(catalog, photos, str(table))
        assert found == ["zoo.org", "cdn.net", "camera trap", ""]
        assert sites(catalog, photos, "") == ["zoo.org", "cdn.net", "", ""]


def test_tables_with_commas_marks_and_blank_lines(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('﻿path,source\n"a,b/1.jpg",one\n\n/c/2.jpg , two\n'.encode())
    assert read_table(path) == {"a,b/1.jpg": "one", "c/2.jpg": "two"}


@pytest.mark.parametrize("content", [None, b"", b"path,source\n", b"a\nb\n", b"\xff\xfe\x00"])
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="BAD_TABLE"):
        read_table(path)
