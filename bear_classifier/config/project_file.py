"""The project file (TOML): read, validated with helpful errors, and written."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
import re
import sys
import types
import typing
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.config.settings import Config, TrainConfig
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import os_error, write_atomic
from bear_classifier.runtime.terminal import warn

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STARTER = Path(__file__).with_name("starter.toml")


TABLES: dict[str, type] = {
    f.name: f.default_factory if f.default is dataclasses.MISSING else type(f.default)  # type: ignore[misc]
    for f in dataclasses.fields(Config)
    if f.name not in ("name", "classes")
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_UNSAFE = (
    re.compile(  # separators, wildcards, and characters that are not seen or turn the text round
        r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff/\\<>:\"|?*]"
    )
)
_MARK = "# "  # in front of the lines of a class that is taken out
_LONGEST = 30  # lines of one class
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10)}


def read_project(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a project file, then apply `--set table.key=value` overrides in order."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            "NO_PROJECT",
            f"there is no project file {path}; name one with --project, or make one; "
            "run: bears new mine --class first --class second",
        ) from None
    except UnicodeDecodeError as exc:
        raise ConfigError("NO_PROJECT", f"{path} cannot be read: {exc}") from exc
    except OSError as exc:
        if path.is_dir():
            raise ConfigError("NO_PROJECT", f"{path} cannot be read: it is a folder") from exc
        raise os_error(exc) from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError("BAD_TOML", f"{path} is not valid TOML: {exc}") from exc
    given = {_override(tables, text): f"--set {text!r}" for text in overrides}
    return build(tables, str(path), given)


def build(tables: Mapping[str, Any], where: str, given: Mapping[str, str] | None = None) -> Config:
    """Check plain tables and freeze them.

    where: what to name in errors; given: table.key -> what to name of settings from elsewhere."""
    known = ["name", "classes", *TABLES]
    given = given or {}
    for key in tables:
        if key not in known:
            of_it = [said for name, said in given.items() if name.startswith(f"{key}.")]
            raise ConfigError(
                "UNKNOWN_SETTING",
                f"{(of_it or [where])[-1]}: unknown table [{key}]{_guess(key, known)}",
            )
    name = tables.get("name", "bears")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise ConfigError(
            "BAD_NAME",
            f"{where}: name = {name!r} must be letters, digits, - and _ (it becomes a folder)",
        )
    stages = {
        key: _table(key, kind, tables.get(key, {}), where, given) for key, kind in TABLES.items()
    }
    config = Config(name, _classes(tables.get("classes", {}), where), **stages)
    if config.split.valid + config.split.test > 0.9:
        source = _named(("split.valid", "split.test"), where, given)
        raise ConfigError(
            "BAD_SETTING",
            f"{source}: split.valid + split.test leave "
            f"{1 - config.split.valid - config.split.test:.0%} to train on; keep 10 % or more",
        )
    _phases(config.train, _named(("train.frozen", "train.cycles", "train.epochs"), where, given))
    return config


def _named(keys: Sequence[str], where: str, given: Mapping[str, str]) -> str:
    """Where settings that do not go together come from: the command line, if one of them does."""
    return next((given[key] for key in keys if key in given), where)


def _phases(train: TrainConfig, where: str) -> None:
    """Phases that do not fit into the epochs would be cut without a word."""
    if train.frozen > train.epochs:
        raise ConfigError(
            "BAD_SETTING",
            f"{where}: train.frozen = {train.frozen} is more than the {train.epochs} epochs of"
            " train.epochs, of which it is a part",
        )
    free = train.epochs - train.frozen
    if train.cycles > max(free, 1):
        raise ConfigError(
            "BAD_SETTING",
            f"{where}: train.cycles = {train.cycles}, but only {free} epochs are not frozen;"
            " a cycle takes at least one",
        )


def _classes(value: Any, where: str) -> dict[str, list[str]]:
    if not isinstance(value, Mapping) or len(value) < 2:
        n = len(value) if isinstance(value, Mapping) else 0
        raise ConfigError(
            "TOO_FEW_CLASSES",
            f"{where}: [classes] names {n}; at least two are needed, "
            'such as grizzly = ["grizzly bear"]',
        )
    seen: dict[str, str] = {}
    for label, queries in value.items():
        clean = label.strip()
        if (
            not clean
            or clean != label
            or len(label) > 100
            or _UNSAFE.search(label)
            or label.split(".")[0].casefold() in _RESERVED
            or label[0] in "._"
            or label.endswith(".")
        ):
            raise ConfigError(
                "BAD_CLASS",
                f"{where}: class {label!r} cannot be a folder name; use up to 100 letters, "
                "digits, spaces and dashes, not beginning with . or _",
            )
        if folded(label) in seen:
            raise ConfigError(
                "BAD_CLASS",
                f"{where}: classes {seen[folded(label)]!r} and {label!r} differ only in case or "
                "in how accents are stored; rename one",
            )
        seen[folded(label)] = label
        if not isinstance(queries, list) or not all(
            isinstance(q, str) and q.strip() for q in queries
        ):
            raise ConfigError(
                "BAD_CLASS",
                f"{where}: class {label!r} needs a list of search queries, such as "
                f'["{label}"], not {queries!r}',
            )
    return {label: list(queries) for label, queries in value.items()}


def folded(name: str) -> str:
    """A name as file systems compare it that ignore case and how accents are stored."""
    return unicodedata.normalize("NFC", name).casefold()


def _table(table: str, kind: type, values: Any, where: str, given: Mapping[str, str]) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError("BAD_SETTING", f"{where}: [{table}] must be a table, not {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    types_ = typing.get_type_hints(kind)
    checked = {}
    for key, value in values.items():
        source = given.get(f"{table}.{key}", where)
        key, old = present_name(table, key), key
        if key != old and key in values:
            continue  # the new name counts
        name = f"{table}.{key}"
        if key not in fields:
            raise ConfigError(
                "UNKNOWN_SETTING", f"{source}: unknown setting {name}{_guess(key, list(fields))}"
            )
        checked[key] = _value(name, value, types_[key], fields[key].metadata, source)
    return kind(**checked)


_named_once: set[str] = set()


def present_name(table: str, key: str) -> str:
    """The present name of a setting; of an old name it is said once."""
    kind = TABLES.get(table)
    for field in dataclasses.fields(kind) if kind else ():
        if key and field.metadata["was"] == key:
            if key not in _named_once:
                _named_once.add(key)
                old, new = f"{table}.{key}", f"{table}.{field.name}"
                warn(f"bears: {old} is now called {new}; the old name works until version 0.3")
            return field.name
    return key


def _value(name: str, value: Any, kind: Any, meta: Mapping[str, Any], where: str) -> Any:
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        with contextlib.suppress(OverflowError):
            value = float(value)
    if isinstance(value, bool) and bool not in allowed or not isinstance(value, allowed):
        words = " or ".join(t.__name__ for t in allowed)
        raise ConfigError(
            "BAD_SETTING", f"{where}: {name} = {value!r} must be {words} ({meta['about']})"
        )
    low, high = meta["low"], meta["high"]
    if isinstance(value, (int, float)) and not (
        (low is None or value >= low) and value < math.inf and (high is None or value <= high)
    ):
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        span = "finite" if value == math.inf else span
        raise ConfigError(
            "BAD_SETTING", f"{where}: {name} = {value} must be {span} ({meta['about']})"
        )
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(
            "BAD_SETTING",
            f"{where}: {name} = {value!r}{_guess(str(value), meta['choices'])} ({meta['about']})",
        )
    if name == "train.lr" and isinstance(value, str) and value != "find":
        raise ConfigError(
            "BAD_SETTING", f'{where}: train.lr = {value!r} must be a number or "find"'
        )
    return value


def _guess(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _override(tables: dict[str, Any], text: str) -> str:
    """Set what `text` says in `tables`; its table.key."""
    name, equals, raw = text.partition("=")
    table, dot, key = name.strip().partition(".")
    if not equals or not dot or not table or not key:
        raise ConfigError(
            "BAD_SETTING", f"--set {text!r} must look like table.key=value, such as train.epochs=6"
        )
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()  # plain words need no quotes on a command line
    target = tables.setdefault(table, {})
    if not isinstance(target, dict):
        raise ConfigError("UNKNOWN_SETTING", f"--set {text!r}: {table} is not a table")
    key = present_name(table, key)
    target[key] = value
    return f"{table}.{key}"


def changed(config: Config, overrides: Sequence[str], where: str) -> Config:
    """`config` with `table.key=value` overrides, checked. where: what to name in errors."""
    tables: dict[str, Any] = {t: dataclasses.asdict(getattr(config, t)) for t in TABLES}
    for text in overrides:
        _override(tables, text)
    classes = {label: list(queries) for label, queries in config.classes.items()}
    return build({"name": config.name, "classes": classes, **tables}, where)


def as_toml(config: Config) -> str:
    """The project file of `config`, every setting written out with its meaning."""
    about = "# Every setting with its default; change one here, or with --set TABLE.KEY=VALUE."
    lines = [about, f"name = {json.dumps(config.name)}", "", "[classes]  # label = search queries"]
    lines += [
        f"{_key(label)} = {_literal(list(queries))}" for label, queries in config.classes.items()
    ]
    for table in TABLES:
        values = getattr(config, table)
        lines += ["", f"[{table}]"]
        lines += [
            f"{f.name} = {_literal(getattr(values, f.name))}  # {f.metadata['about']}"
            for f in dataclasses.fields(values)
        ]
    return "\n".join(lines) + "\n"


def _key(label: str) -> str:
    return label if re.fullmatch(r"[A-Za-z0-9_-]+", label) else _literal(label)


def _literal(value: Any) -> str:
    """JSON is TOML but for two things: pairs of surrogates, and a delete character as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# -- a class taken out of the text, and put back ---------------------------------------------


