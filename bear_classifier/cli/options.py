"""The words of the command line: every command, option and help text."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bear_classifier import __version__
from bear_classifier.config.settings import Config
from bear_classifier.runtime.terminal import one_line
from bear_classifier.stages import NAMES

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

_COMPARISONS = """comparisons:
  balance    unequal classes: nothing against it, oversampling, a weighted loss
  method     from the probe (LP-FT), fastai's fine_tune, the head only, all layers at once
  layers     only the last stage, or all of the network
  cycles     one long cycle, or two or three short ones
  rates      the LR finder's rate, a tenth, a third and three times of it
  crops      random-crop, crop, squish, pad, presize
  backbones  the present network, resnet18, resnet34, mobilenet_v2; each needs its weights

examples:
  bears compare balance
  bears compare train.epochs=2 train.epochs=4
  bears compare "train.crop=0.5" "train.crop=0.9,train.dropout=0.2" --seeds 5
  bears compare train.dropout=0.3               against the present settings

All are set against the first, which is what the settings say, or what was named first. Each is
trained with each seed from the same start on the same photos in the same order, and judged on
validation. An alternative is called better only where chance (photos, seeds) does not
explain the difference, for all alternatives together. Every finished training is kept in
compare/trainings; after Ctrl-C the same command goes on. The rest of the dataset stays as it is.
"""

_STAGES = {
    "search": "find candidates in the source",
    "download": "fetch, verify and store the candidates",
    "screen": "set aside unusable photos and tie near-copies together",
    "split": "assign photos to the train, valid and test splits, once for ever",
    "probe": "fit the first model on cached features",
    "train": "fine-tune the network",
    "export": "publish the model as a bundle",
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


def _guess(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line. Ends the program with exit code 2 where it makes no sense."""
    options, rest = parser().parse_known_args(words)
    if rest:
        made = options.parser
        option = rest[0].partition("=")[0]
        known = [name for action in made._actions for name in action.option_strings]
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


def parser() -> Parser:
    """All commands and options; the README's reference is made from it."""
    common = Parser(add_help=False)
    group = common.add_argument_group("common options")
    group.add_argument(
        "--project", metavar="FILE", help='project file, or "starter" (default: bears.toml)'
    )
    for name, what in (("data", "datasets"), ("models", "models")):
        group.add_argument(
            f"--{name}", metavar="DIR", type=Path, default=Path(name),
            help=f"where {what} lie (default: {name})",
        )  # fmt: skip
    group.add_argument(
        "--set",
        metavar="TABLE.KEY=VALUE",
        action="append",
        default=[],
        help="override a setting of the project file; may be repeated",
    )
    group.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="where to train")
    group.add_argument("--json", action="store_true", help="print JSON instead of words")
    group.add_argument("--quiet", action="store_true", help="print only errors and results")
    top = Parser(
        prog="bears",
        description="From a folder of photos to a checked image classifier and its web page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"bears {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, about: str) -> Any:
        made = commands.add_parser(
            name, parents=[common], help=about, description=about.capitalize() + "."
        )
        made.set_defaults(name=name, parser=made, source=None, retry=False, strict=False)
        return made

    new = command("new", "write a project file for other classes")
    new.add_argument("title", metavar="NAME", help="letters, digits, - and _; NAME.toml is written")
    new.add_argument(
        "--class",
        dest="classes",
        metavar="LABEL",
        action="append",
        required=True,
        help="a class; give two or more",
    )
    run = command("run", "run every stage that is not up to date")
    _searching(run)
    _fetching(run)
    run.add_argument(
        "--until",
        metavar="STAGE",
        choices=NAMES,
        default=NAMES[-1],
        help=f"stop after this stage: {', '.join(NAMES)}",
    )
    run.add_argument(
        "--again",
        metavar="STAGE",
        choices=NAMES,
        help="run this stage and those after it even where they are up to date",
    )
    run.add_argument("--serve", action="store_true", help="open the page at the end")
    _address(run)
    for name, about in _STAGES.items():
        stage = command(name, about)
        if name == "search":
            _searching(stage)
        if name == "download":
            _fetching(stage)
    judge = command(
        "evaluate", "judge the model on the test split, or a bundle on a labelled folder"
    )
    judge.add_argument("--model", metavar="DIR", type=Path, help="a bundle")
    judge.add_argument("--photos", metavar="FOLDER", type=Path, help="a folder per class")
    judge.add_argument(
        "--strangers", metavar="FOLDER", type=Path, help="pictures of none of the classes"
    )
    predict = command("predict", "classify photos and folders of photos")
    predict.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="a photo or a folder")
    predict.add_argument(
        "--model", metavar="DIR", type=Path, help="a bundle (default: the project's)"
    )
    predict.add_argument("--csv", metavar="FILE", type=Path, help="write a table as well")
    serve = command("serve", "open the web page and the API of a model")
    serve.add_argument(
        "model", metavar="MODEL", type=Path, nargs="?", help="a bundle, or a folder of several"
    )
    _address(serve)
    space = command("space", "write a folder that Hugging Face Spaces or a container runs")
    space.add_argument("model", metavar="MODEL", type=Path, help="a bundle")
    space.add_argument("out", metavar="OUT", type=Path, help="the folder; replaced if it is ours")
    _cleaning(command)
    _measuring(command)
    _reporting(command)
    _finding(command)
    _lesson(command)
    command("status", "show what there is and what is up to date")
    _classes(command)
    command("attribution", "write who made each photo, where it stands and its licence")
    away = command("take-down", "use nothing of a site, an address or a file any more")
    what = away.add_mutually_exclusive_group(required=True)
    what.add_argument("--domain", metavar="NAME", help="a site and all below it: example.com")
    what.add_argument("--url", metavar="ADDRESS", help="a photo's or a page's address")
    what.add_argument("--sha256", metavar="HASH", help="a photo's hash, or its first 8 digits")
    away.add_argument("--why", default="", metavar="TEXT", help="the reason, for the record")
    return top


