"""Listing what somebody put together: odd names, what is ignored and said, files of addresses."""

from __future__ import annotations

import csv
import io
import os
import random
import unicodedata
from pathlib import Path

import pytest

from bear_classifier.collect.sources.local_files import list_folder, list_urls
from bear_classifier.dataset.schema import CONFLICT, PENDING, Source
from bear_classifier.errors import DataError

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
    assert listing.candidates == [Source(str(path), "grizzly", "folder", "1-1234567890123456789")]
    assert listing.ignored == {}


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/2019/june/a.png", "grizzly/b.png", "teddy/teddy/grizzly/c.png")
    assert found(tmp_path) == [
        ("grizzly/2019/june/a.png", "grizzly"),
        ("grizzly/b.png", "grizzly"),
        ("teddy/teddy/grizzly/c.png", "teddy"),
    ]


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
    assert found(tmp_path) == [("grizzly/a.png", "grizzly")]
    assert ignored(tmp_path) == {
        **dict.fromkeys(hidden, "hidden"),
        "_readme.txt": "not in a class folder",
    }


def test_what_systems_leave_is_passed_over_without_a_word(tmp_path: Path) -> None:
    touch(tmp_path, "grizzly/a.png", ".DS_Store", "Thumbs.db", "__MACOSX/grizzly/._a.png")
    touch(tmp_path, "grizzly/.DS_Store", "grizzly/THUMBS.DB", "grizzly/x/desktop.ini")
    touch(tmp_path, "grizzly/._a.png", "grizzly/.ipynb_checkpoints/a-checkpoint.png")
    assert found(tmp_path) == [("grizzly/a.png", "grizzly")]
    listing = list_folder(tmp_path, LABELS)
    assert (listing.ignored, listing.unknown) == ({}, [])


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
        "class (grizzly, teddy); for other classes make a project; "
        "run: bears new mine --class first --class second"
    )


def test_no_folder_at_all(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    assert refusal(tmp_path).startswith(
        f"NO_CLASS_FOLDERS: {tmp_path}: it has no folders; expected"
    )
    missing = tmp_path / "missing"
    assert refusal(missing).startswith(f"NO_FOLDER: {missing} is not a folder; expected")
    assert refusal(tmp_path / "a.png").startswith(f"NO_FOLDER: {tmp_path}/a.png is not a folder")


# a file of addresses

A, B = "https://a.example/1.jpg", "https://b.example/2.jpg"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def listed(folder: Path, content: str | bytes) -> list[tuple[str, str]]:
    candidates = list_urls(written(folder, content), LABELS).candidates
    return [(source.label, source.origin) for source in candidates]


def flaws(folder: Path, line: str | bytes) -> str:
    """What is said about a line after a good one."""
    line = line.encode() if isinstance(line, str) else line
    path = written(folder, f"grizzly\t{A}\n".encode() + line + b"\n")
    listing = list_urls(path, LABELS)
    assert [source.origin for source in listing.candidates] == [A]
    assert list(listing.ignored) == [f"{path}:2"]
    return listing.ignored[f"{path}:2"]


def test_a_line_is_a_class_a_tab_and_an_address(tmp_path: Path) -> None:
    path = written(tmp_path, f"grizzly\t{A}\nteddy\t{B}\n")
    listing = list_urls(path, LABELS)
    assert listing.candidates == [
        Source(A, "grizzly", "urls", str(path)),
        Source(B, "teddy", "urls", str(path)),
    ]
    assert listing.ignored == {}


@pytest.mark.parametrize(
    "content",
    [
        f"grizzly\t{A}",
        f"\ufeffgrizzly\t{A}\n",
        f"grizzly\t{A}\r\n",
        f"grizzly\t{A}\rGrizzly\t{A}\r",
        f"class\turl\ngrizzly\t{A}\n",
        f"\ufeffCLASS\tURL\tlicence\r\ngrizzly\t{A}\tCC0\r\n",
        f"# about\n\nClass\tUrl\n\n  \n#\n#x\ty\ngrizzly\t{A}\n\n",
        f"grizzly\t{A}\ttitle\tauthor\t\n",
        f" grizzly \t {A} \n",
        f"GRIZZLY\t{A}\n",
        f"grizzly\t{A}\ngrizzly\t{A}\nGrizzly\t{A}\n",
        f"grizzly\t{A}\tB\xe4r".encode("latin-1"),
        f"grizzly,{A}\n",
        f'"grizzly","{A}","a bear, sitting"\r\n',
        f'class;url;title\r\ngrizzly;{A};"one; two"\r\n',
        f'grizzly\t"{A}"\n',
        f'grizzly,{A},"an end that is missing\n',
    ],
)
def test_one_address_in_many_ways(tmp_path: Path, content: str | bytes) -> None:
    assert listed(tmp_path, content) == [("grizzly", A)]
    assert list_urls(tmp_path / "list.tsv", LABELS).ignored == {}


@pytest.mark.parametrize("label", ["bear, black", 'bear "big"', "bear; black"])
@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_commas_and_quotes_in_cells_are_read_as_spreadsheets_write_them(
    tmp_path: Path, label: str, divider: str
) -> None:
    address = "https://a.example/x,y;z.jpg?a=1,2"
    text = io.StringIO()
    csv.writer(text, delimiter=divider).writerow([label, address, 'a "big", one'])
    path = written(tmp_path, text.getvalue())
    (source,) = list_urls(path, [label, "teddy"]).candidates
    assert (source.label, source.origin) == (label, address)


def test_with_tabs_commas_are_a_part_of_the_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a, b\thttps://a.example/x,y.jpg\n")
    (source,) = list_urls(path, ["a, b", "teddy"]).candidates
    assert (source.label, source.origin) == ("a, b", "https://a.example/x,y.jpg")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_classes_of_a_list_match_however_accents_are_stored(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, unicodedata.normalize(form, f"B\u00c4R\t{A}"))
    (source,) = list_urls(path, ["b\u00e4r", "teddy"]).candidates
    assert source.label == "b\u00e4r"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"grizzly {B}", f"no tab or comma between class and address: 'grizzly {B}'"),
        (B, f"no tab or comma between class and address: '{B}'"),
        (f"polar\t{B}", "'polar' is not a class of this project"),
        (f"\t{B}", "'' is not a class of this project"),
        ("class\turl", "'class' is not a class of this project"),  # no heading in the second line
        ("grizzly\t", "no address"),
        ("grizzly\t  \tx", "no address"),
        ("grizzly\tfile:///etc/passwd", "not an http or https address: 'file:///etc/passwd'"),
        ("grizzly\twww.example.org/x.jpg", "not an http or https address: 'www.example.org/x"),
        ("grizzly\thttps://", "not an http or https address: 'https://'"),
        ("grizzly\t" + 3000 * "x", "an address of 3,000 characters; the limit is 2,048"),
        (200 * "x", "no tab or comma between class and address: '" + 60 * "x" + "'"),
        (b"gr\xfczzly\thttps://b.example", "not UTF-8 text"),
    ],
)
def test_lines_that_cannot_be_used_are_said(tmp_path: Path, line: str | bytes, said: str) -> None:
    assert flaws(tmp_path, line).startswith(said)


