"""Photos without a label: found, stored and screened as others, and used for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import answers
import pytest
from corpus import drawn, saved
from engine_tasks import net_of
from hosts import Hosts

from bear_classifier.collect.download import download
from bear_classifier.collect.screen import screen
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.search_engine import Engine, Hit
from bear_classifier.collect.sources.search_progress import search_goal
from bear_classifier.collect.split import split
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision, Source
from bear_classifier.errors import DataError

LABELS = ["black", "grizzly"]
Fill = Callable[..., None]


def config(source: str) -> Config:
    tables = {"name": "t", "classes": {label: [label] for label in LABELS}}
    return build({**tables, "search": {"source": source}}, "test")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        yield made


def collect(catalog: Catalog, source: str) -> dict[str, object]:
    found = search(catalog, config(source))
    download(catalog, config(source))
    screen(catalog, config(source))
    return found


def states(catalog: Catalog) -> dict[str, tuple[str, str]]:
    return {Path(p.origin).name: (p.label, p.status) for p in catalog.photos()}


def test_photos_of_any_folders_have_no_label(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    small = saved(drawn(20, 20, seed=9), "PNG")
    pool = tmp_path / "pool"
    fill(pool, {"a.png": 1, "deep/er/b.png": 2, "small.png": small, "no.txt": b"text"})
    found = collect(catalog, f"unlabelled:{pool}")
    assert (found["found"], found["new"], found["gone"]) == (4, 4, 0)
    assert states(catalog) == {
        "a.png": ("", "unlabelled"),
        "b.png": ("", "unlabelled"),
        "small.png": ("", "unusable"),
    }
    again = collect(catalog, f"unlabelled:{pool}")
    assert (again["found"], again["new"]) == (4, 0)
    with pytest.raises(DataError, match="confirm classes of 2 photos without a label; run: bears"):
        split(catalog, config(""))


def test_the_same_file_in_the_folder_of_a_class_has_that_label(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    pool, classes = tmp_path / "pool", tmp_path / "classes"
    fill(pool, {"a.png": 1, "b.png": 2})
    fill(classes, {"black/one.png": 1, "grizzly/two.png": 3})
    collect(catalog, f"unlabelled:{pool}")
    collect(catalog, f"folder:{classes}")
    by_state = sorted((p.label, p.status) for p in catalog.photos())
    assert by_state == [("", "unlabelled"), ("black", "ok"), ("grizzly", "ok")]
    collect(catalog, f"unlabelled:{pool}")  # and looking at the pool again takes no label away
    assert sorted((p.label, p.status) for p in catalog.photos()) == by_state
    event = decisions.history(catalog)[0]
    decisions.undo(catalog, "ann", event.id)
    assert catalog.photo(event.sha256).status == "unlabelled"  # type: ignore[union-attr]


def test_files_of_a_class_stay_so_below_a_listing_without_labels(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    folder = tmp_path / "photos"
    fill(folder, {"black/a.png": 1, "grizzly/b.png": 2, "more/c.png": 3})
    collect(catalog, f"folder:{folder}")
    found = collect(catalog, f"unlabelled:{folder}")
    assert (found["found"], found["gone"]) == (1, 0)
    assert states(catalog) == {
        "a.png": ("black", "ok"),
        "b.png": ("grizzly", "ok"),
        "c.png": ("", "unlabelled"),
    }
    assert collect(catalog, f"folder:{folder}")["gone"] == 0  # c.png is no file that has left


def test_what_a_person_confirmed_stays_when_the_pool_is_read_again(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    pool = tmp_path / "pool"
    fill(pool, {"a.png": 1, "b.png": 2})
    collect(catalog, f"unlabelled:{pool}")
    sha = catalog.photos()[0].sha256
    decisions.decide(catalog, LABELS, [Decision(sha, "relabel", "black")], "ann", "r")
    shutil.move(pool / "a.png", pool / "renamed.png")
    collect(catalog, f"unlabelled:{pool}")
    assert catalog.photo(sha).label == "black"  # type: ignore[union-attr]
    assert sorted(p.status for p in catalog.photos()) == ["ok", "unlabelled"]


def test_screening_sets_aside_and_gives_back(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    """A photo without a label that was set aside comes back without one."""
    pool = tmp_path / "pool"
    fill(pool, {"a.png": 1})
    collect(catalog, f"unlabelled:{pool}")
    tables = {"name": "t", "classes": {label: [label] for label in LABELS}}
    screen(catalog, build({**tables, "screen": {"smallest": 5000}}, "test"))
    assert states(catalog) == {"a.png": ("", "unusable")}
    screen(catalog, config(""))
    assert states(catalog) == {"a.png": ("", "unlabelled")}


def test_screening_and_splitting_do_not_know_of_them(tmp_path: Path, fill: Fill) -> None:
    """Neither groups nor splits change, with a near-copy and an encoding of a photo in the pool."""
    classes, pool = tmp_path / "classes", tmp_path / "pool"
    fill(classes, {f"{label}/{n}.png": 20 * k + n for k, label in enumerate(LABELS)
                   for n in range(12)})  # fmt: skip
    jpeg = saved(drawn(seed=0), "JPEG", quality=60)
    fill(pool, {"copy.jpg": jpeg, **{f"{n}.png": 100 + n for n in range(6)}})
    outcomes = []
    for with_pool in (False, True):
        with Catalog(tmp_path / f"data {with_pool}") as catalog:
            if with_pool:
                collect(catalog, f"unlabelled:{pool}")
            collect(catalog, f"folder:{classes}")
            seen = screen(catalog, config(""))
            assert seen.pop("unlabelled") == 7 * with_pool
            outcomes.append((seen, split(catalog, config("")), catalog.photos("ok")))
    assert outcomes[0] == outcomes[1]


def test_no_folder(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NO_FOLDER"):
        search(catalog, config(f"unlabelled:{tmp_path / 'none'}"))


def pool_engine(*names: str) -> Engine:
    """Every query finds the same pictures of one site."""
    return Engine("alpha", lambda query, page: hits(*names), 0, 1)


def hits(*names: str) -> list[Hit]:
    return [Hit(f"http://w.s0.org/{name}.jpg") for name in names]


def test_what_a_search_finds_for_a_pool_has_no_label(catalog: Catalog) -> None:
    """Neither now nor when the same words are searched for under their labels; and an address
    that is known with a label keeps it."""
    with catalog.transaction():
        catalog.put_sources([Source("http://w.s0.org/known.jpg", "black", "urls")])
    wanted = config("unlabelled:web")
    with Hosts() as hosts:
        for number, name in enumerate(("a", "b", "known")):
            hosts.add("w.s0.org", f"/{name}.jpg", answers.photo(number))
        found = search(catalog, wanted, [pool_engine("a", "b", "known")])
        assert (found["found"], found["per_class"], found["shared"]) == (2, {"": 2}, 0)
        labelled = Engine("beta", lambda query, page: hits("a", "b", f"{query} 2"), 0, 1)
        search(catalog, config("web"), [labelled])
        done = download(catalog, wanted, net=net_of(hosts.port()))
    assert done["unlabelled"] == 2
    screen(catalog, wanted)
    by_name = {Path(p.origin).stem: (p.label, p.status) for p in catalog.photos()}
    assert by_name == {"a": ("", "unlabelled"), "b": ("", "unlabelled"), "known": ("black", "ok")}
    rows = {Path(s.origin).stem: s.label for s in catalog.sources()}
    assert rows == {"a": "", "b": "", "known": "black", "black 2": "black", "grizzly 2": "grizzly"}
    (first,) = [p for p in catalog.photos() if p.origin.endswith("/a.jpg")]
    decisions.decide(catalog, LABELS, [Decision(first.sha256, "relabel", "grizzly")], "ann", "r")
    search(catalog, wanted, [pool_engine("a", "b")])
    assert catalog.photo(first.sha256).label == "grizzly"  # type: ignore[union-attr]


def test_a_pool_is_as_large_as_all_classes_and_may_share_words(catalog: Catalog) -> None:
    tables = {
        "classes": {"black": ["bear"], "grizzly": ["bear", "brown bear"]},
        "search": {"source": "unlabelled:web", "per_class": 3},
    }
    goal = search_goal(build(tables, "test"))
    assert (goal.kind, goal.per_class, goal.classes) == (
        "web",
        6,
        {"": ["bear", "bear", "brown bear"]},
    )
    asked: list[str] = []

    def answer(query: str, page: int) -> list[Hit]:
        asked.append(query)
        return [Hit(f"http://w.s0.org/{query}-{page}.jpg".replace(" ", "-"))]

    found = search(catalog, build(tables, "test"), [Engine("alpha", answer, 0, 2, sure=True)])
    assert asked == ["bear", "brown bear"] * 2
    (sentence,) = [text for text in found["warnings"] if "more queries" in text]
    assert sentence.startswith("the search without labels has 4 of 6 addresses; more queries would")
