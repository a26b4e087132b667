"""`bears stats`, and other commands that count rows or show a few of many."""

import json
import re
import shutil
from pathlib import Path

import pytest
from bundles import tiny_config
from test_probe import deal

from bear_classifier.cli import main, stats
from bear_classifier.config.project_file import as_toml
from bear_classifier.dataset import decisions, sources
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import hashes_from, photo_counts
from bear_classifier.dataset.schema import Decision
from bear_classifier.runtime.files import json_digest


@pytest.fixture
def bears(drawn_dataset, tmp_path, capsys, monkeypatch):
    """bears("status") is (exit code, what was printed, errors), for 24 drawn photos."""
    monkeypatch.chdir(tmp_path)
    Path("bears.toml").write_text(as_toml(tiny_config()), encoding="utf-8")
    shutil.copytree(drawn_dataset, "data/tiny")
    with Catalog(Path("data/tiny")) as catalog:
        deal(catalog)

    def run(*words):
        code = main.main([*words])
        return code, *capsys.readouterr()

    return run


def test_features_and_probe_are_timed(bears):
    assert bears("probe", "--quiet")[0] == 0
    code, said, _ = bears("stats", "--json", "--photos", "2400", "--machines", "4")
    found = json.loads(said)
    rows = {row["stage"]: row for row in found["stages"]}
    assert code == 0 and (found["photos"], found["machines"]) == (2400, 4)
    assert rows["features"]["photos"] == rows["probe"]["photos"] == 24
    for name, by in (("features", 4), ("probe", 1)):
        row = rows[name]
        assert row["here"] == pytest.approx(2400 / row["per_second"])
        assert row["on_machines"] == pytest.approx(row["here"] / by) and row["shared"] == (by > 1)
    lines = bears("stats")[1].splitlines()
    assert re.match(r"stage +photos +a second +1,000,000 photos here  on 8 machines$", lines[0])
    assert [line.split()[0] for line in lines[1:-2]][-3:] == ["features", "probe", "together"]
    assert lines[-2].startswith("Several machines divide features among them")
    assert lines[-1].startswith("Few photos were measured")


def test_without_a_run_it_says_how_to_begin(bears):
    Path("data/tiny/catalog.sqlite").unlink()
    Catalog(Path("data/tiny")).close()
    assert bears("stats")[1] == "no stage has worked on photos yet; to begin, run: bears run\n"


@pytest.mark.parametrize(("seconds", "text"), [
    (0.2, "0 s"), (59, "59 s"), (90, "1.5 min"), (7200, "2.0 h"), (2e8, "2,314.8 d"),
])  # fmt: skip
def test_durations(seconds, text):
    assert stats.duration(seconds) == text


# -- a catalog of many rows ------------------------------------------------------------------------


def decided(catalog, n):
    photos = catalog.photos("ok")[:n]
    items = [Decision(photo.sha256, "keep") for photo in photos]
    decisions.decide(catalog, tiny_config().labels, items, "me", "r")
    return photos


def test_what_shows_a_few_photos_reads_no_others(bears, monkeypatch):
    """Neither all photos nor all candidates become objects in memory."""
    with Catalog(Path("data/tiny")) as catalog:
        chosen = decided(catalog, 3)

    def never(*_):
        pytest.fail("all rows were read")

    monkeypatch.setattr(Catalog, "photos", never)
    monkeypatch.setattr(Catalog, "sources", never)
    for words in (["status"], ["history"], ["history", chosen[0].sha256[:12]], ["stats"]):
        assert bears(*words)[0] == 0, words
    assert chosen[1].origin in bears("history")[1]


def test_counts_are_those_of_the_photos(bears):
    with Catalog(Path("data/tiny")) as catalog:
        photos = catalog.photos()
        counts = photo_counts(catalog)
        assert sum(counts.values()) == len(photos) == 24
        for (label, split, status), n in counts.items():
            kind = (label, split, status)
            assert n == sum((p.label, p.split or "", p.status) == kind for p in photos)
        codes = [source.code for source in catalog.sources()]
        assert catalog.codes() == {code: codes.count(code) for code in dict.fromkeys(codes)}
        (start,) = {p.sha256[:8] for p in photos[5:6]}
        assert hashes_from(catalog, start) == [p.sha256 for p in photos if p.sha256[:8] == start]
        assert catalog.photos_of({photos[3].sha256, photos[1].sha256, "é", "f" * 64}) == [
            photos[1], photos[3],
        ]  # fmt: skip


def test_digests_row_by_row_are_those_of_before(bears):
    """Otherwise every stage of an existing project would run again."""
    import hashlib

    def before(value):
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()

    with Catalog(Path("data/tiny")) as catalog:
        photos = catalog.photos("ok")
        rows = [(p.sha256, p.label, p.group, p.split) for p in photos]
        sites = sources.sites(catalog, photos, "")
        for _ in range(2):
            assert catalog.fingerprint() == before(rows)
            assert json_digest(sources.usable_sites(catalog, "")) == before(sites)
            catalog.freeze()
    for value in ([], ["é"], [[1, None], "x"]):
        assert json_digest(value) == before(value)
