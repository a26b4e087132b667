"""Edits of a project file: a class more, one taken out or put back, other queries, another name.

All else stays, letter by letter. A class that is taken out becomes a comment, so that it can be put
back; photos and decisions stay as they are, and are set aside or used by the next run.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.config import project_file
from bear_classifier.config.project_file import class_fault, class_line, folded
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import command

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MARK = "# "  # in front of the lines of a class that is taken out
_LONGEST = 30  # lines of one class


def add_class(path: Path, label: str) -> None:
    """A new class after the others, its name as its query; one that was taken out is put back.

    Raises ConfigError (BAD_CLASS, CANNOT_EDIT, NO_PROJECT)."""
    bom, text = project_text(path)
    if label in removed_classes(text):
        restore_class(path, label)
    else:
        write_project(path, bom, with_class(text, label, path.name))


def remove_class(path: Path, label: str) -> None:
    """Make a class a comment of the project file. Raises ConfigError (UNKNOWN_CLASS,
    TOO_FEW_CLASSES, CANNOT_EDIT and those of `read_project`)."""
    config = project_file.read_project(path)
    if label not in config.labels:
        raise unknown_class(label, config.labels, str(path))
    rest = {name: queries for name, queries in config.classes.items() if name != label}
    # refuses a project of fewer than two classes
    project_file.changed(dataclasses.replace(config, classes=rest), (), str(path))
    bom, text = project_text(path)
    write_project(path, bom, _edited(path, without(text, label), "take its line out of"))


def restore_class(path: Path, label: str) -> None:
    """Take `remove_class` back. Raises ConfigError (CANNOT_EDIT, NO_PROJECT)."""
    bom, text = project_text(path)
    write_project(path, bom, _edited(path, again(text, label), f'add "{label}" to'))


def set_queries(path: Path, label: str, queries: Sequence[str]) -> None:
    """Other search queries of a class. Raises ConfigError (UNKNOWN_CLASS, BAD_CLASS, CANNOT_EDIT,
    NO_PROJECT)."""
    bom, text = project_text(path)
    write_project(path, bom, with_queries(text, label, queries, path.name))


def project_text(path: Path) -> tuple[bytes, str]:
    """The mark of its encoding, which some editors write, and the rest. Raises ConfigError
    (NO_PROJECT)."""
    try:
        data = path.read_bytes()
        bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        return bom, data.removeprefix(bom).decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("NO_PROJECT", f"{path.name} cannot be read: {exc}") from exc


def write_project(path: Path, bom: bytes, text: str) -> None:
    """bom: as `project_text` found it. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
    write_atomic(path, bom + text.encode())


def _edited(path: Path, text: str | None, by_hand: str) -> str:
    if text is None:
        raise ConfigError("CANNOT_EDIT", f"{path}: {by_hand} [classes] by hand")
    return text


# -- the text ----------------------------------------------------------------------------------


def with_class(text: str, label: str, where: str) -> str:
    """A project file with one class more, after the others; all else stays, letter by letter.

    where: what to name in errors. Raises ConfigError (BAD_CLASS, CANNOT_EDIT)."""
    before = tomllib.loads(text)
    classes = before.get("classes", {})
    fault = f"class {label!r} is there already" if label in classes else ""
    if fault := fault or class_fault(label, [label], {folded(name): name for name in classes}):
        raise ConfigError("BAD_CLASS", f"{where}: {fault}")
    if label in removed_classes(text):
        hint = command("classes", "--restore", label)
        advice = f"was taken out of the project; to put it back, run: {hint}"
        raise ConfigError("BAD_CLASS", f"{where}: class {label!r} {advice}")
    wanted = {**before, "classes": {**classes, label: [label]}}
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    line = class_line(label, [label]) + ending
    for at in range(1, len(lines) + 1):
        above = lines[at - 1] if lines[at - 1].endswith("\n") else lines[at - 1] + ending
        after = "".join([*lines[: at - 1], above, line, *lines[at:]])
        with contextlib.suppress(tomllib.TOMLDecodeError):
            found = tomllib.loads(after)
            if found == wanted and list(found["classes"]) == list(wanted["classes"]):
                return after
    advice = f"add this line to [classes] by hand: {line.strip()}"
    raise ConfigError("CANNOT_EDIT", f"{where}: {advice}")


