"""The speed programs: their arithmetic on made-up numbers, --help, and the page that is written."""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import ROOT

FOLDER = ROOT / "benchmarks"
sys.path.append(str(FOLDER))  # last: no module of the tests may be hidden

import all as every  # noqa: E402
import paired  # noqa: E402
import scale  # noqa: E402
import versus  # noqa: E402
from waiting import STUCK  # noqa: E402

from bear_classifier.runtime.processors import processors  # noqa: E402

HEAVY = {"torch", "fastai", "onnxruntime", "gradio", "sklearn", "cleanlab"}
OLDER = {"lesson", "cleaning", "cleaning_data"}  # import what they need at once


def test_a_ratio_is_of_each_round_not_of_the_medians() -> None:
    found = versus.ratio([10.0, 30.0, 8.0], [1.0, 10.0, 4.0])
    assert found == versus.Ratio(3.0, 2.0, 10.0)
    assert str(found) == "3 (2 .. 10)"
    with pytest.raises(ValueError, match="shorter"):
        versus.ratio([1.0, 2.0], [1.0])


def test_goals() -> None:
    four = versus.Ratio(4.0, 3.5, 4.5)
    assert versus.at_least("x", four, 4).word == "met"
    assert versus.at_least("x", four, 4.1).word == "MISSED"
    assert versus.at_most("x", four, 4).word == "met"
    missed = versus.at_most("memory", 141.0, 140, "MB")
    assert (missed.limit, missed.found, missed.word) == ("<= 140 MB", "141 MB", "MISSED")
    assert versus.Goal("x", "", "", None).word == "told"


def test_spread() -> None:
    assert versus.spread([0.002, 0.001, 0.004], 1000) == "2 (1 .. 4)"
    assert versus.spread([1.2345, 0.1, 1234.5]) == "1.23 (0.1 .. 1,234)"


def test_sides_have_turns() -> None:
    order: list[str] = []
    sides = {name: partial(lambda name: order.append(name) or len(order), name) for name in "ab"}
    found = versus.alternated(sides, 3)
    assert "".join(order) == "ababab"
    assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}


def power(base: int) -> Any:
    return lambda exponent: base**exponent


def test_a_side_is_a_process_that_waits_and_says_what_went_wrong() -> None:
    with versus.Side(power, 2) as side:
        assert [side.turn(n) for n in (3, 4)] == [8, 16]
        with pytest.raises(RuntimeError, match="TypeError"):
            side.turn("x")
        assert side.turn(5) == 32
    assert versus.apart(os.getpid) != os.getpid()


def test_near_copies_are_held_out_together_and_of_each_class_a_fifth() -> None:
    labels = np.array(["a"] * 50 + ["b"] * 100)
    groups = np.array([f"{n // 2}" for n in range(150)])
    out = paired.held_out(labels, groups, seed=1)
    assert (out[:50].sum(), out[50:].sum()) == (10, 20)
    assert (out[::2] == out[1::2]).all()
    assert (out == paired.held_out(labels, groups, seed=1)).all()
    assert (out != paired.held_out(labels, groups, seed=2)).any()


def test_errors_no_worse() -> None:
    from bear_classifier.stats.paired import paired_comparison

    theirs, mine = np.array([True, True, False, False]), np.array([True, False, False, False])
    goal = paired.error_goal(paired_comparison(theirs, mine, np.arange(4)), 1, 0)
    assert goal.met
    assert goal.found.startswith("1 against 2; 1 put right, 0 newly wrong")
    assert not paired.error_goal(paired_comparison(mine, theirs, np.arange(4)), 0, 1).met


def test_n_log_n_is_allowed_and_the_square_is_not() -> None:
    assert scale.exponent(1.0, 100.0, (10, 100)) == pytest.approx(2.0)
    assert scale.allowed((1000, 10_000)) == pytest.approx(1.2389, abs=1e-4)
    told = versus.Told([])
    seconds = {100: {"square": 1.0, "short": 0.001, "memory": 1e6}}
    scale.judged([100, 1000], seconds | {1000: {"square": 100.0, "short": 1, "memory": 2e6}}, told)
    assert [(goal.word, goal.found) for goal in told.goals] == [("MISSED", "2.00")]
    assert told.rows[-1] == ["memory, MB", "1", "2", ""]


def test_up_to_a_million_photos_less_is_allowed() -> None:
    told = versus.Told([])
    few = {"near-duplicates": 4.0, "memory": 4e8, "memory: stored": 4e8, "written: stored": 1e6}
    many = {"near-duplicates": 60.0, "memory": 5e9, "memory: stored": 5e9, "written: stored": 1e7}
    scale.judged([100_000, 1_000_000], {100_000: few, 1_000_000: many}, told)
    assert [(goal.word, goal.limit) for goal in told.goals] == [
        ("MISSED", "<= 1.15"),
        ("met", "<= 60 s"),
        ("met", "<= 300 s"),
        ("MISSED", "<= 4 GB"),
    ]
    assert [row[0] for row in told.rows[1:]] == [
        "memory, MB",
        "memory, MB: stored",
        "written, MB: stored",
    ]


