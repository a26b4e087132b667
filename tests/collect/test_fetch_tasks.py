"""Downloads as tasks of an engine: the same photos and rows as in one process, each site in one
task, and nothing asked twice where workers or the head die."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import answers as a
import pytest
from corpus import ROOT, drawn, saved
from engine_tasks import net_of
from hosts import Hosts

from bear_classifier.collect import fetch_tasks
from bear_classifier.collect.download import download
from bear_classifier.collect.fetch_tasks import SiteTask, by_site, fetch_on_engine, fetch_shard
from bear_classifier.collect.http.fetch_many import Outcome
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config, EngineConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import OK, PENDING, Source
from bear_classifier.dataset.sources import site_of
from bear_classifier.engine import choice
from bear_classifier.errors import DataError

CONFIG = build({"classes": {"grizzly": ["x"], "teddy": ["y"]}}, where="test")


def candidates(urls: Iterable[str], **more: str) -> list[Source]:
    return [Source(url, "grizzly", "urls", rank=n, **more) for n, url in enumerate(urls, 1)]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Three sites with photos; on each, one address leads to another site, one is gone."""
    with Hosts() as running:
        for site in range(3):
            for number in range(4):
                running.add(f"w{number % 2}.s{site}.org", f"/{number}.jpg",
                            a.photo(10 * site + number))  # fmt: skip
            there = f"http://w0.s{(site + 1) % 3}.org/0.jpg"
            running.add(f"s{site}.org", "/moved.jpg", a.redirect(there))
        yield running


def addresses() -> list[str]:
    return [
        *(f"http://w{n % 2}.s{site}.org/{n}.jpg" for site in range(3) for n in range(4)),
        *(f"http://s{site}.org/moved.jpg" for site in range(3)),
        *(f"http://s{site}.org/gone.jpg" for site in range(3)),
        "http://inside.s0.org/secret.jpg",
        "no address",
    ]


def with_pending(root: Path, sources: Iterable[Source]) -> Catalog:
    catalog = Catalog(root)
    with catalog.transaction():
        catalog.put_sources(sources)
    return catalog


def left(catalog: Catalog) -> tuple[list[tuple[str, ...]], dict[str, bytes]]:
    """Rows without what differs from run to run, and files by name."""
    rows = [(s.origin, s.code, s.sha256 or "", s.final_url, s.via) for s in catalog.sources()]
    files = [path for path in (catalog.root / "photos").rglob("*") if path.is_file()]
    return rows, {path.name: path.read_bytes() for path in files}


def recorded(catalog: Catalog, group: Sequence[Outcome]) -> None:
    with catalog.transaction():
        catalog.add_photos(photo for _, photo in group if photo)
        catalog.put_sources(row for row, _ in group)


def on_engine(catalog: Catalog, hosts: Hosts, config: Config = CONFIG) -> list[Outcome]:
    done: list[Outcome] = []
    sources = catalog.sources(PENDING)
    fetch_on_engine(catalog, sources, config, net_of(hosts.port()), done.extend)
    return done


def task_of(root: Path, sources: list[Source], hosts: Hosts) -> SiteTask:
    (task,) = by_site(root, sources, [], CONFIG, net_of(hosts.port()))
    return task


def test_every_site_is_in_one_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetch_tasks, "_ADDRESSES", 5)
    urls = [f"http://w{n % 3}.s{n % 7}.org/{n}.jpg" for n in range(40)]
    tasks = by_site(tmp_path, candidates([*urls, "nowhere"]), [], CONFIG, net_of(1))
    assert len(tasks) > 3
    together = [task.sites for task in tasks]
    assert sum(map(len, together)) == len(frozenset().union(*together)) == 7
    for task in tasks:
        assert {site_of(s.origin.split("/")[2]) for s in task.sources} == task.sites
    assert sorted(s.origin for task in tasks for s in task.sources) == sorted(urls)


def test_tasks_leave_what_one_process_leaves(tmp_path: Path, hosts: Hosts) -> None:
    with with_pending(tmp_path / "one", candidates(addresses())) as catalog:
        download(catalog, CONFIG, net=net_of(hosts.port()))
        expected = left(catalog)
    assert {code for _, code, *_ in expected[0]} == {
        OK, "DUPLICATE", "HTTP_404", "BLOCKED_ADDRESS", "BAD_ADDRESS"
    }  # fmt: skip
    with with_pending(tmp_path / "two", candidates(addresses())) as catalog:
        outcomes = on_engine(catalog, hosts)
        assert sorted(row.origin for row, _ in outcomes) == sorted(addresses())
        recorded(catalog, outcomes)
        rows, files = left(catalog)
        assert files == expected[1]
        assert [row[0] for row in rows] == [row[0] for row in expected[0]]
        codes = {row[0]: row[1].replace("DUPLICATE", OK) for row in expected[0]}
        assert {row[0]: row[1] for row in rows} == codes
        assert not list((catalog.root / "download").glob("*.jsonl"))


def test_a_task_asks_no_site_but_its_own(tmp_path: Path, hosts: Hosts) -> None:
    """Neither for redirects, nor for thumbnails, nor for a robots.txt that has moved."""
    hosts.add("moved.org", "/robots.txt", a.redirect("http://s1.org/robots.txt"))
    other = "http://w0.s1.org/0.jpg"
    sources = [
        *candidates(["http://s0.org/moved.jpg", "http://moved.org/x.jpg"]),
        *candidates(["http://s0.org/gone.jpg"], thumbnail=other),
    ]
    task = task_of(tmp_path, sources, hosts)
    result = fetch_shard(task)
    assert {site_of(visit.request.host) for visit in hosts.log} <= {"s0.org", "moved.org"}
    assert not [visit for visit in hosts.log if "s1." in visit.request.host], "another site's"
    assert {source.origin for source in result.elsewhere} == {s.origin for s in sources}
    assert result.elsewhere[0] in sources
    assert fetch_tasks.read_journal(task.journal) == []


