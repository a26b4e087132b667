"""The parser of the command line: its commands, shared options, and help for mistyped words.

A command's own options stand in its module, which is imported only when the command is used."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, Protocol

from bear_classifier import __version__
from bear_classifier.config.settings import Config
from bear_classifier.runtime.terminal import one_line, warn

_EXAMPLES = """examples:
  bears run --source starter --serve             try everything, without photos or a network
  bears run --source web                         search the web for the classes' queries
  bears run --source openverse --licence commercial
  bears run --source folder:photos               photos/grizzly, photos/black, photos/teddy
  bears new mushrooms --class "fly agaric" --class "death cap"
  bears run --project mushrooms.toml --source folder:my_mushrooms
  bears review                                   look at what seems wrong with the photos
  bears predict holiday.jpg photos_of_2026/
  bears serve
"""
COMMANDS = {  # name -> its module beside this one, and what it does
    "new": ("new", "write a project file for other classes"),
    "run": ("run", "run every stage that is not up to date"),
    "search": ("stage", "find candidates in the source"),
    "download": ("stage", "fetch, verify and store the candidates"),
    "screen": ("stage", "set aside unusable photos and group near-copies"),
    "split": ("stage", "assign photos to the train, valid and test splits, permanently"),
    "features": ("features", "compute the features of the photos, on several machines at once"),
    "probe": ("stage", "fit the first model on cached features"),
    "train": ("stage", "fine-tune the network"),
    "export": ("export", "publish the model as a bundle, or write its weights for another library"),
    "evaluate": ("evaluate", "evaluate the model on its test split, or a bundle on a folder"),
    "predict": ("predict", "classify photos and folders of photos"),
    "watch": ("watch", "classify photos as they come into a folder"),
    "studio": ("studio", "build a classifier on one page, step by step"),
    "serve": ("serve", "open the web page and the API of a model"),
    "space": ("space", "write a folder that Hugging Face Spaces or a container runs"),
    "push": ("push", "upload a model to the Hugging Face Hub"),
    "assets": ("assets", "fetch what lets a model run in a visitor's browser (by npm)"),
    "clean": (
        "clean",
        "find label errors and outliers by a second look at all photos, and decide on them from a"
        " table",
    ),
    "review": ("review", "open the cleaning page"),
    "gallery": ("review", "look at what was downloaded, by class and source"),
    "label": ("label", "confirm classes of photos without a label, the most useful first"),
    "history": ("history", "show what was decided, by whom and why"),
    "undo": ("undo", "take back the last decision, or an older one by its number"),
    "restore": ("restore", "put back the newest copy of a damaged catalog"),
    "curve": ("curve", "measure whether more photos would help, and of which class most"),
    "report": ("report", "write a report on the model and its photos as one page"),
    "lr": ("lr", "find a learning rate, draw how it was found, and explain it"),
    "compare": ("compare", "compare training recipes with the same photos, seeds and budget"),
    "lesson": ("lesson", "show how training works, page by page, with checked claims"),
    "status": ("status", "show what there is and what is up to date"),
    "stats": ("stats", "show how fast the stages were, and what more photos would take"),
    "classes": ("classes", "show the classes, take one out of the project, or put it back"),
    "attribution": ("attribution", "write who made each photo, where it stands and its licence"),
    "dataset": ("dataset", "write the photos in use as folders or shards for other programs"),
    "take-down": ("take_down", "stop using photos of a site, an address or a file"),
    "completion": ("completion", "print the shell code for completion in bash, zsh or fish"),
}


class Parser(argparse.ArgumentParser):
    """Takes no abbreviated option, which another option may make ambiguous later, and guesses what
    a mistyped word was meant to be."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        if found := _CHOICE.search(message):
            near = _guess(found[1].strip("'\""), re.findall(r"[\w-]+", found[2]))
            message = message[: found.end(1)] + near if near else message
        super().error(one_line(message))


_CHOICE = re.compile(r"invalid choice: ('[^']*'|\"[^\"]*\") \(choose from (.*)\)$", re.DOTALL)


class OldName(argparse.Action):
    """An option under the name of an earlier version: it works, and its new name is said once."""

    def __init__(self, *words: Any, new: str, **facts: Any) -> None:
        super().__init__(*words, **facts)
        self.new = new

    def __call__(self, parser: Any, options: Any, value: Any, name: str | None = None) -> None:
        warn(f"bears: {name} is now called {self.new}; the old name works until version 0.3")
        setattr(options, self.dest, value)


class CommandParser(Parser):
    """The parser of one command: its module adds its options when it is first used."""

    command = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.fill()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        self.fill()
        return super().format_help()

    def fill(self) -> None:
        if not self.get_default("parser"):
            self.set_defaults(
                name=self.command, parser=self, source=None, retry=False, strict=False, engine=None
            )
            module(self.command).add_options(self)


