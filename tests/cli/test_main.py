"""The command line itself: what it says of mistyped words, of what the system refuses, and how it
ends. The commands have tests of their own."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import sys
import types
from pathlib import Path

import pytest
from within import bears

from bear_classifier import pipeline
from bear_classifier.cli import main, run
from bear_classifier.errors import DataError
from bear_classifier.judge import evaluate
from bear_classifier.runtime import files

PROJECT = ["new", "c", "--class", "red", "--class", "green", "--quiet"]


def test_alone_it_prints_help(tmp_path):
    done = bears(cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: bears")
    assert "bears run --source starter --serve" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "did you mean train?"),
        (["evalute", "--json"], "did you mean evaluate?"),
        (["run", "--until", "spilt"], "did you mean split?"),
        (["run", "--untill", "split"], "did you mean --until?"),
        (["predict", "a.jpg", "--modle", "m"], "did you mean --model?"),
        (["run", "--epochs", "3"], "did you mean --set train.epochs=VALUE?"),
        (["run", "--batch-size=3"], "did you mean --set train.batch_size=VALUE?"),
        (["zzz"], "choose from"),
        (["status", "more"], "unrecognized arguments: more"),
        (["run", "--proj", "x.toml"], "did you mean --project?"),
    ],
)
def test_a_mistyped_word_is_guessed(words, expected, tmp_path):
    """No option is abbreviated: another one may make it ambiguous tomorrow."""
    done = bears(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("train.epochs=many", "BAD_SETTING"),
        ("train.epochs=-1", "BAD_SETTING"),
        ("train.epohcs=3", "UNKNOWN_SETTING"),
        ("trian.epochs=3", "UNKNOWN_SETTING"),
        ("split.test=0.8", "BAD_SETTING"),
        ("train.cycles=40", "BAD_SETTING"),
        ("reject.share=0.9", "BAD_SETTING"),
    ],
)
def test_a_wrong_set_is_called_by_the_option(setting, code, tmp_path):
    """Not by the project file, in which there is nothing to be found."""
    done = bears("status", "--project", "starter", "--set", setting, cwd=tmp_path)
    assert done.stderr.startswith(f"bears: {code}: --set '{setting}': ")
    assert "starter.toml" not in done.stderr


def test_a_wrong_file_is_called_by_its_name_also_beside_a_set(tmp_path):
    assert bears(*PROJECT, cwd=tmp_path).returncode == 0
    with (tmp_path / "c.toml").open("a", encoding="utf-8") as file:
        file.write("smallest = 3\n")
    done = bears("status", "--project", "c.toml", "--set", "train.epochs=3", cwd=tmp_path)
    assert done.stderr.startswith("bears: UNKNOWN_SETTING: c.toml: unknown setting engine.smallest")


@pytest.mark.parametrize(
    ("source", "meant"),
    [("photos", "folder:photos"), ("list.tsv", "urls:list.tsv"), ("/nowhere", "folder:/nowhere"),
     ("my photos/", "'folder:my photos/'"), ("wbe", "web"), ("foldr:photos", "folder:photos")],
)  # fmt: skip
def test_what_was_meant_as_a_source_is_guessed(source, meant, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "list.tsv").touch()
    assert bears(*PROJECT, cwd=tmp_path).returncode == 0
    done = bears("run", "--project", "c.toml", "--source", source, "--until", "split", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(f"did you mean --source {meant}?\n")


# -- hints --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["train"], ["evaluate"], ["export"], ["clean"], ["clean", "--list"], ["status"], ["report"],
     ["curve"], ["lr"], ["compare", "layers"], ["predict", "x.jpg"], ["serve"]],
)  # fmt: skip
def test_every_hint_finds_the_project_again(words, tmp_path, fill):
    """Run as it stands, it is about the same project in the same folders, whatever their names."""
    assert bears(*PROJECT, cwd=tmp_path).returncode == 0
    (tmp_path / "c.toml").rename(tmp_path / "it's mine.toml")
    where = ["--project", "it's mine.toml", "--data", "my data", "--models", "my $models"]
    if words[0] != "status":
        fill(tmp_path / "photos", {f"{c}/{n}.png": n + 40 * (c == "red")
             for c in ("red", "green") for n in range(12)})  # fmt: skip
        done = bears("run", *where, "--source", "folder:photos", "--until", "split", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"run: bears run {shlex.join(where)}" in done.stdout
    done = bears(*words, *where, cwd=tmp_path)
    assert done.returncode == 2
    hint = re.search(r"run: (bears .*)$", done.stderr)
    assert hint, done.stderr
    parsed = main.parse(shlex.split(hint[1])[1:])
    assert [parsed.project, str(parsed.data), str(parsed.models)] == where[1::2]


def test_the_hint_in_json_is_as_good(tmp_path):
    done = bears("status", "--project", "starter", "--data", "my data", "--json", cwd=tmp_path)
    message = json.loads(done.stdout)["error"]["message"]
    assert message.endswith("run: bears run --project starter --data 'my data'")


@pytest.mark.parametrize(
    ("published", "current", "expected"),
    [(True, False, "is older than this evaluation"), (False, False, "not published yet"),
     (True, True, "next   to open its page, run: bears serve\n")],
)  # fmt: skip
def test_a_model_of_before_the_evaluation_is_called_old(
    published, current, expected, tmp_path, monkeypatch
):
    project = pipeline.open_project("starter", data=tmp_path, models=tmp_path / "m")
    if published:
        project.model.mkdir(parents=True)
        (project.model / "bundle.json").touch()
    monkeypatch.setattr(evaluate, "as_text", lambda test: "error 3 %")
    words = run.summary(project, {"n": 3}, current, [])
    assert expected in words
    assert ("run: bears serve" in words) == current
    assert ("to publish it, run: bears run" in words) != current


# -- what the system refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exc", "code", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a b"), "SYSTEM", "a b: Permission"),
        (OSError(errno.ENOSPC, "No space left", "x"), "DISK_FULL", "no space left to write x"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "y" * 300), "SYSTEM", "yy...: File"),
        (OSError(errno.EROFS, "Read-only file system", b"x"), "SYSTEM", "name a folder"),
        (FileNotFoundError(errno.ENOENT, "No such file", "z"), "SYSTEM", "spelt right"),
        (OSError("of a library, without a number"), "SYSTEM", "of a library, without a number"),
        (OSError(errno.EIO, "Input/output error"), "SYSTEM", "Input/output error"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_with_the_path(exc, code, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "status", lambda project: (_ for _ in ()).throw(exc))
    done = bears("status", "--project", "starter", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bears: {code}: ")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 400


def test_a_closed_pipe_is_no_refusal(monkeypatch, tmp_path):
    monkeypatch.setattr(
        pipeline, "status", lambda project: (_ for _ in ()).throw(BrokenPipeError())
    )
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    assert main.main(["status", "--project", "starter", "--data", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    "words",
    [["predict", "x.jpg", "--csv", "{taken}/t.csv"], ["predict", "x.jpg", "--csv", "{folder}"],
     ["report", "--project", "starter", "--out", "{taken}/r.html"],
     ["clean", "--list", "--project", "starter", "--csv", "{taken}/t.csv"],
     ["lesson", "sgd", "--save", "{taken}"]],
)  # fmt: skip
def test_where_nothing_can_be_written_is_said_before_the_work(words, tmp_path):
    """A file stands where the folder should be, or a folder where the file should be."""
    (tmp_path / "taken").write_text("kept", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    done = bears(*(word.format(taken="taken", folder="folder") for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("bears: CANNOT_WRITE: ")
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "kept"
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_project_file_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    done = bears(*PROJECT, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "bears: CANNOT_WRITE: c.toml cannot be written: Permission denied\n"


def test_a_place_to_write_is_tried_and_left_as_it_was(tmp_path):
    (tmp_path / "there.csv").write_text("old", encoding="utf-8")
    files.writable(tmp_path / "there.csv")
    files.writable(tmp_path / "new" / "deep" / "file.csv")
    assert (tmp_path / "there.csv").read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["there.csv"]
    with pytest.raises(DataError, match="^CANNOT_WRITE: .* is a folder"):
        files.writable(tmp_path)


def test_an_address_is_fetched_through_the_guard(tmp_path, model_dir):
    """Which asks no machine of one's own network."""
    done = bears("predict", "--model", model_dir, "http://127.0.0.1/a.jpg", cwd=tmp_path)
    assert done.returncode == 1
    assert "http://127.0.0.1/a.jpg: BLOCKED_ADDRESS: " in done.stdout


