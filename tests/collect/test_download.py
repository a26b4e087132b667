"""Every candidate ends as one row; files are kept once, under their hash, whatever happens."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm
from waiting import STUCK

from bear_classifier.collect.download import DownloadBar, download, settle
from bear_classifier.collect.fetch_tasks import fetch_file
from bear_classifier.collect.http.ingest import PhotoFacts
from bear_classifier.collect.screen import screen
from bear_classifier.collect.search import search
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, relabel, undo
from bear_classifier.dataset.schema import CONFLICT, DUPLICATE, GONE, OK, Decision, Photo, Source
from bear_classifier.errors import PhotoError
from bear_classifier.runtime.terminal import SHORT_BAR

Child = Callable[..., "subprocess.Popen[str]"]
Fetch = Callable[[Source], tuple[bytes, PhotoFacts]]
Fill = Callable[[Path, dict[str, int | bytes]], None]
Make = Callable[..., Photo]


class Dataset:
    """A folder of photos, and the dataset that is made from it."""

    def __init__(self, root: Path, fill: Fill) -> None:
        self.photos = root / "photos"
        self.photos.mkdir(parents=True)
        self.catalog = Catalog(root / "data")
        self._fill = fill
        source = {"source": f"folder:{self.photos}"}
        classes = {label: [label] for label in ("grizzly", "teddy")}
        self.config = build({"classes": classes, "search": source}, where="test")

    def add(self, **files: int | bytes) -> None:
        """add(grizzly_a=3): picture number 3 as grizzly/a.png."""
        self._fill(self.photos, {f"{k.replace('_', '/')}.png": v for k, v in files.items()})

    def move(self, old: str, new: str) -> None:
        (self.photos / new).parent.mkdir(exist_ok=True)
        (self.photos / old).rename(self.photos / new)

    def update(self, fetch: Fetch = fetch_file) -> dict[str, Any]:
        search(self.catalog, self.config)
        return download(self.catalog, self.config, fetch)

    def codes(self) -> dict[str, str]:
        """Path inside the folder -> code, of every candidate ever seen."""
        return {
            str(Path(s.origin).relative_to(self.photos)): s.code for s in self.catalog.sources()
        }

    def labels(self) -> list[tuple[str, str]]:
        return sorted((photo.label, photo.status) for photo in self.catalog.photos())

    def events(self) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(self.catalog.path)) as db:
            return db.execute("SELECT who, old, new FROM event ORDER BY id").fetchall()

    def files(self) -> list[Path]:
        return sorted(p for p in (self.catalog.root / "photos").rglob("*") if p.is_file())


@pytest.fixture
def data(tmp_path: Path, fill: Fill) -> Iterator[Dataset]:
    made = Dataset(tmp_path, fill)
    yield made
    made.catalog.close()


# one row for each


def test_a_pointer_of_git_lfs_is_named_as_such(data: Dataset) -> None:
    """Its row says what brings the file; for addresses see test_visit.py."""
    data.add(grizzly_a=1, teddy_b=corpus.lfs_pointer())
    said = "the file is a pointer of Git LFS and not the file itself; fetch what it stands for with"
    assert data.update()["failed_now"] == {
        str(data.photos / "teddy" / "b.png"): f"NOT_AN_IMAGE: {said}: git lfs pull"
    }


def test_every_candidate_ends_as_one_row_with_a_code(data: Dataset) -> None:
    good = corpus.good()
    data.add(
        grizzly_photo=good["jpeg"],
        grizzly_webp=good["webp"],
        teddy_same=good["jpeg"],
        teddy_gif=good["gif"],
        teddy_empty=b"",
        teddy_page=b"<!doctype html><html>not found</html>",
        teddy_cut=good["png"][:-300],
        teddy_noise=bytes(range(256)),
        teddy_svg=b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        teddy_tiny=corpus.saved(corpus.drawn(8, 8), "PNG"),
    )
    outcome = data.update()
    assert data.codes() == {
        "grizzly/photo.png": OK,
        "grizzly/webp.png": OK,
        "teddy/cut.png": "TRUNCATED",
        "teddy/empty.png": "EMPTY_FILE",
        "teddy/gif.png": OK,
        "teddy/noise.png": "NOT_AN_IMAGE",
        "teddy/page.png": "NOT_AN_IMAGE",
        "teddy/same.png": CONFLICT,
        "teddy/svg.png": "UNSUPPORTED_FORMAT",
        "teddy/tiny.png": "TOO_SMALL",
    }
    failed = {"TRUNCATED": 1, "EMPTY_FILE": 1, "NOT_AN_IMAGE": 2, "UNSUPPORTED_FORMAT": 1}
    assert outcome["failed"] == failed | {"TOO_SMALL": 1}
    assert (outcome["fetched"], outcome["photos"]) == (10, 3)
    assert (outcome["exact_duplicates"], outcome["label_conflicts"]) == (0, 1)
    assert (
        outcome["failed_now"][str(data.photos / "teddy" / "empty.png")]
        == "EMPTY_FILE: the file has 0 bytes; download or copy it again"
    )
    assert all(s.sentence for s in data.catalog.sources() if s.code != OK)
    assert data.update()["failed_now"] == {}


def test_random_mixtures_add_up(tmp_path: Path, fill: Fill) -> None:
    contents: list[int | bytes] = [1, 2, 3, b"", b"<html>", corpus.good()["png"][:500]]
    for seed in range(10):
        dice = random.Random(seed)
        data = Dataset(tmp_path / str(seed), fill)
        files = {
            f"{dice.choice(['grizzly', 'teddy'])}_{n}": dice.choice(contents) for n in range(20)
        }
        data.add(**files)
        outcome = data.update()
        assert len(data.codes()) == len(files)
        codes = Counter(data.codes().values())
        assert set(codes) <= {OK, DUPLICATE, CONFLICT, "EMPTY_FILE", "NOT_AN_IMAGE", "TRUNCATED"}
        assert codes[OK] == outcome["photos"] == len(data.files())
        assert sum(outcome["failed"].values()) == sum(isinstance(v, bytes) for v in files.values())
        data.catalog.close()


def test_stored_files_are_those_found_and_named_by_their_hash(data: Dataset) -> None:
    good = corpus.good()
    data.add(grizzly_a=good["jpeg exif icc"], teddy_b=good["avif"], teddy_c=4)
    data.update()
    found = sorted(path.read_bytes() for path in data.photos.rglob("*.png"))
    assert sorted(path.read_bytes() for path in data.files()) == found
    for path in data.files():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert path.parent.name == path.stem[:2]
    assert sorted(path.suffix for path in data.files()) == [".avif", ".jpeg", ".png"]
    assert sorted(data.catalog.file(photo) for photo in data.catalog.photos()) == data.files()


def test_a_row_says_what_the_picture_is(data: Dataset) -> None:
    jpeg = corpus.saved(Image.new("L", (50, 40), 90), "JPEG")
    data.add(grizzly_a=jpeg)
    data.update()
    assert data.catalog.photos() == [
        Photo(
            hashlib.sha256(jpeg).hexdigest(),
            str(data.photos / "grizzly" / "a.png"),
            "grizzly",
            "jpeg",
            50,
            40,
            len(jpeg),
            "00" * 50,
            0.0,
        )
    ]


# the same file more than once


def test_exact_duplicates_are_kept_once(data: Dataset) -> None:
    data.add(grizzly_a=1, grizzly_b=1, grizzly_c=1, teddy_d=2)
    outcome = data.update()
    assert (outcome["photos"], outcome["exact_duplicates"]) == (2, 2)
    assert data.codes() == {
        "grizzly/a.png": OK,
        "grizzly/b.png": DUPLICATE,
        "grizzly/c.png": DUPLICATE,
        "teddy/d.png": OK,
    }
    duplicate = data.catalog.sources(DUPLICATE)[0]
    assert duplicate.sentence == f"same file as {data.photos}/grizzly/a.png"
    assert len(data.files()) == 2


@pytest.mark.parametrize(("removed", "left"), [("grizzly", "teddy"), ("teddy", "grizzly")])
def test_one_file_under_two_classes_is_set_aside_until_one_is_removed(
    data: Dataset, removed: str, left: str
) -> None:
    data.add(grizzly_a=1, teddy_a=1, teddy_b=2)
    assert data.update()["label_conflicts"] == 1
    assert data.labels() == [("grizzly", "unusable"), ("teddy", "ok")]
    (aside,) = data.catalog.photos("unusable")
    assert (
        aside.reason
        == "LABEL_CONFLICT: the same file stands under grizzly and teddy; keep it in one"
    )
    screen(data.catalog, data.config)
    assert data.labels() == [("grizzly", "unusable"), ("teddy", "ok")]  # screening lets it be
    (data.photos / removed / "a.png").unlink()
    assert data.update()["label_conflicts"] == 0
    assert data.labels() == sorted([(left, "ok"), ("teddy", "ok")])
    assert data.codes() == {f"{removed}/a.png": GONE, f"{left}/a.png": OK, "teddy/b.png": OK}


def test_conflict_of_three_files_ends_with_the_last_of_the_other_class(data: Dataset) -> None:
    data.add(grizzly_a=1, teddy_a=1, teddy_b=1)
    data.update()
    (data.photos / "teddy" / "a.png").unlink()
    assert data.update()["label_conflicts"] == 1
    (data.photos / "grizzly" / "a.png").unlink()
    assert data.update()["label_conflicts"] == 0
    assert data.labels() == [("teddy", "ok")]


def test_conflict_that_comes_later_does_not_move_the_photo(data: Dataset) -> None:
    data.add(grizzly_a=1)
    data.update()
    data.add(teddy_a=1)
    data.update()
    assert data.labels() == [("grizzly", "unusable")]


# files that were moved


def test_moved_file_is_a_relabel_event(data: Dataset) -> None:
    data.add(grizzly_a=1, teddy_b=2)
    data.update()
    before = {photo.sha256 for photo in data.catalog.photos()}
    data.move("grizzly/a.png", "teddy/a.png")
    outcome = data.update()
    assert data.labels() == [("teddy", "ok"), ("teddy", "ok")]
    assert {photo.sha256 for photo in data.catalog.photos()} == before
    assert data.events() == [("folder", "grizzly", "teddy")]
    assert (outcome["photos"], outcome["exact_duplicates"]) == (2, 0)
    assert data.codes() == {"grizzly/a.png": GONE, "teddy/b.png": OK, "teddy/a.png": OK}
    data.update()
    assert len(data.events()) == 1
    data.move("teddy/a.png", "grizzly/a.png")
    data.update()
    assert data.events() == [("folder", "grizzly", "teddy"), ("folder", "teddy", "grizzly")]


def test_a_move_is_followed_once(data: Dataset) -> None:
    """What somebody decides after it is not overruled by where the file still lies."""
    data.add(grizzly_a=1, teddy_b=2, grizzly_c=3)
    data.update()
    (sha,) = (p.sha256 for p in data.catalog.photos() if p.origin.endswith("a.png"))
    (other,) = (p.sha256 for p in data.catalog.photos() if p.origin.endswith("c.png"))
    for name in "ac":
        data.move(f"grizzly/{name}.png", f"teddy/{name}.png")
    data.update()
    undo(data.catalog, "ann", data.catalog.events("WHERE sha256 = ?", (sha,))[0].id)
    back = Decision(other, "relabel", "grizzly")
    decide(data.catalog, data.config.labels, [back], "ann", "request")
    data.update()
    assert data.labels() == [("grizzly", "ok"), ("grizzly", "ok"), ("teddy", "ok")]
    assert len(data.events()) == 4
    data.move("teddy/b.png", "grizzly/b.png")
    data.update()
    data.move("grizzly/b.png", "teddy/b.png")
    data.update()
    data.move("teddy/b.png", "grizzly/b.png")  # each new move is one
    data.update()
    assert data.labels() == [("grizzly", "ok")] * 3


def test_renamed_file_is_no_event(data: Dataset) -> None:
    data.add(grizzly_a=1)
    data.update()
    data.move("grizzly/a.png", "grizzly/b.png")
    data.update()
    assert data.labels() == [("grizzly", "ok")]
    assert data.events() == []


def test_label_given_by_a_person_outlives_the_folder(data: Dataset) -> None:
    data.add(grizzly_a=1)
    data.update()
    with data.catalog.transaction():
        relabel(data.catalog, data.catalog.photos()[0], "teddy", "ann", "it has a seam")
    os.utime(data.photos / "grizzly" / "a.png", ns=(1, 1))  # read again
    assert data.update()["fetched"] == 1
    assert data.labels() == [("teddy", "ok")]


@pytest.mark.parametrize(
    ("filed", "label", "status"),
    [
        ([("grizzly", OK)], "grizzly", "ok"),
        ([("grizzly", GONE)], "grizzly", "ok"),
        ([], "grizzly", "ok"),
        ([("grizzly", GONE), ("teddy", OK)], "teddy", "ok"),
        ([("teddy", GONE), ("grizzly", OK)], "grizzly", "ok"),
        ([("teddy", OK)], "grizzly", "ok"),  # a person said so: it never was filed as grizzly
        ([("grizzly", OK), ("teddy", DUPLICATE)], "grizzly", "unusable"),
    ],
)
def test_settle(make: Make, filed: list[tuple[str, str]], label: str, status: str) -> None:
    sources = [Source(f"/{n}", where, "folder", code=code) for n, (where, code) in enumerate(filed)]
    settled = settle(make(1), sources)
    assert (settled.label, settled.status) == (label, status)


def test_settle_leaves_a_dropped_photo_dropped(make: Make) -> None:
    sources = [Source("/1", "grizzly", "folder", code=OK), Source("/2", "teddy", "folder", code=OK)]
    dropped = make(1, origin="/1", status="dropped", reason="ann: no bear")
    assert settle(dropped, sources) == dropped


# twice, interrupted, out of space


def test_second_time_nothing_is_fetched(data: Dataset) -> None:
    data.add(grizzly_a=1, grizzly_b=1, teddy_c=2, teddy_d=b"")
    data.update()
    before = data.catalog.photos(), data.catalog.sources()

    def never(source: Source) -> tuple[bytes, PhotoFacts]:
        raise AssertionError(source.origin)

    assert data.update(never)["fetched"] == 0
    assert (data.catalog.photos(), data.catalog.sources()) == before


class Counting:
    """Fetches, and counts; is interrupted at one of the files."""

    def __init__(self, stop: str = "") -> None:
        self.stop = stop
        self.asked: list[str] = []

    def __call__(self, source: Source) -> tuple[bytes, PhotoFacts]:
        name = Path(source.origin).stem
        if name == self.stop:
            raise KeyboardInterrupt
        self.asked.append(name)
        n = int(name)
        if n % 10 == 0:
            raise PhotoError("EMPTY_FILE", "0 bytes")
        data = b"picture %d" % (n // 2 if n % 10 == 1 else n)  # some twice
        digest = hashlib.sha256(data).hexdigest()
        return data, PhotoFacts(digest, "png", 96, 64, len(data), "00" * 50, 50.0)


def test_interrupted_and_resumed_is_as_if_never_interrupted(tmp_path: Path, fill: Fill) -> None:
    names = [f"{n:03}" for n in range(150)]
    runs = {"whole": [("", 0)], "broken": [("040", 0), ("100", 0), ("140", 64), ("", 128)]}
    states = []
    for root, parts in runs.items():
        data = Dataset(tmp_path / "x", fill)
        data.add(**{f"{'grizzly' if n < '100' else 'teddy'}_{n}": b"x" for n in names})
        for path in data.photos.rglob("*.png"):
            os.utime(path, ns=(1, 1))
        for stop, done in parts:
            fetch = Counting(stop)
            with pytest.raises(KeyboardInterrupt) if stop else nullcontext():
                data.update(fetch)
            assert set(fetch.asked) <= set(names[done:])
        assert sorted(fetch.asked) == names[done:]
        files = [(path.name, path.read_bytes()) for path in data.files()]
        states.append((data.catalog.photos(), data.catalog.sources(), files))
        data.catalog.close()
        (tmp_path / "x").rename(tmp_path / root)
    assert states[0] == states[1]


FULL = """
import resource, sys
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.collect.download import download
from bear_classifier.config.project_file import build
from bear_classifier.errors import DataError
config = build({"classes": {"grizzly": ["x"], "teddy": ["x"]}}, where="test")
catalog = Catalog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    download(catalog, config)
except DataError as exc:
    print(exc)