def test_an_address_under_two_classes_belongs_to_neither(tmp_path: Path) -> None:
    path = written(tmp_path, f"grizzly\t{A}\nteddy\t{B}\nteddy\t{A}\ngrizzly\t{A}\n")
    first, second = list_urls(path, LABELS).candidates
    assert (first.origin, first.label, first.code) == (A, "grizzly", CONFLICT)
    assert first.sentence == "list.tsv lists it under grizzly and teddy; keep it under one"
    assert second.code == PENDING
    ignored = list_urls(path, LABELS).ignored
    assert ignored == {f"{path}:3": "listed under grizzly, too; keep it under one of them"}


def no_list(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_urls(path, LABELS)
    return str(caught.value)


EXAMPLE = "expected lines such as: grizzly<TAB>https://example.org/photo.jpg"


def test_no_file_of_addresses(tmp_path: Path) -> None:
    missing = tmp_path / "missing.tsv"
    assert no_list(missing) == f"NO_FILE: {missing} is not a file; {EXAMPLE}"
    assert no_list(tmp_path) == f"NO_FILE: {tmp_path} is not a file; {EXAMPLE}"
    os.mkfifo(tmp_path / "pipe")
    assert no_list(tmp_path / "pipe").startswith("NO_FILE")
    assert no_list(Path("nul\0byte")).startswith("NO_FILE")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails")
def test_a_file_that_cannot_be_read() -> None:
    path = Path("/proc/self/mem")
    assert no_list(path) == f"NO_FILE: {path} cannot be read (Input/output error); {EXAMPLE}"


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ("", ""),
        ("class\turl\n# nothing\n", ""),
        (f"# list\npolar\t{A}\nx\n", "; {path}:2: 'polar' is not a class of this project"),
        (f"grizzly\t{A}".encode("utf-16"), "; {path}:1: not UTF-8 text"),
        (f"grizzly\t{A}\nteddy\t{A}", "; {path}:2: listed under grizzly, too; keep it under one"),
        (bytes(range(256)), "; {path}:1: "),
    ],
)
def test_nothing_usable_shows_the_first_reason(
    tmp_path: Path, content: str | bytes, first: str
) -> None:
    path = written(tmp_path, content)
    said = no_list(path)
    assert said.startswith(f"NO_ADDRESSES: {path} lists no usable address{first.format(path=path)}")
    assert said.endswith(f"; {EXAMPLE}")


def test_a_folder_that_may_not_be_opened_is_said_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "grizzly/a.png", "grizzly/private/b.png", "teddy/c.png")
    inside = Path.iterdir

    def iterdir(self: Path):  # type: ignore[no-untyped-def]
        if self.name == "private":
            raise PermissionError(13, "Permission denied", str(self))
        return inside(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert found(tmp_path) == [("grizzly/a.png", "grizzly"), ("teddy/c.png", "teddy")]
    assert ignored(tmp_path) == {"grizzly/private": "cannot be opened: Permission denied"}