# -- how it ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--source", "a b"], "Stopped. Continue with: bears run --source 'a b'"),
        (["train", "--data", "my data"], "Stopped. Continue with: bears train --data 'my data'"),
        (["compare", "layers"], "Stopped. Continue with: bears compare layers"),
        (["serve"], "Stopped."),
        (["review"], "Stopped."),
        (["predict", "a.jpg"], "Stopped."),
        (["status"], "Stopped."),
    ],
)  # fmt: skip
def test_ctrl_c_says_how_to_go_on_where_something_does(words, expected, tmp_path, monkeypatch):
    def stopped(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "module", lambda _: types.SimpleNamespace(run=stopped))
    done = bears(*words, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.strip() == expected


def test_closing_the_page_after_a_run_is_no_interrupted_run(tmp_path, monkeypatch):
    def closed(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", lambda *_: {})
    monkeypatch.setattr(run, "become", closed)
    done = bears("run", "--source", "starter", "--serve", cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.strip() == "Stopped."


@pytest.mark.parametrize("name", ["run", "download"])
@pytest.mark.parametrize(
    ("own", "strict", "code"), [(0, False, 0), (0, True, 1), (2, False, 1), (2, True, 1)]
)
def test_only_files_of_ones_own_that_failed_are_exit_code_1(
    name, own, strict, code, tmp_path, monkeypatch
):
    """Addresses that are gone and drawn faults are planted or the web's affair; --strict counts."""
    out = {"failed_now": {"https://example.com/a.jpg": "HTTP_404: gone"}, "own_failed": own}
    whole = {"seconds": 0, "outcome": "up to date", **out}
    monkeypatch.setattr(pipeline, "run", lambda *_: {"download": whole})
    monkeypatch.setattr(pipeline, "run_one", lambda *_: whole)
    words = [name, "--project", "starter", *(["--strict"] if strict else [])]
    assert bears(*words, cwd=tmp_path).returncode == code
