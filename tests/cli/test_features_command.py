"""`bears features`: plans, parts, and the first model that finds them there."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from bundles import tiny_config
from test_probe import deal

from bear_classifier.cli import main
from bear_classifier.config.project_file import as_toml
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.learn import features
from bear_classifier.runtime import shards


@pytest.fixture
def bears(drawn_dataset, tmp_path, capsys, monkeypatch):
    """bears("--plan") is (exit code, what was printed, errors), for 24 drawn photos."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 6)
    monkeypatch.chdir(tmp_path)
    Path("bears.toml").write_text(as_toml(tiny_config()), encoding="utf-8")
    shutil.copytree(drawn_dataset, "data/tiny")
    with Catalog(Path("data/tiny")) as catalog:
        deal(catalog)

    def run(*words, command="features"):
        code = main.main([command, *words])
        return code, *capsys.readouterr()

    return run


def contents():
    files = (path for path in Path("data/tiny/features").rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def test_parts_make_what_one_run_makes(bears):
    """Each photo is computed by one part, and the files are the same bytes."""
    code, said, _ = bears("--json")
    outcome = json.loads(said)
    assert code == 0 and outcome["computed"] == 24 and outcome["shards"] > 2
    whole = contents()
    shutil.rmtree("data/tiny/features")
    planned = json.loads(bears("--json", "--plan")[1])
    assert planned == {"shards": outcome["shards"], "computed": 0}
    made = [json.loads(bears("--json", "--shard", f"{k}/3")[1])["computed"] for k in (3, 1, 2)]
    assert sum(made) == 24 and min(made) > 0
    assert contents() == whole
    assert json.loads(bears("--json", "--shard", "1/3")[1]) == {"shards": 0, "computed": 0}
    assert json.loads(bears("--json")[1]) == {"shards": 0, "computed": 0}


def test_the_first_model_takes_what_the_parts_left(bears, monkeypatch):
    bears("--plan")
    for k in (1, 2):
        assert bears("--shard", f"{k}/2")[0] == 0
    monkeypatch.setattr(features, "batches", lambda *_: pytest.fail("computed again"))
    assert bears("--quiet", command="probe")[0] == 0


def test_a_part_reads_no_catalog(bears, monkeypatch):
    """Its machine may see the dataset over a network, where SQLite's files cannot be shared."""
    bears("--plan")

    def refuse(*_, **__):
        pytest.fail("the catalog was opened")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert bears("--shard", "1/1")[0] == 0


def test_without_a_plan_a_part_says_what_to_do(bears):
    code, said, errors = bears("--shard", "1/2")
    assert (code, said) == (2, "")
    assert errors.startswith("bears: NO_PLAN: no features are planned in data/tiny with these")
    assert errors.endswith("run: bears features --plan\n")


def test_a_plan_names_the_first_part_and_drops_what_is_no_longer_wanted(bears):
    _, said, _ = bears("--plan")
    assert (
        "shards to compute; for the first of several parts run: bears features --shard 1/" in said
    )
    before = set(contents())
    with Catalog(Path("data/tiny")) as catalog, catalog.transaction():
        (photo,) = catalog.photos("ok")[:1]
        catalog.put_photos([photo.__class__(**{**vars(photo), "status": "dropped"})])
    bears("--plan")
    lists = [text for name, text in contents().items() if name.endswith(".txt")]
    held = b"".join(lists).decode().split()
    assert len(held) == 23 and not any(photo.sha256 in name for name in held)
    assert set(contents()) & before  # lists without that photo stay