def test_what_a_dead_worker_noted_is_not_asked_again(tmp_path: Path, hosts: Hosts) -> None:
    urls = [url for url in addresses() if "s0" in url and "w" in url]
    task = task_of(tmp_path, candidates(urls), hosts)
    fetch_shard(task)
    lines = task.journal.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    kept = "\n".join([*lines[:3], lines[3][:40]])  # died while it wrote the last
    task.journal.write_text(kept + "\n", encoding="utf-8")
    hosts.log.clear()
    fetch_shard(task)
    asked = [visit.request.path for visit in hosts.log if visit.request.path != "/robots.txt"]
    assert len(asked) == 1
    noted = fetch_tasks.read_journal(task.journal)
    assert sorted(row.origin for _, (row, _) in noted) == sorted(urls)
    assert all(photo for _, (_, photo) in noted)


def test_what_was_noted_for_a_dead_head_is_recorded_first(tmp_path: Path, hosts: Hosts) -> None:
    urls = [url for url in addresses() if "w" in url and ".jpg" in url][:4]
    with with_pending(tmp_path, candidates(urls)) as catalog:
        task = task_of(tmp_path, catalog.sources(PENDING)[:3], hosts)
        fetch_shard(task)
        changed = dataclasses.replace(catalog.sources(PENDING)[2], label="teddy")
        with catalog.transaction():
            catalog.put_sources([changed])
        hosts.log.clear()
        groups: list[list[Outcome]] = []

        def record(group: list[Outcome]) -> None:
            groups.append(group)
            recorded(catalog, group)

        sources = catalog.sources(PENDING)
        fetch_on_engine(catalog, sources, CONFIG, net_of(hosts.port()), record)
        assert sorted(row.origin for row, _ in groups[0]) == sorted(urls[:2])
        assert {row.label for group in groups for row, _ in group} == {"grizzly", "teddy"}
    asked = [visit.request.path for visit in hosts.log if visit.request.path != "/robots.txt"]
    assert len(asked) == 2, "noted addresses were asked again, or a changed row was not"


@pytest.mark.long
def test_offline_nothing_is_given_up(tmp_path: Path, hosts: Hosts) -> None:
    urls = [f"http://s{site}.example/0.jpg" for site in range(15)]
    port = hosts.port()
    with with_pending(tmp_path, candidates(urls)) as catalog:
        done: list[Any] = []
        net = dataclasses.replace(net_of(port), world=net_of(1).world)  # nobody listens there
        with pytest.raises(DataError, match="OFFLINE: none of 15 addresses"):
            fetch_on_engine(catalog, catalog.sources(PENDING), CONFIG, net, done.extend)
        assert done == []
        (task,) = by_site(tmp_path, catalog.sources(PENDING), [], CONFIG, net)
        assert len(fetch_shard(task).unreached) == 15
        assert fetch_tasks.read_journal(task.journal) == [], "noted for a head that dies meanwhile"


def test_a_dead_site_among_others_is_recorded(tmp_path: Path, hosts: Hosts) -> None:
    """As many as would mean that we are offline, if nobody had answered."""
    dead = [f"http://dead.org:8080/{n}.jpg" for n in range(12)]
    net = net_of(hosts.port())

    async def resolve(host: str, asked: int) -> list[tuple[str, int]]:
        if host == "dead.org":
            raise OSError("no such name")
        return await net.world.resolve(host, asked)

    half = dataclasses.replace(net, world=dataclasses.replace(net.world, resolve=resolve))
    with with_pending(tmp_path, candidates([*dead, addresses()[0]])) as catalog:
        done: list[Outcome] = []
        fetch_on_engine(catalog, catalog.sources(PENDING), CONFIG, half, done.extend)
    codes = {row.origin: row.code for row, _ in done}
    assert codes == {**dict.fromkeys(dead, "NAME_ERROR"), addresses()[0]: OK}


@pytest.mark.long
@pytest.mark.ray
def test_workers_of_ray_leave_what_one_process_leaves(
    tmp_path: Path, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of this computer and addresses; one machine asks a site at a time."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    monkeypatch.setattr(fetch_tasks, "_ADDRESSES", 3)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(130):
        (photos / f"{number}.png").write_bytes(saved(drawn(seed=100 + number), "PNG"))
    (photos / "7.png").write_bytes(b"no picture")
    files = [Source(str(path), "teddy", "folder") for path in sorted(photos.iterdir())]
    results = []
    try:
        for name in ("local", "ray"):
            config = dataclasses.replace(CONFIG, engine=EngineConfig(name))
            with with_pending(tmp_path / name, [*files, *candidates(addresses())]) as catalog:
                download(catalog, config, net=net_of(hosts.port()))
                rows = [dataclasses.replace(p, origin="") for p in catalog.photos()]
                results.append((left(catalog), rows))
    finally:
        choice.close_engine()
    assert results[0] == results[1]
    for site in range(3):
        names = [visit.request.host for visit in hosts.log if f"s{site}." in visit.request.host]
        assert hosts.most_busy(*names) <= 2, "two machines asked one site"
