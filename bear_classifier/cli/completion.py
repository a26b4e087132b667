"""`bears completion`: completion of the command line in bash, zsh and fish, by argcomplete."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bear_classifier.cli.options import COMMANDS, module, parser
from bear_classifier.cli.output import print_result
from bear_classifier.config import project_edits, project_file
from bear_classifier.config.settings import Config
from bear_classifier.errors import BearsError

_INSTALL = """once for each shell:
  bash   add to ~/.bashrc:  eval "$(bears completion bash)"
  zsh    add to ~/.zshrc, after compinit:  eval "$(bears completion zsh)"
  fish   bears completion fish > ~/.config/fish/completions/bears.fish

New terminals then complete commands, options, stages, settings, classes and files with Tab. bears
has to be on the PATH, as it is in the environment it is installed in.
"""
_FREE_TEXT = {  # words that nobody can guess; a file would be the wrong offer
    *("title", "classes", "region", "host", "photo", "domain", "url", "sha256", "why")
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _INSTALL
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="whose code to print")


def run(options: argparse.Namespace) -> None:
    from argcomplete.shell_integration import shellcode

    code = shellcode(["bears"], use_defaults=False, shell=options.shell)
    print_result(options, {"shell": options.shell, "code": code}, lambda _: code.strip("\n"))


def complete_command_line() -> None:
    """Answer the shell, which says in COMP_LINE what was typed, and end the program."""
    from argcomplete import autocomplete

    typed = os.environ.get("COMP_LINE", "").split()
    autocomplete(
        parser([name for name in COMMANDS if name in typed]),
        always_complete_options="long",
        default_completer=_values,  # type: ignore[arg-type]  # of any call with these keywords
    )


def _values(
    prefix: str,
    action: argparse.Action,
    parser: argparse.ArgumentParser,
    parsed_args: argparse.Namespace,
    **_: object,
) -> list[str]:
    """What an option or an argument without choices may be; by default a file or a folder."""
    command = getattr(parser, "command", "")
    if action.type in (int, float) or action.dest in _FREE_TEXT:
        return []
    offer = _OFFERS.get(f"{command} {action.dest}") or _OFFERS.get(action.dest)
    if offer is None:
        return list(_paths(prefix))
    return [word for word in offer(prefix, parsed_args) if word.startswith(prefix)]


def _paths(prefix: str, suffixes: Sequence[str] = ()) -> Iterator[str]:
    """Files and, with a slash at the end, folders. suffixes: of the files; empty: any."""
    folder, slash, start = prefix.rpartition("/")
    place = Path(os.path.expanduser(f"{folder}/" if slash else "."))  # noqa: PTH111
    try:
        paths = sorted(place.iterdir())
    except OSError:
        return
    for path in paths:
        name = path.name
        if not name.startswith(start) or (name.startswith(".") and not start):
            continue
        if path.is_dir():
            yield f"{folder}{slash}{name}/"
        elif not suffixes or path.suffix in suffixes:
            yield f"{folder}{slash}{name}"


def _settings(prefix: str, _: object = None) -> Iterator[str]:
    """TABLE.KEY= and, behind the sign, the values of those that have few."""
    for table in dataclasses.fields(Config):
        if not dataclasses.is_dataclass(table.default):
            continue
        for field in dataclasses.fields(table.default):
            name = f"{table.name}.{field.name}="
            if not prefix.startswith(name):
                yield name
                continue
            values = ("true", "false") if field.type == "bool" else field.metadata["choices"]
            yield from (f"{name}{value}" for value in values)


def _comparisons(prefix: str, _: argparse.Namespace) -> Iterator[str]:
    """Presets, or settings; several of them are joined by commas."""
    from bear_classifier.experiments.compare.study import PRESETS

    before, comma, last = prefix.rpartition(",")
    yield from () if comma else (*PRESETS, "backbones")
    yield from (f"{before}{comma}{name}" for name in _settings(last))


def _sources(prefix: str, _: argparse.Namespace) -> Iterator[str]:
    from bear_classifier.collect.sources.registry import SEARCHES, SOURCES

    yield from (f"{name}:" if kind.takes_path else name for name, kind in SOURCES.items())
    kind, colon, path = prefix.partition(":")
    if colon and kind in SOURCES and SOURCES[kind].takes_path:
        of_folders = kind in ("folder", "unlabelled")
        names = _paths(path, SOURCES[kind].endings)
        yield from (f"{kind}:{name}" for name in names if not of_folders or name.endswith("/"))
        yield from (f"{kind}:{name}" for name in SEARCHES if kind == "unlabelled")


def _classes(prefix: str, options: argparse.Namespace) -> Iterable[str]:
    name = getattr(options, "project", None) or "bears.toml"
    try:
        path = project_file.STARTER if name == "starter" else Path(name)
        return project_file.read_project(path).labels
    except (BearsError, OSError):
        return ()


def _removed(prefix: str, options: argparse.Namespace) -> list[str]:
    path = Path(getattr(options, "project", None) or "bears.toml")
    try:
        return project_edits.removed_classes(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):  # also of TOML
        return []


_OFFERS: dict[str, Callable[[str, argparse.Namespace], Iterable[str]]] = {
    "set": _settings,
    "source": _sources,
    "device": lambda prefix, _: ("auto", "cpu", "cuda", "mps"),
    "project": lambda prefix, _: ["starter", *_paths(prefix, [".toml"])],
    "compare what": _comparisons,
    "lesson page": lambda prefix, _: module("lesson").page_names(),
    "remove": _classes,
    "restore": _removed,
}