"""


def test_full_disk_stops_with_a_sentence_and_can_go_on(data: Dataset, child: Child) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8)
    large = corpus.saved(Image.fromarray(noise), "PNG")
    assert len(large) > 300_000
    data.add(grizzly_a=1, teddy_b=large, teddy_c=3)
    search(data.catalog, data.config)
    said, _ = child(FULL, data.catalog.root).communicate(timeout=STUCK)
    name = hashlib.sha256(large).hexdigest()
    assert said.strip() == (
        f"DISK_FULL: 0 of 3 images saved in {data.catalog.root}; free space and run again to"
        " continue"
    )
    assert [p for p in data.files() if p.suffix == ".partial" or p.stem == name] == []
    data.update()
    assert set(data.codes().values()) == {OK}
    assert len(data.files()) == 3


def test_nothing_is_written_outside_the_dataset(data: Dataset) -> None:
    data.add(grizzly_a=1, teddy_b=2, teddy_c=b"")
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in data.photos.rglob("*.png")}
    data.update()
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in data.photos.rglob("*")
            if p.is_file()} == before  # fmt: skip


def test_no_file_of_a_photo_ever_leaves_the_store(data: Dataset) -> None:
    """C1, over adding, overwriting, moving, removing and screening at random."""
    dice = random.Random(3)
    seen: set[str] = set()
    names = [f"{label}/{n}.png" for label in ("grizzly", "teddy") for n in range(6)]
    for _ in range(40):
        for name in dice.sample(names, 3):
            (data.photos / name).parent.mkdir(exist_ok=True)
            if dice.random() < 0.4:
                (data.photos / name).unlink(missing_ok=True)
            else:
                data.add(**{name.removesuffix(".png").replace("/", "_"): dice.randrange(8)})
        (data.photos / "grizzly").mkdir(exist_ok=True)
        data.update()
        screen(data.catalog, data.config)
        stored = {path.stem for path in data.files()}
        assert stored == {photo.sha256 for photo in data.catalog.photos()}
        assert stored >= seen
        seen = stored
    assert len(seen) == 8


def test_the_bar_says_found_downloaded_and_the_most_frequent_reasons(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = io.StringIO()
    with tqdm(total=20, file=file, ncols=80, mininterval=0, desc="download",
              bar_format=SHORT_BAR) as bar:  # fmt: skip
        progress = DownloadBar(bar, 20)
        progress.add([(Source("a", "teddy", "web", code=OK), make(1))] * 3)
        assert progress.words(80) == "3 downloaded"
        for code, n in {"HTTP_404": 4, "OPTED_OUT": 1, "TIMEOUT_READ": 2, "TLS_ERROR": 3}.items():
            progress.add([(Source(code, "teddy", "web", code=code), None)] * n)
    words = "3 downloaded, 10 refused: 4 HTTP_404, 3 TLS_ERROR, 2 TIMEOUT_READ"
    assert progress.words(80) == words
    assert progress.words(len(words) - 1) == "3 downloaded, 10 refused: 4 HTTP_404, 3 TLS_ERROR"
    assert progress.words(10) == "3 downloaded, 10 refused"
    lines = [line.strip() for line in file.getvalue().split("\r")]
    assert max(map(len, lines)) <= 80  # and nothing of it is cut off
    assert lines[-1].startswith("download: 13/20 [")
    assert lines[-1].endswith(", 3 downloaded, 10 refused: 4 HTTP_404]")


def test_without_anything_to_download_there_is_no_bar(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal: else there is none at all."""
    data.add(grizzly_a=1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    errors = io.StringIO()
    errors.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", errors)
    data.update()
    assert "download: " in errors.getvalue()
    errors.truncate(0)
    data.update()
    assert "download" not in errors.getvalue()


def test_what_a_killed_program_left_half_written_is_removed(data: Dataset) -> None:
    data.add(grizzly_a=1, teddy_b=2)
    data.update()
    whole = data.files()
    half = whole[0].with_name(f".{whole[0].name}.123-456.partial")
    half.write_bytes(b"half")
    data.update()
    assert data.files() == whole
