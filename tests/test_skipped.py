"""What the end of a run of tests says, and how one setting shifts what all of them draw."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import conftest
import pytest
from corpus import ROOT, SHIFT, drawn, seeded


def summary(*reasons: str, monkeypatch: pytest.MonkeyPatch, shift: int = 0) -> list[str]:
    said: list[str] = []
    skipped = [SimpleNamespace(longrepr=("tests/x.py", 1, f"Skipped: {why}")) for why in reasons]
    monkeypatch.setattr(conftest, "SHIFT", shift)
    reporter = SimpleNamespace(stats={"skipped": skipped}, write_line=said.append)
    conftest.pytest_terminal_summary(reporter)
    return said


def test_what_was_skipped_is_said_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    browser, real = (conftest.MISSING[name][1] for name in ("browser", "real"))
    said = summary(browser, real, browser, monkeypatch=monkeypatch)
    assert said == [f"2 skipped: {browser}", f"1 skipped: {real}"]
    assert "install Debian's chromium and chromium-driver" in browser
    assert "../shared" in real
    assert summary(monkeypatch=monkeypatch) == []


def test_seeds_that_were_shifted_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert summary(monkeypatch=monkeypatch, shift=2) == ["BEARS_TEST_SEED=2"]


def test_one_setting_shifts_what_is_drawn() -> None:
    code = "import corpus; print(corpus.seeded(3), corpus.drawn(seed=3).tobytes()[:30].hex())"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / "tests",
            env={"PYTHONPATH": str(ROOT), "BEARS_TEST_SEED": shift, "PATH": ""},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.split()
        for shift in ("", "1")
    ]
    assert found[0][0] == "3" != found[1][0]
    assert found[0][1] != found[1][1]
    assert SHIFT or found[0] == [str(seeded(3)), drawn(seed=3).tobytes()[:30].hex()]
