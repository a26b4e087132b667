"""bears label and tables that are given to another person, from the command line."""

import csv
import json
import shutil

import pytest
from bundles import tiny_config
from corpus import drawn, saved

from bear_classifier.cli import main
from bear_classifier.config.project_file import as_toml
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog

LABELS = tiny_config().labels


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A project that began with 24 drawn photos and no label at all, their features computed."""
    root = tmp_path_factory.mktemp("label")
    (root / "tiny.toml").write_text(as_toml(tiny_config()), encoding="utf-8")
    (root / "pool").mkdir()
    for n in range(24):
        data = saved(drawn(96, 64, seed=n), "PNG")
        (root / "pool" / f"{LABELS[n % 3]}-{n}.png").write_bytes(data)
    source = f"unlabelled:{root / 'pool'}"
    assert main.main(["run", "--quiet", "--until", "screen", "--source", source, *where(root)]) == 0
    assert main.main(["label", "--list", "--quiet", *where(root)]) == 0
    return root


def where(root):
    return ["--project", str(root / "tiny.toml"), "--data", str(root / "data")]


@pytest.fixture
def bears(labelled, tmp_path, capsys):
    """bears("label", "--list") is (exit code, what was printed, errors), on a copy."""
    shutil.copytree(labelled, tmp_path / "copy")

    def run(*words):
        code = main.main([*map(str, words), *where(tmp_path / "copy")])
        output = capsys.readouterr()
        return code, output.out, output.err

    run.data = tmp_path / "copy" / "data" / "tiny"
    capsys.readouterr()
    return run


def batch(bears, *more):
    code, out, _ = bears("label", "--list", "--json", *more)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def truth(row):
    return row["origin"].rsplit("/", 1)[1].rsplit("\\", 1)[-1].partition("-")[0]


def table(path, columns, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def labels(bears):
    with Catalog(bears.data) as catalog:
        return {photo.sha256: photo.label for photo in catalog.photos()}


def test_a_simulated_reviewer_labels_in_rounds(bears, tmp_path):
    """Ten at a time, no photo twice; what is proposed may be kept."""
    seen = []
    for number in range(3):
        rows = batch(bears)
        wanted = {"sha256", "origin", "label", "suggested", "score", "reasons", "probabilities",
                  "revision"}  # fmt: skip
        assert set(rows[0]) == wanted
        seen += [row["sha256"] for row in rows]
        answers = [
            (r["sha256"], r["suggested"], *(("keep", "") if r["suggested"] == truth(r)
                                            else ("relabel", truth(r)))) for r in rows
        ]  # fmt: skip
        path = table(tmp_path / "a.csv", ["sha256", "suggested", "action", "new_label"], answers)
        code, out, _ = bears("label", "--apply", path, "--who", "Ann", "--json")
        assert (code, json.loads(out)["decisions"]) == (0, {"confirm": len(rows)}), number
        assert {labels(bears)[r["sha256"]] == truth(r) for r in rows} == {True}
    assert len(seen) == len(set(seen)) == 24
    with Catalog(bears.data) as catalog:
        assert {event.who for event in decisions.history(catalog)} == {"Ann"}
    code, _, err = bears("label", "--list")
    assert (code, "NO_UNLABELLED" in err) == (2, True)


def test_the_same_answers_give_the_same_questions(bears):
    assert batch(bears) == batch(bears)
    assert len(batch(bears, "--batch", 4)) == 4


def test_its_table_is_filled_in_by_hand(bears, tmp_path):
    path = tmp_path / "batch.csv"
    code, out, _ = bears("label", "--list", "--csv", path)
    assert code == 0
    assert "no idea yet" in out
    assert "24 photos without a label" in out
    assert "bears label --apply" in out
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row, label in zip(rows[:2], ["black", "teddy"], strict=True):
        row["new_label"] = label  # without an action
    rows[2]["action"] = "drop"
    table(path, list(rows[0]), [row.values() for row in rows])
    code, out, _ = bears("label", "--apply", path)
    assert (code, "2 confirm, 1 drop" in out) == (0, True)


def test_nothing_proposed_cannot_be_kept(bears, tmp_path):
    sha = batch(bears)[0]["sha256"]
    path = table(tmp_path / "a.csv", ["sha256", "action"], [[sha, "keep"]])
    code, _, err = bears("label", "--apply", path)
    assert (code, "relabel needs the class" in err) == (2, True)
    assert set(labels(bears).values()) == {""}


def test_a_table_is_given_to_another_person(bears, tmp_path):
    theirs = tmp_path / "theirs"
    shutil.copytree(bears.data.parents[1], theirs)
    rows = batch(bears)
    answers = [[row["sha256"], "relabel", truth(row)] for row in rows]
    path = table(tmp_path / "a.csv", ["sha256", "action", "new_label"], answers)
    bears("label", "--apply", path, "--who", "Ann")
    code, out, _ = bears("clean", "--export", tmp_path / "given.csv")
    assert (code, "wrote 10 decisions" in out) == (0, True)
    apply = ["clean", "--apply", str(tmp_path / "given.csv"), "--json", *where(theirs)]
    assert main.main(apply) == main.main(apply) == 0
    code, out, _ = bears("clean", "--apply", tmp_path / "given.csv")
    assert "nothing to do; 10 decisions known here already" in out
    with Catalog(bears.data) as mine, Catalog(theirs / "data" / "tiny") as others:
        told = [(e.sha256, e.new, e.who, e.at) for e in decisions.history(mine)]
        assert sorted(told) == sorted(
            (e.sha256, e.new, e.who, e.at) for e in decisions.history(others)
        )


def test_status_and_split_say_what_to_do(bears):
    code, out, _ = bears("status")
    assert "24 photos without a label; to confirm classes, run: bears label" in out
    assert json.loads(bears("status", "--json")[1])["unlabelled"] == 24
    code, _, err = bears("split")
    assert (code, "confirm classes of 24 photos" in err) == (2, True)
    code, out, _ = bears("classes", "--json")
    assert set(json.loads(out)) == set(LABELS)