def test_what_is_measured_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = argparse.Namespace(json=tmp_path / "new" / "x.json", quick=True)
    goal = versus.Goal("faster", ">= 4 times", "5 (4 .. 6)", True)
    told = versus.Told(["side", "s"], [["ours", "1"]], [goal], ["One note"], {"n": [1]})
    assert versus.measured(words, "x", "About it.\n\nMore.", lambda: told) == 0
    said = capsys.readouterr().out
    assert "| ours | 1 |" in said
    assert "met    faster" in said
    found = json.loads(words.json.read_text(encoding="utf-8"))
    assert (found["about"], found["facts"], len(found["calibration"])) == (
        "About it.",
        {"n": [1]},
        2,
    )
    assert found["machine"]["processors"] == processors()
    told.goals.append(versus.Goal("smaller", "", "", False))
    assert versus.measured(words, "x", "About it.", lambda: told) == 1


def result(name: str, **facts: Any) -> dict[str, Any]:
    goals = [
        {"about": "faster", "limit": ">= 4 times", "found": "5 (4 .. 6)", "met": True},
        {"about": "smaller", "limit": ">= 6 times", "found": "2 (2 .. 2)", "met": False},
        {"about": "also", "limit": "no goal was set", "found": "1", "met": None},
    ]
    machine = {"processor": "Z80", "processors": 2, "python": "3.11", "versions": {"torch": "2"}}
    usual = {
        "program": name, "about": f"What {name} does.", "date": "2026-01-02T03:04+00:00",
        "quick": False, "seconds": 61.4, "calibration": [3.0, 3.25], "machine": machine,
        "head": ["side", "s"], "rows": [["ours", "1"]], "goals": goals, "notes": ["One note"],
    }  # fmt: skip
    return usual | facts


def test_the_page() -> None:
    old = result("scale", machine=result("x")["machine"] | {"processor": "6502"},
                 date="2025-01-01T00:00+00:00", quick=True)  # fmt: skip
    text = every.page(
        {"one_photo": result("one_photo"), "scale": old}, {"train": "Not run: no photos."}
    )
    assert "Z80, 2 processors; Python 3.11, torch 2.\n\n2 of 4 goals are met." in text
    start = text.index("## one_photo")
    assert text.index("## train\n\nNot run: no photos.") < start < text.index("## scale")
    assert text[start : text.index("## scale")].strip() == (
        "## one_photo\n\nWhat one_photo does.\n\n"
        "| side | s |\n| ---- | - |\n| ours | 1 |\n\n"
        "* One note\n* 2026-01-02T03:04+00:00, 61 s; calibration 3.00 and 3.25 ms.\n\n"
        "| goal    | limit           | found      |            |\n"
        "| ------- | --------------- | ---------- | ---------- |\n"
        "| faster  | >= 4 times      | 5 (4 .. 6) | met        |\n"
        "| smaller | >= 6 times      | 2 (2 .. 2) | **MISSED** |\n"
        "| also    | no goal was set | 1          | told       |"
    )
    assert "6502, 2 processors" in text[text.index("## scale") :]
    assert "`--quick`" in text
    assert every.page({}, {}) == every.HEAD


def test_a_section_of_which_there_is_no_json_stays() -> None:
    """As in a fresh clone; it says on which machine it was measured, once that is another one."""
    before = every.page({"one_photo": result("one_photo"), "train": result("train")}, {})
    assert every.page({}, {}, before) == before
    machine = result("x")["machine"] | {"processor": "6502"}
    new = result("scale", machine=machine, date="2027-01-01T00:00+00:00")
    text = every.page({"scale": new}, {}, before)
    assert "6502, 2 processors; Python 3.11, torch 2.\n\n3 of 6 goals are met." in text
    kept = text[text.index("## one_photo") : text.index("## scale")]
    assert kept.count("Z80, 2 processors") == 1 and "| ours | 1 |" in kept
    assert every.page({"scale": new}, {}, text) == text
    again = every.page({"scale": new, "train": result("train")}, {"one_photo": "Not run."}, text)
    assert "Not run." in again and again.count("## one_photo") == 1 and "| ours | 1 |" in again


def test_a_program_that_fails_takes_nothing_from_its_last_result(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text(json.dumps(result("scale")), encoding="utf-8")
    assert not every.run("scale", tmp_path, ["--no-such-option"])
    assert not every.run("train", tmp_path, [], "Not run: the weights are not there.")
    found, failed = every.read(tmp_path)
    assert list(found) == ["scale"]
    assert failed == {
        "scale": "Its last run ended with code 2 and found nothing.",
        "train": "Not run: the weights are not there.",
    }


def programs() -> list[Path]:
    return [p for p in sorted(FOLDER.glob("*.py")) if "\ndef main(" in p.read_text("utf-8")]


@pytest.mark.long
def test_every_program_says_how_it_is_used() -> None:
    assert {path.stem for path in programs()} >= set(every.PROGRAMS)
    running = {
        path: subprocess.Popen(
            [sys.executable, path, "--help"], stdout=subprocess.PIPE, encoding="utf-8"
        )
        for path in programs()
        if path.stem not in OLDER
    }
    for path, process in running.items():
        said, _ = process.communicate(timeout=STUCK)
        assert process.returncode == 0, path.name
        assert said.startswith("usage:"), path.name


def test_speed_programs_import_nothing_heavy_before_they_work() -> None:
    """A parent with torch in it would also be the peak memory of each child that it measures."""
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem in OLDER:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & HEAVY, path.name


def test_no_module_is_too_long() -> None:
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 300, path.name
