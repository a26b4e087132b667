"""The command line: one sub-command per stage; an error is one line and an exit code.

Exit codes: 0 done; 1 done, but files of yours failed; 2 cannot go on; 3 a model failed its
self-test; 130 interrupted."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier.cli.options import parse, parser
from bear_classifier.errors import BearsError, ConfigError, NoCopy, PhotoError
from bear_classifier.runtime.files import refused, writable, write_atomic
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import (
    command,
    complain,
    completed,
    one_line,
    prepare,
    project_of,
    say,
    tell,
    warn,
)
from bear_classifier.stages import NAMES

if TYPE_CHECKING:
    from bear_classifier import pipeline


def main(argv: Sequence[str] | None = None) -> int:
    prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        say(parser().format_help().rstrip("\n"))
        return 0
    options = parse(words)
    work = _WORK.get(options.name, _stage)
    warnings.simplefilter("ignore")  # of libraries, about themselves; ours are errors in tests
    warnings.simplefilter("default", NoCopy)
    warnings.showwarning = _warned
    if options.quiet or options.json:
        os.environ["TQDM_DISABLE"] = "1"
    try:
        return work(options)
    except BearsError as exc:
        return _failed(options, exc)
    except KeyboardInterrupt:
        go_on = f" Continue with: {command(*words)}" if options.name in _GOING_ON else ""
        warn("\n" + one_line(f"Stopped.{go_on}"))
        return 130
    except BrokenPipeError:  # the reader, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:  # what nobody met where it happened
        return _failed(options, refused(exc))


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    warn(one_line(f"bears: {message}"))


def _failed(options: argparse.Namespace, exc: BearsError) -> int:
    if options.json:
        said = completed(exc.sentence, project_of(options))
        print(json.dumps({"error": {"code": exc.code, "message": said}}))
    complain(options, one_line(f"bears: {exc}"))
    return max(exc.exit_code, 2)


def _project(options: argparse.Namespace) -> pipeline.Project:
    from bear_classifier import pipeline

    name = options.project or ("starter" if options.source == "starter" else "bears.toml")
    overrides = list(options.set)
    for key in ("source", "licence", "size", "region"):
        if value := getattr(options, key, None):
            overrides.append(f"search.{key}={json.dumps(value, ensure_ascii=False)}")
    if getattr(options, "per_class", None) is not None:
        overrides.append(f"search.per_class={options.per_class}")
    if options.retry:
        overrides.append("download.retry=true")
    if options.device:
        overrides.append(f"learn.device={options.device}")
    return pipeline.open_project(name, overrides, options.data, options.models)


def _model(options: argparse.Namespace) -> Path:
    return options.model or _project(options).model


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json and not options.quiet:
        tell(options, text)


def _new(options: argparse.Namespace) -> int:
    from bear_classifier.config import project_file

    classes = {label: [label] for label in options.classes}
    if len(classes) < len(options.classes):
        raise ConfigError("BAD_CLASS", "the same class was given twice")
    project = project_file.build({"name": options.title, "classes": classes}, where="bears new")
    path = Path(f"{project.name}.toml")
    if path.exists():
        raise ConfigError(
            "EXISTS", f"{path} exists and is kept; choose another name or move it away"
        )
    write_atomic(path, project_file.as_toml(project).encode())
    _say(
        options,
        f"wrote {path}; use your photos with --source folder:PATH (a folder per class), or search"
        f" the web for them; run: {command('run', '--project', str(path), '--source', 'web')}",
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    from bear_classifier import pipeline
    from bear_classifier.cli import messages
    from bear_classifier.report import stage_lines

    project = _project(options)
    results = pipeline.run(
        project,
        options.until,
        lambda stage, out: _say(options, stage_lines.stage(stage.name, out)),
        options.again or "",
        lambda sentence: complain(options, one_line(sentence)),
    )
    report = results.get("evaluate", {}).get("test")
    if options.json:
        print(
            json.dumps(
                {
                    "data": str(project.data),
                    "model": str(project.model),
                    "stages": results,
                    "report": report,
                }
            )
        )
    else:
        current = bool(report) and ("export" in results or pipeline.is_published(project))
        _say(options, messages.summary(project, report, current, project_of(options)))
    if options.serve:
        from bear_classifier.runtime import new_process

        options.name = "serve"  # which ends where it is stopped
        return new_process.become(serving_words(options, _shown(project)))
    return _fell_short(options, results.get("download", {}))


def _fell_short(options: argparse.Namespace, outcome: Mapping[str, Any]) -> int:
    """Of a download: addresses that failed are the web's affair, and drawn faults are planted."""
    return int(bool(outcome.get("failed_now" if options.strict else "own_failed")))


def serving_words(options: argparse.Namespace, model: Path) -> list[str]:
    """`bears serve` with what was asked of this command. model: a bundle, or a folder of them."""
    words = ["serve", str(model), f"--host={options.host}", f"--port={options.port}"]
    words += [f"--data={options.data}", f"--models={options.models}"]
    words += [f"--project={options.project}"] if options.project else []
    return words + [f"--set={setting}" for setting in options.set]


def _shown(project: pipeline.Project) -> Path:
    """The model that was made; with drawings, which show nothing but that it works, the one that
    the repository brings as well, and first."""
    from bear_classifier.config.settings import SHIPPED

    beside = project.model.parent
    drawn = project.config.search.source == "starter"
    return beside if drawn and beside.resolve() == SHIPPED.parent else project.model


