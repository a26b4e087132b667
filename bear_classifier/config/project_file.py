"""The project file (TOML): read, validated with helpful errors, and written."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
import re
import sys
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bear_classifier.config.settings import Config
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
# Separators, wildcards, and characters that are invisible or turn the text round.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff/\\<>:\"|?*]")
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10)}


def read_project(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a project file, then apply `--set table.key=value` overrides in order."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        no_file = f"there is no project file {path}; name one with --project, or make one"
        advice = "run: bears new mine --class first --class second"
        raise ConfigError("NO_PROJECT", f"{no_file}; {advice}") from None
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

    where: what to name in errors; given: table.key -> the same for settings from elsewhere."""
    known = ["name", "classes", *TABLES]
    given = given or {}
    for key in tables:
        if key not in known:
            sources = [where, *(text for name, text in given.items() if name.startswith(f"{key}."))]
            unknown = f"{sources[-1]}: unknown table [{key}]{_guess(key, known)}"
            raise ConfigError("UNKNOWN_SETTING", unknown)
    name = tables.get("name", "bears")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        rule = "must be letters, digits, - and _ (it becomes a folder)"
        raise ConfigError("BAD_NAME", f"{where}: name = {name!r} {rule}")
    stages = {
        key: _table(key, kind, tables.get(key, {}), where, given) for key, kind in TABLES.items()
    }
    config = Config(name, _classes(tables.get("classes", {}), where), **stages)
    keys, conflict = _conflict(config)
    if conflict:  # the command line is named if one of them comes from there
        source = next((given[key] for key in keys if key in given), where)
        raise ConfigError("BAD_SETTING", f"{source}: {conflict}")
    return config


def _conflict(config: Config) -> tuple[Sequence[str], str]:
    """Settings that do not go together, and why not; an empty sentence if all do."""
    split, train, only = config.split, config.train, config.search.only_class
    if only and only not in config.classes:
        guess = _guess(only, list(config.classes))
        return ["search.only_class"], f"search.only_class = {only!r} is not a class{guess}"
    left = 1 - split.valid - split.test
    if split.valid + split.test > 0.9:
        sentence = f"split.valid + split.test leave {left:.0%} to train on; keep 10 % or more"
        return ("split.valid", "split.test"), sentence
    phases = ("train.frozen", "train.cycles", "train.epochs")
    if train.frozen > train.epochs:
        more = f"train.frozen = {train.frozen} is more than the {train.epochs} epochs"
        return phases, f"{more} of train.epochs, of which it is a part"
    free = train.epochs - train.frozen
    if train.cycles > max(free, 1):
        few = f"train.cycles = {train.cycles}, but only {free} epochs are not frozen"
        return phases, f"{few}; a cycle takes at least one"
    return (), ""


def _classes(value: Any, where: str) -> dict[str, list[str]]:
    if not isinstance(value, Mapping) or len(value) < 2:
        n = len(value) if isinstance(value, Mapping) else 0
        advice = 'at least two are needed, such as grizzly = ["grizzly bear"]'
        raise ConfigError("TOO_FEW_CLASSES", f"{where}: [classes] names {n}; {advice}")
    seen: dict[str, str] = {}
    for label, queries in value.items():
        if fault := class_fault(label, queries, seen):
            raise ConfigError("BAD_CLASS", f"{where}: {fault}")
        seen[folded(label)] = label
    return {label: list(queries) for label, queries in value.items()}


