"""What several test files need: small drawn pictures, rows made from numbers, children to kill."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT, SHIFT, drawn, saved

from bear_classifier.dataset.schema import Photo
from bear_classifier.runtime import user_cache
from bear_classifier.web import page_assets

BUSY = "f83e0f83e0f83e0f83e0f83e007c1f07c1f07c1f07c1f07c1f" + "ffc00" * 5 + "003ff" * 5
Child = Callable[..., "subprocess.Popen[str]"]
LONGEST = (  # files of more than about 15 seconds of a processor, the longest first
    "test_serving_load.py", "test_pipeline.py", "test_privacy.py", "test_train.py",
    "test_export.py", "test_api.py", "test_fetch_one.py", "test_serving.py", "test_web_run.py",
    "test_poison.py",
    "test_checkpoints.py", "test_basics.py", "test_review.py", "test_space.py",
    "test_acceptance.py", "test_printed.py", "test_page.py", "test_decoder.py", "test_plan.py",
    "test_ranks.py", "test_lr.py", "test_features.py", "test_trainable_part.py", "test_resume.py",
    "test_curve.py",
)  # fmt: skip


TRAINS = (  # what a network learned is in what they look at: a second instruction set runs them too
    "test_backbone.py", "test_checkpoints.py", "test_compare.py", "test_curve.py",
    "test_diagnose.py", "test_evaluate.py", "test_class_activation_map.py", "test_export.py",
    "test_frozen_forward.py",
    "test_mixed_precision.py", "test_basics.py", "test_ensembles.py", "test_features.py",
    "test_embedding_map.py", "test_privacy.py", "test_transfer.py", "test_failures.py",
    "test_lr.py", "test_micro_batches.py", "test_trainable_part.py", "test_pipeline.py",
    "test_acceptance.py",
    "test_probe.py", "test_plan.py", "test_ranks.py", "test_source_holdout.py",
    "test_shipped_model.py", "test_feature_shards.py", "test_starter.py",
    "test_train.py", "test_web_run.py",
)  # fmt: skip
BROWSER = all(shutil.which(name) for name in ("chromium", "chromedriver"))
MISSING = {  # marker of tests that need more than the checkout: is it missing, and what brings it
    "browser": (not BROWSER, "browser tests: install Debian's chromium and chromium-driver"),
    "firefox": (
        not (shutil.which("firefox-esr") or shutil.which("firefox")),
        "tests of pages in Firefox: install Debian's firefox-esr",
    ),
    "ray": (
        importlib.util.find_spec("ray") is None,
        'tests of the engine for many machines: pip install "bear-classifier[ray]"',
    ),
    "real": (
        not (ROOT.parent / "shared" / "photos").is_dir(),
        "tests with real photos and weights: they need the folder ../shared beside the checkout",
    ),
    "assets": (
        not all(map(page_assets.folder_of, page_assets.ASSETS)),
        "the page without a server: its libraries come by npm; run: bears assets",
    ),
}


def pytest_configure() -> None:
    """Tests that press Ctrl-C: a shell's background job ignores it, and so would its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["RAY_AUTH_TOKEN"] = "of-the-tests-" + "0" * 32  # Ray would write one into the home
    if "PYTEST_XDIST_WORKER" not in os.environ:  # which models passed is of this session alone
        kept = user_cache.cache_folder()
        os.environ["BEARS_CACHE"] = tempfile.mkdtemp(prefix="bears-tests-")
        if kept and (kept / "assets").is_dir():
            Path(os.environ["BEARS_CACHE"], "assets").symlink_to(kept / "assets")


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["BEARS_CACHE"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a long one that begins last is waited for by a worker that has
    nothing left to do (`make test` keeps this order by --no-loadscope-reorder)."""
    there = {path.name for path in Path(__file__).parent.rglob("test_*.py")}
    if gone := {*LONGEST, *TRAINS} - there:
        raise pytest.UsageError(f"conftest.py names {sorted(gone)}, which is not there")
    cases: Counter[tuple[Path, str]] = Counter()
    for item in items:
        if item.get_closest_marker("series"):
            name = item.path, item.name.partition("[")[0]
            if cases[name] % 6:
                item.add_marker("long")
            cases[name] += 1
        if item.path.name in TRAINS:
            item.add_marker("trains")
        for marker, (missing, reason) in MISSING.items():
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was skipped, how often and why: the reasons say what would bring the tests."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reasons[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")
    if SHIFT:
        terminalreporter.write_line(f"BEARS_TEST_SEED={SHIFT}")


@pytest.fixture
def fill() -> Callable[[Path, dict[str, int | bytes]], None]:
    """fill(root, {"grizzly/a.png": 7}): picture number 7 there, or the bytes given instead."""

    def write(root: Path, files: dict[str, int | bytes]) -> None:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else saved(drawn(seed=content), "PNG")
            path.write_bytes(data)

    return write


@pytest.fixture
def make() -> Callable[..., Photo]:
    """make(3, label="teddy"): a row whose hash is the number 3; its group too, unless given."""

    def photo(number: int, **facts: Any) -> Photo:
        sha256 = f"{number:064x}"
        usual = {
            "origin": f"/photos/{number}.png",
            "label": "grizzly",
            "format": "png",
            "width": 96,
            "height": 64,
            "bytes": 1000,
            "dhash": BUSY,  # of a picture full of edges
            "contrast": 50.0,
            "group": sha256,
        }
        return Photo(sha256, **usual | facts)

    return photo


@pytest.fixture
def child() -> Iterator[Child]:
    """child(code, *words): another Python; code may use sys.argv. Killed with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, words)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def drawn_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn photos with a trained tiny network, to look at; who changes it takes a copy."""
    from bundles import tiny_config, trained_dataset  # needs torch, which few tests do

    root = tmp_path_factory.mktemp("drawn")
    trained_dataset(root, tiny_config()).close()
    return root


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published bundle of a tiny network, to look at; who changes it takes a copy."""
    from bundles import tiny_config, trained_dataset  # needs torch, which few tests do

    from bear_classifier.ship.export import export

    root = tmp_path_factory.mktemp("model")
    config = tiny_config(export={"parity": 1})
    export(trained_dataset(root / "data", config), config, root / "tiny")
    return root / "tiny"