def module(command: str) -> ModuleType:
    """With `add_options(parser)` and `run(options)`, which returns the exit code or None: 0."""
    return importlib.import_module(f"bear_classifier.cli.{COMMANDS[command][0]}")


def _guess(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line. Ends the program with exit code 2 where it makes no sense."""
    options, rest = parser().parse_known_args(words)
    if rest:
        made = options.parser
        option = rest[0].partition("=")[0]
        known = ["--help", *re.findall(r"(?<![\w-])--[a-z][\w-]*", made.format_usage())]
        hint = _setting(option) or _guess(option, known)
        made.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return options


def _setting(option: str) -> str:
    """Where what looks like an option is a setting."""
    key = option.lstrip("-").replace("-", "_")
    names = [f.name for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.default)]
    for table in names if option.startswith("--") else ():
        if key in {f.name for f in dataclasses.fields(getattr(Config, table))}:
            return f"; did you mean --set {table}.{key}=VALUE?"
    return ""


def parser(filled: Sequence[str] = ()) -> Parser:
    """All commands; docs/COMMANDS.md is made from it. filled: those that get their options
    at once, and not when they are first used."""
    common = CommandParser(add_help=False)
    group = common.add_argument_group("common options")
    add = group.add_argument
    add("--project", metavar="FILE", help='project file, or "starter" (default: bears.toml)')
    for name, what in (("data", "datasets"), ("models", "models")):
        about = f"where {what} lie (default: {name})"
        add_path(group, f"--{name}", "DIR", about, default=Path(name))
    override = "override a setting of the project file; may be repeated"
    add("--set", metavar="TABLE.KEY=VALUE", action="append", default=[], help=override)
    add("--device", help='where to train: "auto", "cpu", "cuda", "cuda:1" or "mps"')
    add_flag(group, "--json", "print JSON instead of words")
    add_flag(group, "--quiet", "print only errors and results")
    top = Parser(
        prog="bears",
        description="From a folder of photos to a checked image classifier and its web page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"bears {__version__}")
    commands = top.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name, (_, about) in COMMANDS.items():
        made = commands.add_parser(
            name, parents=[common], help=about, description=f"{about[0].upper()}{about[1:]}."
        )
        made.command = name
        if name in filled:
            made.fill()
    return top


class Options(Protocol):
    """What takes options: a parser or a group of it."""

    def add_argument(self, *args: Any, **kwargs: Any) -> Any: ...


def add_flag(parser: Options, name: str, about: str) -> None:
    parser.add_argument(name, action="store_true", help=about)


def add_path(parser: Options, name: str, metavar: str, about: str, **more: Any) -> None:
    parser.add_argument(name, metavar=metavar, type=Path, help=about, **more)


def add_number(parser: Options, name: str, about: str, default: int | None = None) -> None:
    parser.add_argument(name, metavar="N", type=int, help=about, default=default)


def add_shard(parser: Options, what: str) -> None:
    about = f"{what} of N that run beside each other; K from 1 to N"
    parser.add_argument("--shard", metavar="K/N", type=_shard, help=about)


def _shard(text: str) -> tuple[int, int]:
    """K and N of "K/N". Raises ArgumentTypeError."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with K from 1 to N, such as 3/64")
    return int(number), int(of)


def add_search_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    source = "web, openverse, urls:FILE (lines of class, tab, address), folder:PATH (a folder per"
    tables = (
        "csv:FILE (a table of files and classes), imagefolder:PATH, zip:FILE, parquet:PATH,"
        " webdataset:PATH, hf:NAME"
    )
    pool = "unlabelled:PATH or unlabelled:web (photos whose classes you confirm)"
    add("--source", help=f"{source} class), {tables}, {pool} or starter (drawn pictures)")
    licence = "search only what its author allows to share, to use commercially, or gave away"
    add("--licence", choices=["any", "share", "commercial", "public"], help=licence)
    sizes = ["any", "small", "medium", "large", "wallpaper"]
    add("--size", choices=sizes, help="search only pictures of this size")
    add_number(command, "--per-class", "photos to find for each class (default: 200)")
    add("--region", metavar="CODE", help="search there (default: us-en)")
    add("--only-class", metavar="NAME", help="search for photos of this class only")


def add_download_options(command: argparse.ArgumentParser) -> None:
    add_flag(command, "--retry", "ask again where a failure may have passed")
    strict = "exit code 1 also where only addresses failed, or drawn faults were refused"
    add_flag(command, "--strict", strict)


def add_engine_option(command: Options) -> None:
    about = "what does the work: this process, or Ray (settings: engine; default: local)"
    command.add_argument("--engine", choices=["local", "ray"], help=about)


def add_who(command: argparse.ArgumentParser) -> None:
    about = "who decides (default: your name in the system); at most 100 characters are kept"
    command.add_argument("--who", metavar="NAME", help=about)


def add_address_options(command: argparse.ArgumentParser, port: int = 7860) -> None:
    add = command.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=port, help=f"port to listen on (default: {port})")
