import csv
import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from bundles import tiny_config, trained_dataset
from test_clean import DULL, leave_probe
from test_probe import deal

from bear_classifier.cli import main
from bear_classifier.config.project_file import as_toml
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision

LABELS = tiny_config().labels


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A project of 24 drawn photos whose first model is up to date. What that left is replaced:
    a train photo under a wrong label, a dark one, and a blurred one on the test split."""
    root = tmp_path_factory.mktemp("probed")
    (root / "tiny.toml").write_text(as_toml(tiny_config()), encoding="utf-8")
    with trained_dataset(root / "data" / "tiny", tiny_config()) as catalog:
        deal(catalog)
        photos = catalog.photos()
    assert main.main(["probe", "--quiet", *where(root)]) == 0
    targets = np.array([LABELS.index(p.label) for p in photos])
    second = np.full((24, 3), 0.03)
    second[np.arange(24), targets] = 0.94
    train = [i for i, p in enumerate(photos) if p.split == "train"]
    wrong = next(i for i in train if photos[i].label == "black")
    dark = next(i for i in train if photos[i].label == "teddy")
    blurred = next(i for i, p in enumerate(photos) if p.split == "test" and p.label == "grizzly")
    second[wrong] = 0.02, 0.01, 0.97
    light, sharpness = np.full(24, 99), np.full(24, 20)
    light[dark] = sharpness[blurred] = 0
    rng = np.random.default_rng(0)
    features = 6 * np.eye(5)[targets] + rng.normal(size=(24, 5))
    hashes = [p.sha256 for p in photos]
    leave_probe(root / "data" / "tiny", hashes, second, features, light, sharpness, DULL)
    named = {"wrong": photos[wrong], "dark": photos[dark], "blurred": photos[blurred]}
    return root, named, photos


def where(root):
    return ["--project", str(root / "tiny.toml"), "--data", str(root / "data")]


@pytest.fixture
def project(probed, tmp_path, capsys):
    """bears("clean", "--list") is (exit code, what was printed, errors), on a copy."""
    root, named, photos = probed
    shutil.copytree(root, tmp_path / "copy")

    def bears(*words):
        code = main.main([*map(str, words), *where(tmp_path / "copy")])
        output = capsys.readouterr()
        return code, output.out, output.err

    data = tmp_path / "copy" / "data" / "tiny"

    def state():
        with Catalog(data) as catalog:
            return {p.sha256: (p.label, p.status) for p in catalog.photos()}

    return SimpleNamespace(
        bears=bears, data=data, state=state, photos=photos, table=tmp_path / "t.csv", **named
    )


def filled(project, *rows, header="sha256,action,new_label"):
    """A table of these decisions."""
    project.table.write_text(
        "\n".join([header, *(",".join(map(str, row)) for row in rows)]), encoding="utf-8"
    )
    return project.table


def change(project, answers):
    """Fill in the table that was written: {sha256: (action, new label)}."""
    with project.table.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    with project.table.open("w", encoding="utf-8", newline="") as file:
        whole = [[*row[:-2], *answers.get(row[0], row[-2:])] for row in rows]
        csv.writer(file).writerows([header, *whole])


def test_a_stage_works_on_the_photos_of_one_moment(project, monkeypatch):
    """A decision made while a model is made neither changes nor spoils it."""
    seen = []

    def clean(catalog, config):
        seen.append((len(catalog.photos("ok")), catalog.fingerprint(), catalog.revision()))
        with Catalog(project.data) as other:
            wanted = [Decision(project.wrong.sha256, "drop")]
            decisions.decide(other, LABELS, wanted, "ann", "meanwhile")
        seen.append((len(catalog.photos("ok")), catalog.fingerprint(), catalog.revision()))
        assert decisions.decided(catalog) == {}
        return {"photos": 24, "suspects": 0, "expected": 0.0, "kinds": {}}

    monkeypatch.setattr("bear_classifier.judge.clean.clean", clean)
    (project.data / "clean" / "summary.json").unlink(missing_ok=True)
    assert project.bears("clean")[0] == 0
    assert seen[0] == seen[1]
    assert seen[0][0] == 24
    assert project.state()[project.wrong.sha256][1] == "dropped"
    assert project.bears("clean")[0] == 2  # the first model knows nothing of the decision


# -- looking ---------------------------------------------------------------------------------------


def test_the_stage_says_how_much_looks_wrong(project):
    code, output, _ = project.bears("clean")
    assert code == 0
    assert "3 of 24 photos are suspect (1 label, 2 quality)" in output
    assert "bears review" in output
    code, output, _ = project.bears("clean", "--json")
    assert code == 0
    outcome = json.loads(output)
    assert outcome["outcome"] == "up to date"
    assert (outcome["photos"], outcome["suspects"]) == (24, 3)
    assert outcome["kinds"] == {"label": 1, "quality": 2}
    assert project.bears("clean", "--quiet") == (0, "", "")


def test_the_suspects_in_words(project):
    code, output, _ = project.bears("clean", "--list")
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == f" 98%  black: looks like teddy (97%)  {project.wrong.origin}"
    assert set(lines[1:3]) == {
        f" 91%  teddy: very dark  {project.dark.origin}",
        f" 91%  grizzly: blurred or empty  {project.blurred.origin}  [test split]",
    }
    hint = "3 of 24 photos are suspect; to look at them, run: bears review --project "
    assert [line[: len(hint)] for line in lines[3:]] == [hint]


@pytest.mark.parametrize(("shown", "rest"), [(3, 0), (2, 1), (1, 2)])
def test_the_list_says_where_it_stops(project, monkeypatch, shown, rest):
    monkeypatch.setattr("bear_classifier.cli.clean.SHOWN", shown)
    _, *after = project.bears("clean", "--list")[1].splitlines()[shown - 1 :]
    stop = f"... and {rest} more; for a table of all, run: bears clean --list --csv suspects.csv"
    assert [line.startswith(stop) for line in after] == ([True, False] if rest else [False])
    output = project.bears("clean", "--list", "--csv", project.table)[1]
    assert (f"... and {rest} more; all are in the table below\n" in output) == bool(rest)


def test_the_suspects_for_programs(project):
    code, output, _ = project.bears("clean", "--list", "--json")
    rows = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert len(rows) == 24
    assert all(
        set(row) == {"origin", "sha256", "label", "suggested", "score", "reasons", "split",
                     "scores", "probabilities"}
        for row in rows
    )  # fmt: skip
    assert [r["score"] for r in rows] == sorted((r["score"] for r in rows), reverse=True)
    first = rows[0]
    assert first["sha256"] == project.wrong.sha256
    assert (first["label"], first["suggested"], first["split"]) == ("black", "teddy", "train")
    assert first["score"] == pytest.approx(0.98, abs=1e-4)
    assert first["reasons"] == ["looks like teddy (97%)"]
    assert set(first["scores"]) == {"label", "outlier", "duplicate", "quality"}
    assert first["probabilities"] == {"black": 0.02, "grizzly": 0.01, "teddy": 0.97}


def test_what_was_decided_or_set_aside_is_not_listed(project):
    rows = [(project.wrong.sha256, "keep"), (project.dark.sha256, "drop")]
    assert project.bears("clean", "--apply", filled(project, *rows))[0] == 0
    listed = project.bears("clean", "--list", "--json")[1]
    assert len(listed.splitlines()) == 22
    assert project.wrong.sha256 not in listed
    assert project.dark.sha256 not in listed
    project.bears("undo")
    assert len(project.bears("clean", "--list", "--json")[1].splitlines()) == 24


def test_what_screening_set_aside_is_left_alone(project):
    with Catalog(project.data) as catalog, catalog.transaction():
        catalog.put_photos([dataclasses.replace(project.dark, status="unusable", reason="DARK")])
    listed = project.bears("clean", "--list", "--json")[1]
    assert len(listed.splitlines()) == 23
    assert project.dark.sha256 not in listed
    assert project.bears("clean", "--auto")[1] == "nothing to do\n"


# -- deciding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--list", "--csv"), ("--csv",)])
def test_a_table_is_written_filled_in_and_applied(project, words):
    code, output, _ = project.bears("clean", *words, project.table)
    assert code == 0
    assert f"bears clean --apply {project.table}" in output
    before = project.state()
    answers = {
        project.wrong.sha256: ("relabel", "teddy"),
        project.dark.sha256: ("drop", ""),
        project.blurred.sha256: ("drop", ""),
    }
    change(project, answers)
    code, output, errors = project.bears("clean", "--apply", project.table)
    assert (code, errors) == (0, "")
    assert "1 relabel, 2 drop; to take it all back, run: bears undo" in output
    assert "warning: 1 of them changes the test split" in output
    after = project.state()
    assert {sha: new for sha, new in after.items() if new != before[sha]} == {
        project.wrong.sha256: ("teddy", "ok"),
        project.dark.sha256: ("teddy", "dropped"),
        project.blurred.sha256: ("grizzly", "dropped"),
    }
    events = [json.loads(line) for line in project.bears("history", "--json")[1].splitlines()]
    assert {(e["based"], e["score"] > 0.9) for e in events} == {(0, True)}
    assert len({e["request"] for e in events}) == 1


def test_a_decision_made_after_the_list_was_written(project):
    project.bears("clean", "--list", "--csv", project.table)
    written = project.table.read_text(encoding="utf-8")
    row = (project.dark.sha256, "keep")
    assert project.bears("clean", "--apply", filled(project, row))[0] == 0
    project.table.write_text(written, encoding="utf-8")
    change(project, {p.sha256: ("drop", "") for p in (project.wrong, project.dark)})
    before = project.state()
    code, output, errors = project.bears("clean", "--apply", project.table)
    assert (code, output) == (2, "")
    assert errors.startswith("bears: CONFLICT: ")
    photo = f"{project.dark.sha256[:12]} ({project.dark.origin})"
    assert f"you kept photo {photo}" in errors
    assert project.state() == before
    assert len(project.bears("history")[1].splitlines()) == 1


def test_a_table_after_an_undo(project):
    """It is refused with words that lead on: both ways that they name are gone."""
    project.bears("clean", "--csv", project.table)
    change(project, {p.sha256: ("drop", "") for p in (project.wrong, project.dark)})
    assert project.bears("clean", "--apply", project.table)[0] == 0
    assert project.bears("undo")[0] == 0
    code, output, errors = project.bears("clean", "--apply", project.table)
    lines = errors.splitlines()
    assert (code, output) == (2, "")
    assert lines[0].startswith("bears: CONFLICT: 2 rows of ")
    for photo, line in zip((project.wrong, project.dark), lines[1:3], strict=True):
        assert "you took back a decision on" in line
        assert photo.origin in line
    assert "column revision" in lines[3]
    hint = lines[4].partition("run: bears ")[2].split()
    assert project.bears(*hint[: hint.index("--project")])[0] == 0
    other = project.table.with_name("t-new.csv")
    with other.open(encoding="utf-8-sig", newline="") as file:
        assert {row["revision"] for row in csv.DictReader(file)} == {"4"}
    text = project.table.read_text(encoding="utf-8")
    project.table.write_text(text.replace(",0,drop,", ",,drop,"), encoding="utf-8")
    assert project.bears("clean", "--apply", project.table)[0] == 0


def test_all_rows_that_cannot_be_carried_out_are_named(project):
    rows = [
        (project.wrong.sha256, "burn", ""),
        (project.wrong.sha256, "relabel", "panda"),
        (project.dark.sha256, "drop", ""),
        (project.dark.sha256, "restore", ""),
        ("f" * 64, "keep", ""),
        (project.wrong.sha256[:7], "keep", ""),
        (project.blurred.sha256, "restore", ""),
    ]
    path, before = filled(project, *rows), project.state()
    code, _, errors = project.bears("clean", "--apply", path)
    assert code == 2
    summary, *lines = errors.splitlines()
    assert summary == f"bears: BAD_TABLE: 5 rows of {path} cannot be carried out, so none was:"
    words = [
        "'burn' is no action",
        "'panda' is no class",
        "no photo here",
        "8 digits",
        "not dropped",
    ]
    for line, number, word in zip(lines, (2, 3, 6, 7, 8), words, strict=True):
        assert line.startswith(f"  line {number}: ")
        assert word in line
    assert project.state() == before
    assert project.bears("history")[1] == "nothing was decided yet\n"
    output = project.bears("clean", "--apply", path, "--json")[1]
    error = json.loads(output)["error"]
    assert error["code"] == "BAD_TABLE"
    assert error["message"].splitlines()[1:] == lines


def test_a_table_breaks_no_line(project):
    """What a table holds is quoted."""
    rows = [(project.wrong.sha256, '"a\nb"', ""), (project.wrong.sha256, '"\x1b[2J"', "")]
    errors = project.bears("clean", "--apply", filled(project, *rows))[2]
    assert len(errors.splitlines()) == 3
    assert "\x1b" not in errors


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (("{wrong}", "relabel", "panda"), "UNKNOWN_CLASS"),
        (("{wrong}", "restore", ""), "NOT_DROPPED"),
        (("{wrong}", "burn", ""), "BAD_TABLE"),
        (("f" * 64, "drop", ""), "NO_SUCH_PHOTO"),
        (("", "drop", ""), "NO_SUCH_PHOTO"),
    ],
)
def test_a_table_with_one_bad_row_changes_nothing(project, row, code):
    bad = tuple(word.format(wrong=project.wrong.sha256) for word in row)
    path = filled(project, (project.dark.sha256, "drop", ""), bad)
    before = project.state()
    exit_code, output, errors = project.bears("clean", "--apply", path)
    assert (exit_code, output) == (2, "")
    assert errors.startswith(f"bears: {code}: ")
    assert project.state() == before
    assert project.bears("history")[1] == "nothing was decided yet\n"
    exit_code, output, _ = project.bears("clean", "--apply", path, "--json")
    assert json.loads(output)["error"]["code"] == code


def test_the_beginning_of_a_hash_is_enough(project):
    short = project.wrong.sha256[:8]
    assert project.bears("clean", "--apply", filled(project, (short, "relabel", "teddy")))[0] == 0
    assert project.state()[project.wrong.sha256] == ("teddy", "ok")
    code, _, errors = project.bears("clean", "--apply", filled(project, (short[:7], "drop", "")))
    assert code == 2
    assert "give 8 digits or more" in errors


def test_only_what_is_beyond_doubt_is_dropped_by_itself(project):
    code, output, _ = project.bears("clean", "--auto", "--json")
    assert code == 0
    photo = {"sha256": project.dark.sha256, "origin": project.dark.origin, "action": "drop"}
    assert json.loads(output) == {
        "decisions": {"drop": 1}, "test_side": 0, "events": [1], "photos": [photo],
    }  # fmt: skip
    state = project.state()
    assert state[project.dark.sha256] == ("teddy", "dropped")
    assert sum(status == "dropped" for _, status in state.values()) == 1
    assert "  auto  drop " in project.bears("history")[1]
    assert project.bears("clean", "--auto")[:2] == (0, "nothing to do\n")


def test_what_is_dropped_by_itself_is_named_by_its_file(project):
    output = project.bears("clean", "--auto")[1]
    assert f"drop {project.dark.sha256[:12]}  ok -> dropped  {project.dark.origin}  (" in output


def test_the_precision_is_a_setting(project):
    assert project.bears("clean", "--auto", "--set", "clean.precision=0.95")[1] == "nothing to do\n"


def test_what_somebody_kept_is_not_dropped_by_itself(project):
    project.bears("clean", "--apply", filled(project, (project.dark.sha256, "keep", "")))
    assert project.bears("clean", "--auto")[1] == "nothing to do\n"


def test_the_effect_in_words_and_numbers(project):
    code, output, errors = project.bears("clean", "--effect")
    assert (code, output) == (2, "")
    assert errors.startswith("bears: NO_DECISIONS: ")
    row = (project.wrong.sha256, "relabel", "teddy")
    project.bears("clean", "--apply", filled(project, row, (project.blurred.sha256, "keep", "")))
    code, output, errors = project.bears("clean", "--effect")
    assert (code, errors) == (0, "")
    assert "on 5 untouched test photos" in output
    assert "paired test: p = 1): no difference can be claimed" in output
    found = json.loads(project.bears("clean", "--effect", "--json")[1])
    assert set(found) == {"n", "wrong_before", "wrong_after", "put_right", "newly_wrong", "p",
                          "verdict"}  # fmt: skip
    assert (found["n"], found["verdict"]) == (5, "no difference")


# -- looking back ----------------------------------------------------------------------------------


@pytest.fixture
def decided(project):
    rows = [(project.wrong.sha256, "relabel", "teddy"), (project.dark.sha256, "drop", "")]
    assert project.bears("clean", "--apply", filled(project, *rows), "--quiet") == (0, "", "")
    row = (project.blurred.sha256, "keep", "")
    assert project.bears("clean", "--apply", filled(project, row), "--quiet") == (0, "", "")
    return project


def test_history(decided):
    code, output, _ = decided.bears("history")
    lines = output.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    wrong, dark, blurred = decided.wrong, decided.dark, decided.blurred
    assert lines[0].endswith(f"relabel {wrong.sha256[:12]}  black -> teddy  {wrong.origin}")
    assert f"drop {dark.sha256[:12]}  ok -> dropped  {dark.origin}" in lines[1]
    assert lines[2].endswith(f"keep {blurred.sha256[:12]}  grizzly  {blurred.origin}")
    rows = [json.loads(line) for line in decided.bears("history", "--json")[1].splitlines()]
    assert [row["action"] for row in rows] == ["relabel", "drop", "keep"]
    assert rows[0]["sha256"] == decided.wrong.sha256
    assert [row["origin"] for row in rows] == [wrong.origin, dark.origin, blurred.origin]


def test_history_of_one_photo(decided):
    output = decided.bears("history", decided.dark.sha256[:8])[1]
    assert len(output.splitlines()) == 1
    assert f"drop {decided.dark.sha256[:12]}" in output
    assert decided.bears("history", decided.dark.sha256)[1] == output
    other = next(p for p in decided.photos if p.sha256 not in
                 {decided.dark.sha256, decided.wrong.sha256, decided.blurred.sha256})  # fmt: skip
    assert decided.bears("history", other.sha256[:8])[1] == "nothing was decided yet\n"
    for short, words in ((decided.dark.sha256[:7], "8 digits"), ("0" * 12, "0 photos begin")):
        code, output, errors = decided.bears("history", short)
        assert (code, output) == (2, "")
        assert errors.startswith("bears: NO_SUCH_PHOTO: ")
        assert words in errors


def test_undo_takes_back_a_whole_table_at_a_time(decided):
    state = decided.state()
    code, output, _ = decided.bears("undo")
    assert code == 0
    assert f"{decided.blurred.origin}  (takes back event 3)" in output
    assert decided.state() == state  # it was a keep
    code, output, _ = decided.bears("undo", "--json")
    assert json.loads(output) == {"events": [5, 6]}
    assert set(decided.state().values()) == {(label, "ok") for label in LABELS}
    assert decided.state()[decided.wrong.sha256] == ("black", "ok")
    code, output, errors = decided.bears("undo")
    assert (code, output) == (2, "")
    assert errors.startswith("bears: NOTHING_TO_UNDO: ")


def test_undo_of_one_event_and_of_that(decided):
    assert decided.bears("undo", 1)[0] == 0
    assert decided.state()[decided.wrong.sha256] == ("black", "ok")
    assert decided.state()[decided.dark.sha256] == ("teddy", "dropped")
    assert decided.bears("undo", 4)[0] == 0
    assert decided.state()[decided.wrong.sha256] == ("teddy", "ok")
    code, _, errors = decided.bears("undo", 99)
    assert code == 2
    assert errors.startswith("bears: CANNOT_UNDO: there is no event 99")


# -- what is not there -----------------------------------------------------------------------------

LOOKING = [("clean", "--list"), ("clean", "--auto"), ("clean", "--effect")]


@pytest.mark.parametrize("words", [*LOOKING, ("history",), ("undo",)])
def test_without_a_dataset(project, words):
    shutil.rmtree(project.data)
    code, output, errors = project.bears(*words)
    assert (code, output) == (2, "")
    assert errors.startswith("bears: NO_DATA: ")
    assert not project.data.exists()


def test_applying_without_a_dataset(project):
    shutil.rmtree(project.data)
    path = filled(project, (project.dark.sha256, "drop", ""))
    assert project.bears("clean", "--apply", path)[2].startswith("bears: NO_DATA: ")
    assert project.bears("clean", "--apply", "none.csv")[2].startswith("bears: BAD_TABLE: ")


@pytest.mark.parametrize("words", LOOKING)
def test_without_a_first_model(project, words):
    shutil.rmtree(project.data / "probe")
    code, output, errors = project.bears(*words)
    assert (code, output) == (2, "")
    assert errors.startswith("bears: NOT_PROBED: ")
    assert "bears probe" in errors


def test_the_stage_needs_a_first_model_that_is_up_to_date(project):
    path = filled(project, (project.dark.sha256, "drop", ""))
    assert project.bears("clean", "--apply", path)[0] == 0
    code, output, errors = project.bears("clean")
    assert (code, output) == (2, "")
    assert errors.startswith("bears: STAGE_MISSING: clean needs probe")


@pytest.mark.parametrize("words", [("clean", "--auto"), ("undo",)])
def test_nobody_decides_while_another_run_works(project, words):
    with Catalog(project.data) as catalog, catalog.lock("train"):
        code, output, errors = project.bears(*words)
    assert (code, output) == (2, "")
    assert errors.startswith("bears: LOCKED: Another train")
