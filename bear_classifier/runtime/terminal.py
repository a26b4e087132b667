"""Lines for people: no control characters, nothing that the stream cannot encode, and hints that
work as they stand."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import shutil
import sys
import unicodedata
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TextIO

from bear_classifier.runtime import progress_events

# A hint ends its line. `command` makes one, with quotes where a path needs them.
_HINT = re.compile(r"\b(?:run|with): (?P<command>bears (?P<name>[a-z-]+)\b.*)$")
_OF_NO_PROJECT = ("new", "space", "push", "completion")  # commands that take no --project
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_PLACES = (("data", Path("data")), ("models", Path("models")))  # options and their defaults


def prepare() -> None:
    """What standard output and error cannot encode is written as \\x, \\u or \\U escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print lines for people to standard output. Nothing else in the package prints them."""
    print(printable_lines(text), flush=True)


def warn(text: str) -> None:
    """As `say`, to standard error."""
    print(printable_lines(text), file=sys.stderr, flush=True)


def say_above_bars(text: str, file: TextIO | None = None) -> None:
    """As `say`, while progress bars are drawn, which stay below."""
    from tqdm import tqdm  # only now: most commands draw none

    tqdm.write(printable_lines(text), file=file)


def note_above_bars(text: str) -> None:
    """As `say_above_bars`, to standard error; in a notebook, where that is red, to the output."""
    say_above_bars(text, sys.stdout if _in_notebook() else sys.stderr)


def tell(options: argparse.Namespace, text: str) -> None:
    """As `say`, each hint completed with the options of this project."""
    say(completed(text, project_of(options)))


def complain(options: argparse.Namespace, text: str) -> None:
    """As `tell`, to standard error."""
    warn(completed(text, project_of(options)))


def project_of(options: argparse.Namespace) -> list[str]:
    """Options, each with its value, that give another command the same project and settings."""
    name = options.project or ("starter" if options.source == "starter" else None)
    words = ["--project", name] if name else []
    for option, default in _PLACES:
        if getattr(options, option) != default:
            words += [f"--{option}", str(getattr(options, option))]
    for setting in options.set:
        words += ["--set", setting]
    return [*words, *(["--device", options.device] if options.device else [])]


def completed(text: str, project: Sequence[str]) -> str:
    """Each line that ends in `run: bears ...` with those options of `project` that it lacks."""
    lines = text.split("\n")
    for n, line in enumerate(lines):
        hint = _HINT.search(line)
        if hint and hint["name"] not in _OF_NO_PROJECT:
            given = hint["command"].split()
            pairs = zip(project[::2], project[1::2], strict=True)
            lines[n] = " ".join([line, *(f"{o} {quoted(v)}" for o, v in pairs if o not in given)])
    return "\n".join(lines)


def minute(at: str) -> str:
    """A time of the catalog (UTC) as local time with its offset, such as UTC+02:00."""
    local = datetime.fromisoformat(at).astimezone()
    zone = str(timezone(local.utcoffset() or timedelta()))
    return f"{local:%Y-%m-%d %H:%M} {zone}"


def command(*words: str) -> str:
    """`bears` and these words, as a shell takes them."""
    return " ".join(["bears", *map(quoted, words)])


def quoted(word: str, windows: bool = os.name == "nt") -> str:
    """One word as a shell takes it; cmd.exe knows double quotes only. Control characters are
    written as bash and zsh read them, $'\\n'."""
    if not windows:
        plain = one_line(word) == word
        return shlex.quote(word) if plain else f"$'{''.join(map(_typed, word))}'"
    return word if re.fullmatch(r"[\w.:\\/=+,@-]+", word) else f'"{word}"'


def count(n: int, noun: str) -> str:
    """1 photo, 2 photos."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def progress_bar(*words: Any, hidden: bool = False, **options: Any) -> Any:
    """A bar of tqdm on a terminal and in a notebook; hidden elsewhere and with --quiet or --json.

    words, options: as tqdm takes them. hidden: everywhere. What a bar shows also goes to whoever
    watches this command (`progress_events`), whether it is drawn or not."""
    from tqdm import tqdm

    shown = None  # where standard error is a terminal
    if _in_notebook() and not os.environ.get("TQDM_DISABLE"):
        shown, options = False, {"file": sys.stdout, **options}
    if progress_events.is_watched() and not hidden:
        return _reported_bar(*words, **options)
    bar = tqdm(*words, disable=hidden or shown, **options)
    with tqdm.get_lock():
        _bars.add(bar)
    return bar


def _reported_bar(*words: Any, **options: Any) -> Any:
    """A bar that is drawn nowhere, and reported to whoever watches this command."""
    from tqdm import tqdm

    class Reported(tqdm):  # type: ignore[misc]
        def display(self, *_: Any, **__: Any) -> None:
            self._report()

        def close(self) -> None:
            if not self.disable:
                self._report(last=True)
            super().close()

        def _report(self, last: bool = False) -> None:
            now = self.format_dict
            name = self.desc.removesuffix(": ")
            words = now["unit"], now["postfix"] or ""
            progress_events.report_bar(id(self), name, now["n"], now["total"], *words, last)

    return Reported(*words, disable=False, file=io.StringIO(), mininterval=0.2, **options)


@contextmanager
def libraries_silent() -> Iterator[None]:
    """Without warnings of libraries that are meant for their developers, or for who installs
    notebooks (of `tqdm.auto`, which timm's libraries import)."""
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, TqdmWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _in_notebook() -> bool:
    """Jupyter and Colab, which show standard error in red."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


_bars: weakref.WeakSet[Any] = weakref.WeakSet()


def open_bars() -> list[Any]:
    """Bars that are drawn and not closed. Hold `tqdm.get_lock()` meanwhile."""
    return [bar for bar in _bars if not bar.disable]  # closing disables


SHORT_BAR = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"  # of tqdm, with words


def room(desc: str, total: int) -> int:
    """Characters that a SHORT_BAR leaves for words on a line of the terminal."""
    columns = shutil.get_terminal_size().columns
    return columns - len(f"{desc}: {total}/{total} [10:00<10:00, ]") - 1


def one_line(text: str) -> str:
    """Control characters, marks of direction and lone surrogates as escapes, such as \\n: nothing
    breaks the line, turns it round or commands the terminal."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """As `one_line`, but line breaks stay."""
    return "\n".join(map(one_line, text.split("\n")))


def _typed(character: str) -> str:
    """Within $'...'. Halves of a surrogate pair stand for bytes that are no UTF-8."""
    if character in "\\'":
        return f"\\{character}"
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if _shown(character) == character:
        return character
    return f"\\x{ord(character):02x}" if character < "\x80" else f"\\u{ord(character):04x}"


def _shown(character: str) -> str:
    odd = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNING
    return character.encode("unicode_escape").decode() if odd else character
