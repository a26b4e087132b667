"""The command line of each kind of job: kind and choices in, words after `bears` out.

All paths are relative to the folder of the project, so that the same words do the same in a
terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bear_classifier.collect.sources.registry import SEARCHES
from bear_classifier.dataset.formats.choices import FORMATS
from bear_classifier.errors import ConfigError

# The first model is there within a minute: nothing is fine-tuned, and the bundle is tried on fewer
# pictures and not in integers, which the next training does.
QUICK = ("train.epochs=0", "export.parity=60", "export.precision=fp32", "export.decode=full")
LABELLED, UNLABELLED, ZIPS = "photos", "unlabelled", "zips"  # folders of uploads
TAKE_IN = ("take-in", "take-in-unlabelled", "take-in-zip")
COLLECTING = (*TAKE_IN, "search", "draw")
LEARNING = ("learn", "train")
_LICENCES = ("any", "share", "commercial", "public")
_MOST = 2000  # photos of a class that a search is asked for
_LONGEST = 100  # characters of the name of a class


@dataclass(frozen=True)
class JobSubject:
    """What the words name. name: of the project file without .toml; model: path of the bundle; own:
    path of the studio's own files."""

    name: str
    model: str
    own: str


def job_words(kind: str, choices: Mapping[str, Any], subject: JobSubject) -> list[str]:
    """The words of a command line. Raises ConfigError (BAD_JOB) for another kind or choice."""
    if kind not in _KINDS:
        raise ConfigError("BAD_JOB", f"{kind[:50]!r} is not one of {', '.join(_KINDS)}")
    return _KINDS[kind](dict(choices), subject)


def _run(subject: JobSubject, *words: str) -> list[str]:
    return ["run", "--project", f"{subject.name}.toml", *words]


def _take_in(subject: JobSubject, source: str, place: str) -> list[str]:
    return _run(subject, "--source", f"{source}:{subject.own}/uploads/{place}", "--until", "screen")


def _search(choices: Mapping[str, Any], subject: JobSubject) -> list[str]:
    source = _one_of(choices, "source", SEARCHES)
    licence = _one_of(choices, "licence", _LICENCES)
    count = _count(choices.get("per_class", 100))
    chosen = ["--source", source, "--licence", licence, "--per-class", str(count)]
    label = choices.get("only_class", "")
    if not isinstance(label, str) or len(label) > _LONGEST:
        raise ConfigError("BAD_JOB", f"only_class {str(label)[:50]!r} is no name of a class")
    chosen += [f"--only-class={label}"] if label else []
    return _run(subject, *chosen, "--until", "screen")


def _take_in_zip(choices: Mapping[str, Any], subject: JobSubject) -> list[str]:
    file = choices.get("file")
    if not isinstance(file, str) or not file.endswith(".zip") or not file[:-4].isalnum():
        raise ConfigError("BAD_JOB", f"file {str(file)[:80]!r} is no uploaded ZIP")
    return _take_in(subject, "zip", f"{ZIPS}/{file}")


def _learn(choices: Mapping[str, Any], subject: JobSubject) -> list[str]:
    return _run(subject, *(word for setting in QUICK for word in ("--set", setting)))


def _export(choices: Mapping[str, Any], subject: JobSubject) -> list[str]:
    kind = _one_of(choices, "format", FORMATS)
    licence = _one_of(choices, "licence", _LICENCES)
    out = f"{subject.own}/results/dataset-{kind}"
    more = ["--format", kind, "--licence", licence]
    return ["dataset", "export", out, "--project", f"{subject.name}.toml", *more]


_KINDS: dict[str, Callable[[Mapping[str, Any], JobSubject], list[str]]] = {
    "search": _search,
    "draw": lambda choices, subject: _run(subject, "--source", "starter", "--until", "screen"),
    "take-in": lambda choices, subject: _take_in(subject, "folder", LABELLED),
    "take-in-unlabelled": lambda choices, subject: _take_in(subject, "unlabelled", UNLABELLED),
    "take-in-zip": _take_in_zip,
    "learn": _learn,
    "train": lambda choices, subject: _run(subject),
    "look": lambda choices, subject: _run(subject, "--until", "clean"),
    "curve": lambda choices, subject: ["curve", "--project", f"{subject.name}.toml"],
    "report": lambda choices, subject: ["report", "--project", f"{subject.name}.toml"],
    "static": lambda choices, subject: [
        *("space", subject.model, f"{subject.own}/results/static", "--static")
    ],
    "space": lambda choices, subject: ["space", subject.model, f"{subject.own}/results/space"],
    "export-dataset": _export,
}


def _one_of(choices: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """The choice of this name; the first known one where there is none."""
    value = choices.get(name, known[0])
    if value not in known:
        words = f"{name} {str(value)[:50]!r} is not one of {', '.join(known)}"
        raise ConfigError("BAD_JOB", words)
    return str(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST:
        raise ConfigError(
            "BAD_JOB", f"per_class {str(value)[:20]!r} is no number from 1 to {_MOST}"
        )
    return value
