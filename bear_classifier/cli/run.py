"""`bears run`: every stage that is not up to date, and the page at the end."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import options as shared
from bear_classifier.cli import project
from bear_classifier.cli.output import exit_code, note_printer, print_json, print_text
from bear_classifier.config.settings import SHIPPED
from bear_classifier.report import stage_lines
from bear_classifier.runtime import progress_events
from bear_classifier.runtime.terminal import command, one_line, project_of
from bear_classifier.stages import NAMES

PROGRAM = ["-m", "bear_classifier"]


def add_options(parser: argparse.ArgumentParser) -> None:
    shared.add_search_options(parser)
    shared.add_download_options(parser)
    until = f"stop after this stage: {', '.join(NAMES)}"
    parser.add_argument("--until", metavar="STAGE", choices=NAMES, default=NAMES[-1], help=until)
    again = "run this stage and those after it even where they are up to date"
    parser.add_argument("--again", metavar="STAGE", choices=NAMES, help=again)
    shared.add_engine_option(parser)
    shared.add_flag(parser, "--serve", "open the page at the end")
    shared.add_address_options(parser)


def run(options: argparse.Namespace) -> int:
    opened = project.named_project(options)
    results = pipeline.run(
        opened,
        options.until,
        lambda stage, out: _show(options, stage.name, out),
        options.again or "",
        note_printer(options),
    )
    report = results.get("evaluate", {}).get("test")
    places = {"data": str(opened.data), "model": str(opened.model)}
    progress_events.report("result", **places, report=report)
    if options.json:
        print_json({**places, "stages": results, "report": report})
    else:
        current = bool(report) and ("export" in results or pipeline.is_published(opened))
        print_text(options, summary(opened, report, current, project_of(options)))
    if options.serve:
        options.name = "serve"  # which ends where it is stopped
        return become(serving_words(options, _served(opened)))
    return exit_code(options, results.get("download", {}))


def _show(options: argparse.Namespace, name: str, outcome: Mapping[str, Any]) -> None:
    text = stage_lines.stage_text(name, outcome)
    state, seconds = outcome["outcome"], outcome["seconds"]
    progress_events.report("stage", name=name, state=state, seconds=seconds, text=text)
    print_text(options, text)


def summary(
    opened: pipeline.Project, test: Mapping[str, Any] | None, current: bool, words: Sequence[str]
) -> str:
    """What came of a run, and what to do next. current: whether what is published is what was
    judged; words: as `terminal.project_of`."""
    model = one_line(str(opened.model))
    lines = [one_line(f"data   {opened.data}")]
    if test is None:
        return "\n".join(["", *lines, "next   to go on, run: bears run"])
    from bear_classifier.judge.evaluate import as_text  # scikit-learn, which takes seconds

    lines = ["", as_text(dict(test)), "", *lines]
    if not current:
        old = (opened.model / "bundle.json").is_file()
        state = f"{model} is older than this evaluation" if old else "not published yet"
        return "\n".join([*lines, f"model  {state}", "next   to publish it, run: bears run"])
    lines += [f"model  {model}", "next   to open its page, run: bears serve"]
    return "\n".join([*lines, f"       {command('predict', *words, 'PHOTO')}"])


def serving_words(options: argparse.Namespace, model: Path) -> list[str]:
    """`bears serve` with what was asked of this command. model: a bundle, or a folder of them."""
    words = ["serve", str(model), f"--host={options.host}", f"--port={options.port}"]
    words += [f"--data={options.data}", f"--models={options.models}"]
    words += [f"--project={options.project}"] if options.project else []
    return words + [f"--set={setting}" for setting in options.set]


def _served(opened: pipeline.Project) -> Path:
    """The model that was made; with drawings, which show nothing but that it works, the one that
    the repository brings as well, and first."""
    beside = opened.model.parent
    drawn = opened.config.search.source == "starter"
    return beside if drawn and beside.resolve() == SHIPPED.parent else opened.model


def become(words: Sequence[str]) -> int:
    """Go on as `bears WORDS`, without this process's libraries: they take memory, and torch tells
    at the end of what it did not free.

    The process stays the same where that is possible, so that signals and its exit code are those
    of the command; on Windows it waits for another one. Returns the exit code, there only."""
    command = [sys.executable, *PROGRAM, *words]
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.execv(sys.executable, command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # it has heard that, too, and ends when all are answered
            continue
