"""Lines of the log: JSON, whatever is logged by whom, and never what may be a name."""

from __future__ import annotations

import json
import logging
import sys
import warnings

import pytest

from bear_classifier.serve.monitoring import Lines, error_places, logging_to_stderr

NAME = "holiday-at-home.jpg"


def failing() -> None:
    try:
        raise ValueError(f"cannot read {NAME}")
    except ValueError as exc:
        raise RuntimeError(f"while {NAME}") from exc


def test_an_error_is_told_by_its_kind_and_place() -> None:
    try:
        failing()
    except RuntimeError as exc:
        said = error_places(exc)
    assert said.startswith("RuntimeError < test_monitoring.py:")
    assert "; ValueError < test_monitoring.py:" in said and NAME not in said


def test_each_line_is_json_whoever_writes_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uvicorn", "uvicorn.error"):  # as another test in this process may have left them
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    with logging_to_stderr():
        logging.getLogger("bears").info("request", extra={"request": "ab12", "status": 200})
        logging.getLogger("uvicorn.error").error("Exception in ASGI application for %s\n", NAME)
        logging.getLogger("asyncio").error(f"Task exception was never retrieved: {NAME}")
        logging.getLogger("py.warnings").warning(f"{NAME} is odd\nin two lines")
        try:
            failing()
        except RuntimeError:
            logging.getLogger("bears").error("a mistake of ours", exc_info=sys.exc_info())
    said = capsys.readouterr().err
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["level"] for row in rows] == ["info", "error", "error", "warning", "error"]
    assert rows[0]["event"] == "request" and rows[0]["status"] == 200
    assert [row["event"] for row in rows[1:4]] == ["uvicorn.error", "asyncio", "py.warnings"]
    assert NAME not in json.dumps(rows)


def test_warnings_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), logging_to_stderr():
        warnings.simplefilter("always")
        warnings.warn(f"about {NAME}", UserWarning, stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "py.warnings" and NAME not in line


def test_what_is_logged_by_default_is_formatted_by_lines() -> None:
    row = logging.LogRecord("bears", logging.INFO, "x.py", 1, "hello", (), None)
    assert json.loads(Lines().format(row))["event"] == "hello"
