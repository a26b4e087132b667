"""What the page shows of a job follows from the lines that its command has written so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bear_classifier.studio.job_progress import Progress, log_lines


def written(path: Path, *events: dict[str, Any]) -> Progress:
    """Half a line stands at the end, as while a command writes."""
    lines = [json.dumps({"at": float(n), **event}) for n, event in enumerate(events)]
    path.write_text("\n".join([*lines, '{"at": 9.0, "ki']), encoding="utf-8")
    progress = Progress(path)
    progress.read()
    return progress


def bar(n: int, name: str = "features") -> dict[str, Any]:
    return {"kind": "bar", "name": name, "n": n, "total": 100, "unit": "photo", "words": ""}


def epoch(number: int, of: str = "checkpoints", error: float = 0.1) -> dict[str, Any]:
    return {"kind": "epoch", "of": of, "epoch": number, "error": error, "epochs": 4}


def test_the_time_that_is_left_follows_from_the_bar_alone(tmp_path: Path) -> None:
    progress = written(tmp_path / "p", bar(90, "before"), bar(0), bar(10), bar(20))
    assert progress.bar and (progress.bar["n"], progress.bar["left_seconds"]) == (20, 8.0)
    again = written(tmp_path / "p", bar(90), bar(10))  # another bar of the same name
    assert again.bar and again.bar["left_seconds"] is None


def test_the_curve_is_that_of_the_model_and_begins_anew_where_it_does(tmp_path: Path) -> None:
    rows = [epoch(1), epoch(2), epoch(1, error=0.3), epoch(1, "source-half-1"), epoch(2)]
    progress = written(tmp_path / "p", *rows)
    assert [(row["epoch"], row["error"]) for row in progress.epochs] == [(1, 0.3), (2, 0.1)]


def test_stages_and_the_end(tmp_path: Path) -> None:
    begun = {"kind": "stage", "name": "probe", "state": "begun"}
    progress = written(tmp_path / "p", {"kind": "begun", "pid": 7}, begun, bar(1))
    assert (progress.pid, progress.stage, progress.code) == (7, "probe", None)
    done = {"kind": "stage", "name": "probe", "state": "done", "seconds": 1.0}
    progress = written(tmp_path / "p", begun, bar(1), done, {"kind": "end", "code": 0})
    assert (progress.stage, progress.bar, progress.code) == ("", None, 0)


def test_a_line_is_read_once_it_is_whole_and_odd_ones_are_passed_over(tmp_path: Path) -> None:
    progress = written(tmp_path / "p", epoch(1), {"kind": "odd"}, {"no": "kind"})
    with progress.path.open("a", encoding="utf-8") as file:
        file.write(f'nd": "x"}}\nnonsense\n{json.dumps({"at": 1, **epoch(2)})}\n')
    assert progress.read() and not progress.read()
    assert [row["epoch"] for row in progress.epochs] == [1, 2]
    assert not Progress(tmp_path / "none").read()


def test_the_end_of_a_log(tmp_path: Path) -> None:
    text = "first\n" + "x" * 20_000 + "\nwiped\rleft\n\n" + "\n".join(map(str, range(19))) + "\n"
    (tmp_path / "log").write_text(text, encoding="utf-8")
    assert log_lines(tmp_path / "log") == ["left", *map(str, range(19))]
    assert log_lines(tmp_path / "none") == []