def create(name: str, classes: Mapping[str, Sequence[str]], folder: Path, where: str) -> Path:
    """Write NAME.toml into a folder; it is never overwritten. where: of errors.

    Raises ConfigError (EXISTS, and those of `build`)."""
    config = build({"name": name, "classes": classes}, where)
    path = folder / f"{config.name}.toml"
    if path.exists():
        raise ConfigError(
            "EXISTS", f"{path} exists and is kept; choose another name, or move it away"
        )
    write_atomic(path, as_toml(config).encode())
    return path


def without(text: str, label: str) -> str | None:
    """A project file in which the lines of one class are a comment; None where it cannot be done.

    All else stays, letter by letter: what the text means is compared with what it should."""
    wanted = tomllib.loads(text)
    del wanted["classes"][label]
    return _changed(text, lambda line: _MARK + line, wanted.__eq__)


def again(text: str, label: str) -> str | None:
    """A project file in which the comment that `without` left is a class again; None without it."""
    before = tomllib.loads(text)

    def is_right(after: Mapping[str, Any]) -> bool:
        rest = dict(after.get("classes", {}))
        queries = rest.pop(label, None)
        return isinstance(queries, list) and {**after, "classes": rest} == before

    return _changed(text, lambda line: line.removeprefix(_MARK), is_right)


def removed_classes(text: str) -> list[str]:
    """Classes that `without` made comments."""
    found = set()
    for line in text.splitlines():
        key, sign, _ = line.removeprefix(_MARK).partition("=")
        if sign and line.startswith(_MARK):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                found |= tomllib.loads(f"{key}= 0").keys()
    return sorted(label for label in found if again(text, label) is not None)


def _changed(
    text: str, change: Callable[[str], str], is_right: Callable[[Mapping[str, Any]], bool]
) -> str | None:
    """The text with the fewest lines in a row changed so that it means what it should."""
    lines = text.splitlines(keepends=True)
    for size in range(1, min(len(lines), _LONGEST) + 1):
        for start in range(len(lines) - size + 1):
            block = lines[start : start + size]
            edited = [change(line) for line in block]
            if any(old == new for old, new in zip(block, edited, strict=True)):
                continue
            after = "".join([*lines[:start], *edited, *lines[start + size :]])
            try:
                if is_right(tomllib.loads(after)):
                    return after
            except tomllib.TOMLDecodeError:
                continue
    return None
