"""Dependencies of a program: modules of this package, and pinned packages of others."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "bear_classifier"
_LINUX = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}


def closure(program: str, sources: Mapping[str, str]) -> list[str]:
    """Paths of what program needs of sources, which are texts by their paths below the root.

    A module is needed if it is imported anywhere, also in a function, or if its full name is a
    string (a process is started by it); another file if its name stands in something needed."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in sources
        if path.endswith(".py")
    }
    others = {path.rpartition("/")[2]: path for path in sources if not path.endswith(".py")}
    needed: set[str] = set()
    texts = [(program, True)]
    while texts:
        text, is_code = texts.pop()
        imported, strings = _named(text) if is_code else (set(), set())
        named = imported | {word for word in strings if word.startswith(f"{OURS}.")}
        packages = {name[: dot.start()] for name in named for dot in re.finditer(r"\.", name)}
        found = {modules[name] for name in named | packages if name in modules}
        found |= {path for name, path in others.items() if name in text}
        texts += [(sources[path], path.endswith(".py")) for path in found - needed]
        needed |= found
    return sorted(needed)


def libraries(programs: Iterable[str]) -> set[str]:
    """The first names of what these programs import that is neither ours nor Python's."""
    named = {name.partition(".")[0] for text in programs for name in _named(text)[0]}
    return named - {OURS} - set(sys.stdlib_module_names)


@functools.lru_cache(maxsize=256)
def _named(program: str) -> tuple[set[str], set[str]]:
    """What it imports, of `from a import b` both a and a.b, and all its strings.

    What only type checkers read is left out."""
    nodes = list(ast.walk(ast.parse(program)))
    skipped = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    imported, strings = set(), set()
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    return imported, strings


@functools.cache
def _owners(*_: str) -> Mapping[str, list[str]]:
    """The packages of every module, as far as these folders hold them: sys.path."""
    return metadata.packages_distributions()


def pins(imported: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Packages and their versions, as installed here: those of these modules, and all that they
    need on Linux.

    A module of no package installed here is left out: it is for another version of Python."""
    owners = _owners(*sys.path)  # Python 3.10 does not know all; most are called like the module
    found = {owner for name in imported for owner in owners.get(name, [name])}
    direct = {str(canonicalize_name(owner)) for owner in found}
    versions: dict[str, str] = {}
    wanted = [(name, "") for name in sorted(direct)]
    seen = set(wanted)
    while wanted:
        name, extra = wanted.pop()
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # for another system or Python than this
            continue
        for other in _requirements(name, extra):
            also = {(str(canonicalize_name(other.name)), e) for e in ("", *other.extras)}
            wanted += sorted(also - seen)
            seen |= also
    every = dict(sorted(versions.items()))
    return {name: version for name, version in every.items() if name in direct}, every


def compatible(versions: Mapping[str, str], package: str, extras: Iterable[str]) -> dict[str, str]:
    """Those of the versions that package, installed with these extras, can be beside."""
    asked = [other for extra in ("", *extras) for other in _requirements(package, extra)]
    refused = {
        str(canonicalize_name(other.name))
        for other in asked
        if not other.specifier.contains(versions.get(str(canonicalize_name(other.name)), "0"), True)
    }
    return {name: version for name, version in versions.items() if name not in refused}


@functools.cache
def _requirements(package: str, extra: str) -> list[Requirement]:
    found = [Requirement(line) for line in metadata.requires(package) or []]
    here = {**_LINUX, "extra": extra}
    return [other for other in found if other.marker is None or other.marker.evaluate(here)]