def without_class(text: str, label: str) -> str | None:
    """A project file without the lines of one class, which `with_class` put there; None where it
    cannot be done."""
    wanted = tomllib.loads(text)
    del wanted["classes"][label]
    return _changed(text, lambda block: [], wanted.__eq__)


def with_queries(text: str, label: str, queries: Sequence[str], where: str) -> str:
    """A project file in which a class has these search queries; all else stays, letter by letter.

    where: what to name in errors. Raises ConfigError (UNKNOWN_CLASS, BAD_CLASS, CANNOT_EDIT)."""
    before = tomllib.loads(text)
    classes = before.get("classes", {})
    if label not in classes:
        raise unknown_class(label, classes, where)
    if fault := class_fault(label, list(queries), {}):
        raise ConfigError("BAD_CLASS", f"{where}: {fault}")
    if classes[label] == list(queries):
        return text
    wanted = {**before, "classes": {**classes, label: list(queries)}}
    line = class_line(label, queries) + ("\r\n" if "\r\n" in text else "\n")
    after = _changed(text, lambda block: [line], wanted.__eq__)
    if after is None:
        advice = f"write this line into [classes] by hand: {line.strip()}"
        raise ConfigError("CANNOT_EDIT", f"{where}: {advice}")
    return after


def unknown_class(label: str, labels: Iterable[str], where: str) -> ConfigError:
    """The error of a class that a project does not have."""
    there = ", ".join(labels)
    return ConfigError("UNKNOWN_CLASS", f"{where}: {label!r} is no class; there are {there}")


def without(text: str, label: str) -> str | None:
    """A project file in which the lines of one class are a comment; None where it cannot be done.

    All else stays, letter by letter: the parsed result is compared with the expected one."""
    wanted = tomllib.loads(text)
    del wanted["classes"][label]
    return _changed(text, lambda block: [_MARK + line for line in block], wanted.__eq__)


def again(text: str, label: str) -> str | None:
    """A project file in which the comment that `without` left is a class again; None without it."""
    before = tomllib.loads(text)

    def is_right(after: Mapping[str, Any]) -> bool:
        rest = dict(after.get("classes", {}))
        queries = rest.pop(label, None)
        return isinstance(queries, list) and {**after, "classes": rest} == before

    return _changed(text, lambda block: [line.removeprefix(_MARK) for line in block], is_right)


def removed_classes(text: str) -> list[str]:
    """Classes that `without` made comments."""
    labels = set()
    for line in text.splitlines():
        key, sign, _ = line.removeprefix(_MARK).partition("=")
        if sign and line.startswith(_MARK):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                labels |= tomllib.loads(f"{key}= 0").keys()
    return sorted(label for label in labels if again(text, label) is not None)


def _changed(
    text: str,
    change: Callable[[list[str]], list[str]],
    is_right: Callable[[Mapping[str, Any]], bool],
) -> str | None:
    """The text with as few lines in a row changed as make it right, and each of them changed."""
    lines = text.splitlines(keepends=True)
    for size in range(1, min(len(lines), _LONGEST) + 1):
        for start in range(len(lines) - size + 1):
            block = lines[start : start + size]
            edited = change(block)
            if any(old == new for old, new in zip(block, edited, strict=False)):
                continue
            after = "".join([*lines[:start], *edited, *lines[start + size :]])
            with contextlib.suppress(tomllib.TOMLDecodeError):
                if is_right(tomllib.loads(after)):
                    return after
    return None


def with_name(text: str, name: str, where: str) -> str:
    """A project file with another name; all else stays, letter by letter. where: what to name in
    errors. Raises ConfigError (CANNOT_EDIT)."""
    before = tomllib.loads(text)
    line = f"name = {json.dumps(name)}\n"
    wanted = {**before, "name": name}
    if wanted == before:
        return text
    after = _changed(text, lambda block: [line], wanted.__eq__) if "name" in before else line + text
    if after is None or tomllib.loads(after) != wanted:
        raise ConfigError("CANNOT_EDIT", f"{where}: write {line.strip()} into it by hand")
    return after
