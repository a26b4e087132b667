"""From a web search to a bundle: the real search client, a small internet, and the command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import answers
import pytest
from ddgs import DDGS
from hosts import Hosts
from internet import Internet
from waiting import STUCK

from bear_classifier.collect.download import download
from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.http.rate_limit import PolitenessLimits
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.duckduckgo import engines
from bear_classifier.collect.sources.pagination import Time
from bear_classifier.config import project_file
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SPARE

CLASSES = {"grizzly": ["grizzly bear", "grizzly in the wild"], "teddy": ["teddy bear"]}
PER_CLASS = 60
PROJECT = """
name = "small"
[classes]
grizzly = ["grizzly bear", "grizzly in the wild"]
teddy = ["teddy bear"]
[search]
source = "web"
per_class = 60
[learn]
arch = "squeezenet1_1"
weights = "none"
size = 64
device = "cpu"
[train]
epochs = 1
lr = 0.001
batch_size = 16
[export]
parity = 20
"""


def address(query: str, index: int) -> str:
    return f"http://h{index % 20}.example/{query.replace(' ', '-')}/{index}.jpg?size=large"


def photo(query: str, index: int) -> Any:
    """What stands there: one in ten is a page for people; one grizzly in ten is gone, and with
    every other of those the thumbnail."""
    number = index + 1000 * sorted(q for some in CLASSES.values() for q in some).index(query)
    kinds = {4: answers.foreign("html")}
    if "grizzly" in query:
        kinds[3] = answers.status(404)
    return kinds.get(index % 10, answers.photo(number))


def bears(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line with no way to the outside but a proxy where nobody listens."""
    return subprocess.run(
        [sys.executable, "-m", "bear_classifier", *words],
        capture_output=True, encoding="utf-8", cwd=cwd,
        env=os.environ | {"DDGS_PROXY": "http://127.0.0.1:9"},
    )  # fmt: skip


def quick() -> Time:
    """Searching without its pauses."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    return Time(lambda: datetime.now(timezone.utc), lambda: clock[0], sleep, lambda: 1.0)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A project in a folder whose photos were found and downloaded; the web is gone again."""
    cwd = tmp_path_factory.mktemp("web")
    (cwd / "small.toml").write_text(PROJECT, encoding="utf-8")
    settings = project_file.read_project(cwd / "small.toml")
    said: dict[str, Any] = {}
    with (
        Internet(cwd, address) as web,
        Hosts(tls=True) as hosts,
        Catalog(cwd / "data/small") as catalog,
    ):
        client = DDGS(proxy=web.proxy, verify=web.ca, timeout=5)
        said["search"] = search(catalog, settings, engines(settings.search, client), quick())
        for source in catalog.sources():
            host, path = source.origin.removeprefix("http://").split("/", 1)
            index = int(path.split("/")[1].split(".")[0])
            hosts.add(host, f"/{path}", photo(source.query, index))
            small = source.thumbnail.split("/", 3)
            there = answers.photo(7000 + index) if index % 20 == 3 else answers.status(410)
            hosts.add(small[2], f"/{small[3]}", there)
        net = Net(
            World(hosts.resolve, hosts.allowed, hosts.tls), Limits(), PolitenessLimits(apart=0.01)
        )
        said["download"] = download(catalog, settings, net=net)
        said["again"] = search(catalog, settings, engines(settings.search, client), quick())
        said["requests"], said["keys"] = len(web.log), len(web.asked("vqd"))
        said["sources"] = catalog.sources()
    yield cwd, said


def test_everything_found_is_fetched_or_refused_with_a_reason(
    collected: tuple[Path, dict[str, Any]],
) -> None:
    _, said = collected
    assert said["search"]["per_class"] == {"grizzly": PER_CLASS, "teddy": PER_CLASS}
    out = said["download"]
    assert said["search"]["spare"] == 80  # a page brings 100
    assert out["fetched"] == 2 * PER_CLASS + out["spares"]
    assert set(out["failed"]) == {"HTTP_404", "NOT_AN_IMAGE"}
    assert out["photos"] == 2 * PER_CLASS  # spare addresses took the place of those that failed
    assert out["photos"] + sum(out["failed"].values()) + out["exact_duplicates"] == out["fetched"]
    assert out["lacking"] == {}
    assert out["thumbnails"] > 0
    for source in said["sources"]:
        if source.code == SPARE:
            continue
        assert source.engine == "duckduckgo"
        assert source.rank > 0
        assert source.page.startswith("https://")
        assert source.query in CLASSES[source.label]
        assert source.http in (200, 404)
        assert source.address == "127.0.0.1"


def test_what_was_searched_is_not_searched_again(collected: tuple[Path, dict[str, Any]]) -> None:
    _, said = collected
    assert said["again"]["requests"] == 0
    assert said["again"]["new"] == 0
    assert said["requests"] == said["search"]["requests"] + said["keys"]


@pytest.fixture(scope="module")
def run(collected: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """All the way, without a network from here on: nothing is left to ask for."""
    cwd, _ = collected
    done = bears("run", "--project", "small.toml", "--source", "web", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.long
def test_it_goes_all_the_way_to_a_bundle(
    collected: tuple[Path, dict[str, Any]], run: dict[str, Any]
) -> None:
    cwd, _ = collected
    assert {s["outcome"] for s in run["stages"].values()} == {"done"}
    assert (cwd / "models/small/bundle.json").is_file()
    with Catalog(cwd / "data/small") as catalog:
        (bundle,) = catalog.published()
        assert set(bundle.photos) == {p.sha256 for p in catalog.photos("ok")}


def test_status_counts_what_the_bar_showed(collected: tuple[Path, dict[str, Any]]) -> None:
    cwd, said = collected
    done = bears("status", "--project", "small.toml", cwd=cwd)
    out = said["download"]
    failed = sum(out["failed"].values())
    stored = out["fetched"] - failed
    assert f"candidates: found {2 * PER_CLASS + 80} · downloaded {stored}" in done.stdout
    assert f" · refused {failed}: " in done.stdout
    assert f"{out['failed']['HTTP_404']} HTTP_404" in done.stdout
    assert f" · beyond search.per_class {80 - out['spares']}" in done.stdout


@pytest.mark.long
@pytest.mark.usefixtures("run")
def test_attribution_and_take_down(collected: tuple[Path, dict[str, Any]]) -> None:
    cwd, _ = collected
    done = bears("attribution", "--project", "small.toml", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    with (cwd / "data/small/attribution.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with Catalog(cwd / "data/small") as catalog:
        assert len(rows) == len(catalog.photos("ok"))
    done = bears(
        "take-down", "--project", "small.toml", "--domain", "h1.example", "--json", cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert len(out["dropped"]) > 0
    assert [Path(b["model"]).name for b in out["bundles"]] == ["small"]
    done = bears("run", "--project", "small.toml", "--until", "split", "--json", cwd=cwd)
    with Catalog(cwd / "data/small") as catalog:
        assert all("h1.example" not in p.origin for p in catalog.photos("ok"))


@pytest.mark.parametrize("words", [[], ["--until", "download"]])
def test_no_network_is_one_sentence_with_the_ways_on_and_nothing_half_made(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "bears.toml").write_text(PROJECT, encoding="utf-8")
    began = time.monotonic()
    done = bears("run", "--source", "web", *words, cwd=tmp_path)
    assert time.monotonic() - began < STUCK
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()[-1:]
    assert line.startswith("bears: SEARCH_UNREACHABLE: ")
    for way in ("folder:", "urls:", "starter"):
        assert way in line
    assert len([x for x in done.stderr.splitlines() if x.startswith("bears: ")]) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bears.toml"]