def class_fault(label: str, queries: Any, seen: Mapping[str, str]) -> str:
    """What is wrong with a class, "" if nothing is.

    seen: folded name -> name of the classes before it."""
    if (
        not label
        or label != label.strip()
        or len(label) > 100
        or _UNSAFE.search(label)
        or label.split(".")[0].casefold() in _RESERVED
        or label[0] in "._"
        or label.endswith(".")
    ):
        advice = "use up to 100 letters, digits, spaces and dashes, not beginning with . or _"
        return f"class {label!r} cannot be a folder name; {advice}"
    if other := seen.get(folded(label)):
        same = "differ only in case or in how accents are stored; rename one"
        return f"classes {other!r} and {label!r} {same}"
    if isinstance(queries, list) and all(isinstance(q, str) and q.strip() for q in queries):
        return ""
    return f'class {label!r} needs a list of search queries, such as ["{label}"], not {queries!r}'


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
            unknown = f"{source}: unknown setting {name}{_guess(key, list(fields))}"
            raise ConfigError("UNKNOWN_SETTING", unknown)
        allowed = typing.get_args(types_[key]) or (types_[key],)
        if type(value) is int and float in allowed:
            with contextlib.suppress(OverflowError):
                value = float(value)
        meta = fields[key].metadata
        if fault := _value_fault(value, allowed, meta):
            raise ConfigError("BAD_SETTING", f"{source}: {name} = {fault} ({meta['about']})")
        checked[key] = value
    return kind(**checked)


_named_once: set[str] = set()


def present_name(table: str, key: str) -> str:
    """The present name of a setting; a line about each old name is printed once."""
    fields = dataclasses.fields(TABLES[table]) if table in TABLES else ()
    name = next((f.name for f in fields if key and f.metadata["was"] == key), key)
    if name != key and key not in _named_once:
        _named_once.add(key)
        renamed = f"{table}.{key} is now called {table}.{name}"
        warn(f"bears: {renamed}; the old name works until version 0.3")
    return name


def _value_fault(value: Any, allowed: tuple[type, ...], meta: Mapping[str, Any]) -> str:
    """The value and what it must be, "" if it is right."""
    if isinstance(value, bool) and bool not in allowed or not isinstance(value, allowed):
        return f"{value!r} must be {' or '.join(kind.__name__ for kind in allowed)}"
    low, high = meta["low"], meta["high"]
    inside = not isinstance(value, (int, float)) or (
        (low is None or value >= low) and value < math.inf and (high is None or value <= high)
    )
    if not inside and not (meta["or_zero"] and value == 0):
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        span = f"0, or {span}" if meta["or_zero"] else span
        return f"{value} must be {'finite' if value == math.inf else span}"
    if float in allowed and isinstance(value, str) and value != "find":  # of train.lr
        return f'{value!r} must be a number or "find"'
    if meta["choices"] and value not in meta["choices"]:
        return f"{value!r}{_guess(str(value), meta['choices'])}"
    return ""


def _guess(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _override(tables: dict[str, Any], text: str) -> str:
    """Set the value of a `--set` in `tables`, and return its table.key."""
    name, equals, raw = text.partition("=")
    table, dot, key = name.strip().partition(".")
    if not equals or not dot or not table or not key:
        form = "must look like table.key=value, such as train.epochs=6"
        raise ConfigError("BAD_SETTING", f"--set {text!r} {form}")
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
    lines += [class_line(label, queries) for label, queries in config.classes.items()]
    for table in TABLES:
        values = getattr(config, table)
        lines += ["", f"[{table}]"]
        lines += [
            f"{f.name} = {_literal(getattr(values, f.name))}  # {f.metadata['about']}"
            for f in dataclasses.fields(values)
        ]
    return "\n".join(lines) + "\n"


def class_line(label: str, queries: Sequence[str]) -> str:
    """A line of [classes]."""
    key = label if re.fullmatch(r"[A-Za-z0-9_-]+", label) else _literal(label)
    return f"{key} = {_literal(list(queries))}"


def _literal(value: Any) -> str:
    """JSON is TOML except for pairs of surrogates and the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def create(
    name: str,
    classes: Mapping[str, Sequence[str]],
    folder: Path,
    where: str,
    tables: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write NAME.toml into a folder; it is never overwritten. where: of errors; tables: settings
    that are not the defaults, by table.

    Raises ConfigError (EXISTS, and those of `build`)."""
    config = build({"name": name, "classes": classes, **tables}, where)
    path = folder / f"{config.name}.toml"
    if path.exists():
        advice = "choose another name, or move it away"
        raise ConfigError("EXISTS", f"{path} exists and is kept; {advice}")
    write_atomic(path, as_toml(config).encode())
    return path


def class_names(text: str) -> list[str]:
    """The classes of a project file, in its order."""
    return list(tomllib.loads(text).get("classes", {}))
