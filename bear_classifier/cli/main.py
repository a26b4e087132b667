"""The command line: runs one command; an error is one line and an exit code.

Exit codes: 0 done; 1 done, but files of yours failed; 2 cannot go on; 3 a model failed its
self-test; 130 interrupted."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from bear_classifier.cli.options import module, parse, parser
from bear_classifier.cli.output import print_json
from bear_classifier.errors import BearsError, ConfigError, NoCopy
from bear_classifier.runtime import progress_events, terminal
from bear_classifier.runtime.files import os_error
from bear_classifier.runtime.launcher import Launch, is_other_rank, launch_of
from bear_classifier.runtime.terminal import one_line
from bear_classifier.stages import NAMES

_RESUMED = {*NAMES, "run", "compare", "dataset", "features"}  # they go on where they were stopped


def main(argv: Sequence[str] | None = None) -> int:
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may follow
        from bear_classifier.cli.completion import complete_command_line

        complete_command_line()
    if is_other_rank():  # of a training in several processes: the first one prints and reports
        os.environ.pop(progress_events.VARIABLE, None)
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nothing,
            redirect_stdout(nothing),
            redirect_stderr(nothing),
        ):
            return _main(argv)
    progress_events.begin_log()
    code = 2
    try:
        code = _main(argv)
    except SystemExit as exc:  # by the parser
        code = exc.code if isinstance(exc.code, int) else 2
        raise
    finally:
        progress_events.end_log(code)
    return code


def _main(argv: Sequence[str] | None) -> int:
    terminal.prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        terminal.say(parser().format_help().rstrip("\n"))
        return 0
    options = parse(words)
    warnings.simplefilter("ignore")  # of libraries, about themselves; ours are errors in tests
    warnings.simplefilter("default", NoCopy)
    warnings.showwarning = _warned
    if options.quiet or options.json:
        os.environ["TQDM_DISABLE"] = "1"
    launch = Launch()
    try:
        launch = launch_of()
        _check_launch(options.name, launch)
        return int(module(options.name).run(options) or 0)
    except BearsError as exc:
        return _failed(options, exc)
    except KeyboardInterrupt:
        resumed = options.name in _RESUMED or (options.name == "predict" and options.csv)
        go_on = f" Continue with: {terminal.command(*words)}" if resumed else ""
        if launch.world > 1:
            go_on = " Start it again with the same command, and it goes on."
        terminal.warn("\n" + one_line(f"Stopped.{go_on}"))
        return 130
    except BrokenPipeError:  # the reader, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:  # what nobody met where it happened
        return _failed(options, os_error(exc))


def _check_launch(name: str, launch: Launch) -> None:
    """Only training can be done by several processes. Raises ConfigError (ONE_PROCESS)."""
    if launch.world > 1 and name != "train":
        words = f"{launch.world} processes were started, and only bears train uses more than one"
        if name == "run":
            words += "; train by the launcher once all before it is done. Without the launcher"
            raise ConfigError("ONE_PROCESS", f"{words}, run: bears run --until clean")
        raise ConfigError("ONE_PROCESS", f"{words}; without the launcher, run: bears {name}")


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    terminal.warn(one_line(f"bears: {message}"))


def _failed(options: argparse.Namespace, exc: BearsError) -> int:
    whole = terminal.completed("\n".join([exc.sentence, *exc.rows]), terminal.project_of(options))
    progress_events.report("error", code=exc.code, sentence=whole)
    if options.json:
        print_json({"error": {"code": exc.code, "message": whole}})
    lines = [f"bears: {exc.code}: {exc.sentence}", *exc.rows]
    terminal.complain(options, "\n".join(map(one_line, lines)))
    return max(exc.exit_code, 2)