def _cleaning(command: Any) -> None:
    clean = command("clean", "find what is wrong with the photos, and decide on it from a table")
    what = clean.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the suspects, most suspect first")
    what.add_argument("--apply", metavar="FILE", type=Path, help="carry out a table of decisions")
    what.add_argument(
        "--auto", action="store_true", help="drop what is beyond clean.precision; never test photos"
    )
    what.add_argument(
        "--gone", action="store_true", help="drop photos whose files were deleted or replaced"
    )
    what.add_argument(
        "--effect", action="store_true", help="compare before and after on untouched test photos"
    )
    clean.add_argument(
        "--csv", metavar="FILE", type=Path, help="with --list: write a table to fill in and apply"
    )
    review = command("review", "open the cleaning page")
    _address(review, 7861)
    history = command("history", "show what was decided, by whom and why")
    history.add_argument("photo", metavar="HASH", nargs="?", help="of one photo, by its sha256")
    undo = command("undo", "take back the last decision, or an older one by its number")
    undo.add_argument("event", metavar="EVENT", type=int, nargs="?", help="see bears history")
    back = command("restore", "put back the newest copy of a damaged catalog")
    back.add_argument("--force", action="store_true", help="also of one that is not damaged")


def _classes(command: Any) -> None:
    classes = command("classes", "show the classes, take one out of the project, or put it back")
    what = classes.add_mutually_exclusive_group()
    what.add_argument(
        "--remove", metavar="LABEL", help="make it a comment of the project file; nothing is lost"
    )
    what.add_argument("--restore", metavar="LABEL", help="take that back, with all its photos")


def _measuring(command: Any) -> None:
    curve = command("curve", "measure whether more photos would help, and of which class most")
    curve.add_argument(
        "--half",
        action="store_true",
        help="only the check: predict the error at all photos from half of them, and measure it",
    )
    curve.add_argument(
        "--more",
        metavar="N",
        type=int,
        help="what so many more photos would bring, at most twice the present number"
        " (default: a round number)",
    )
    curve.add_argument(
        "--seeds", metavar="N", type=int, default=10,
        help="orders of the photos to learn from (default: 10); more narrow the interval",
    )  # fmt: skip


def _reporting(command: Any) -> None:
    page = command("report", "write all that is known of the model and its photos as one page")
    page.add_argument("--model", metavar="DIR", type=Path, help="a bundle (default: the project's)")
    page.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="the page, with the same as .md and .json beside it (default: report/report.html in"
        " the dataset)",
    )


def _lesson(command: Any) -> None:
    lesson = command("lesson", "show why training works, page by page, and check what is shown")
    lesson.add_argument(
        "page", metavar="NAME", nargs="*", help="such as sgd; all: every one; none: list them"
    )
    lesson.add_argument(
        "--save", metavar="DIR", type=Path, help="write each page there as HTML, with its pictures"
    )


def _finding(command: Any) -> None:
    lr = command("lr", "find a learning rate, draw how it was found, and explain it")
    lr.add_argument(
        "--seeds", metavar="N", type=int, default=3, help="runs of the finder (default: 3)"
    )
    lr.add_argument(
        "--steps", metavar="N", type=int, default=40,
        help="batches of a run, 25 or more (default: 40, as in training)",
    )  # fmt: skip
    lr.add_argument(
        "--compare",
        action="store_true",
        help="train briefly at each suggestion, ten times less and more; say which did best",
    )
    compare = command("compare", "train alternatives alike, and say which recipe does better")
    compare.formatter_class = argparse.RawDescriptionHelpFormatter
    compare.epilog = _COMPARISONS
    compare.add_argument(
        "what",
        metavar="WHAT",
        nargs="+",
        help="balance, method, layers, cycles, rates, crops, backbones; or TABLE.KEY=VALUE, several"
        " joined by commas",
    )
    compare.add_argument(
        "--seeds", metavar="N", type=int, default=3,
        help="trainings of each alternative (default: 3); more narrow the intervals",
    )  # fmt: skip
    compare.add_argument(
        "--epochs", metavar="N", type=int, help="of each training (default: train.epochs)"
    )
    compare.add_argument(
        "--by",
        choices=["loss", "error", "macro"],
        help="what decides: log loss, error, or the mean of the classes' errors (default: macro"
        " for balance, otherwise loss)",
    )


def _searching(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--source",
        help="web, openverse, urls:FILE (lines of class, tab, address), folder:PATH (a folder per"
        " class) or starter (drawn pictures)",
    )
    command.add_argument(
        "--licence",
        choices=["any", "share", "commercial", "public"],
        help="search only what its author allows to share, to use commercially, or gave away",
    )
    command.add_argument(
        "--size",
        choices=["any", "small", "medium", "large", "wallpaper"],
        help="search only pictures of this size",
    )
    command.add_argument(
        "--per-class", metavar="N", type=int, help="photos to find for each class (default: 200)"
    )
    command.add_argument("--region", metavar="CODE", help="search there (default: us-en)")


def _fetching(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--retry", action="store_true", help="ask again where a failure may have passed"
    )
    command.add_argument(
        "--strict",
        action="store_true",
        help="exit code 1 also where only addresses failed, or drawn faults were refused",
    )


def _address(command: argparse.ArgumentParser, port: int = 7860) -> None:
    command.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    command.add_argument(
        "--port", type=int, default=port, help=f"port to listen on (default: {port})"
    )