def _stage(options: argparse.Namespace) -> int:
    from bear_classifier import pipeline
    from bear_classifier.report import stage_lines

    outcome = pipeline.run_one(
        _project(options), options.name, lambda sentence: complain(options, one_line(sentence))
    )
    if options.json:
        print(json.dumps(outcome))
    _say(options, stage_lines.stage(options.name, outcome))
    return _fell_short(options, outcome)


def _evaluate(options: argparse.Namespace) -> int:
    if options.photos is None and options.strangers is None and options.model is None:
        from bear_classifier import pipeline
        from bear_classifier.cli import messages

        outcome = pipeline.run_one(_project(options), "evaluate")
        if options.json:
            print(json.dumps(outcome["test"]))
        else:
            tell(options, messages.report(outcome["test"]))
        return 0
    from bear_classifier.cli.evaluate import judge

    dataset = None if options.model else _project(options).data
    return judge(options, _model(options), dataset)


def _predict(options: argparse.Namespace) -> int:
    with heartbeat("predict"):  # a large HEIC takes seconds; each line takes the clock's place
        return _predictions(options)


def _predictions(options: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from bear_classifier.cli import messages
    from bear_classifier.runtime.files import printable
    from bear_classifier.ship.bundle import load

    if options.csv:
        writable(options.csv)
    with ThreadPoolExecutor(1) as pool:  # files are verified while libraries are imported
        loading = pool.submit(load, _model(options))
        from bear_classifier.ship.predict import answers
        from bear_classifier.ship.sandbox import trust

        bundle = loading.result()
    trust(bundle)
    failed, table = 0, []
    for path, said in answers(bundle, options.paths):
        row: dict[str, Any] = {"path": printable(path)}
        if isinstance(said, PhotoError):
            row["error"] = {"code": said.code, "message": said.sentence}
            failed += 1
        else:
            row |= dataclasses.asdict(said)
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            tell(options, messages.prediction(row))
        if options.csv:
            table.append(row)
    if options.csv:
        messages.write_csv(options.csv, table, bundle.labels)
    return int(failed > 0)


def _serve(options: argparse.Namespace) -> int:
    from bear_classifier.config.settings import ServeConfig
    from bear_classifier.serve.uvicorn_server import serve

    settings = ServeConfig()
    if options.project or Path("bears.toml").exists():
        settings = _project(options).config.serve
    elif options.set:  # of no project: those of the starter's are as they come
        from bear_classifier import pipeline

        settings = pipeline.open_project("starter", options.set).config.serve
    serve(_model(options), options.host, options.port, settings)
    return 0


def _space(options: argparse.Namespace) -> int:
    from bear_classifier.ship.space import space, space_text

    done = space(options.model, options.out)
    if options.json:
        print(json.dumps(dataclasses.asdict(done), default=str))
    _say(options, space_text(done))
    return 0


def _attribution(options: argparse.Namespace) -> int:
    from bear_classifier import pipeline
    from bear_classifier.collect.rights.attribution import attribution, attribution_text

    project = _project(options)
    with pipeline.existing(project) as catalog, heartbeat("attribution"):
        outcome = attribution(catalog, project.config)
    _result(options, outcome, attribution_text)
    return 0


def _take_down(options: argparse.Namespace) -> int:
    from bear_classifier import pipeline
    from bear_classifier.collect.rights.take_down import take_down, take_down_text

    kind = next(k for k in ("domain", "url", "sha256") if getattr(options, k) is not None)
    with pipeline.existing(_project(options)) as catalog, catalog.lock("take-down"):
        outcome = take_down(catalog, kind, getattr(options, kind), "take-down", options.why)
    _result(options, outcome, take_down_text)
    return 0


def _status(options: argparse.Namespace) -> int:
    from bear_classifier import pipeline
    from bear_classifier.cli import messages

    found = pipeline.status(_project(options))
    _result(options, found, messages.status)
    return 0


def _result(
    options: argparse.Namespace, found: dict[str, Any], words: Callable[[dict[str, Any]], str]
) -> None:
    """What was asked for, which --quiet does not keep back."""
    if options.json:
        print(json.dumps(found))
    else:
        tell(options, words(found))


def _lesson(options: argparse.Namespace) -> int:
    from bear_classifier.cli import lesson

    if not options.project and not Path("bears.toml").exists():
        options.project = "starter"
    return lesson.lesson(options, lambda: _project(options))


def _elsewhere(options: argparse.Namespace) -> int:
    module = importlib.import_module(f"bear_classifier.{ELSEWHERE[options.name]}")
    return int(module.COMMANDS[options.name](options, _project(options)))


_GOING_ON = {*NAMES, "run", "compare"}  # commands that go on where they were stopped
ELSEWHERE = {  # modules that are imported only when they are needed, and their COMMANDS
    **dict.fromkeys(("clean", "review", "history", "undo", "restore"), "cli.clean"),
    "classes": "cli.classes",
    "curve": "cli.curve",
    "report": "report.build",
    "lr": "experiments.lr.study",
    "compare": "experiments.compare.study",
}
_WORK = {
    "new": _new,
    "run": _run,
    "evaluate": _evaluate,
    "predict": _predict,
    "serve": _serve,
    "space": _space,
    "lesson": _lesson,
    "status": _status,
    "attribution": _attribution,
    "take-down": _take_down,
    **dict.fromkeys(ELSEWHERE, _elsewhere),
}
