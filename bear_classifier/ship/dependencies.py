"""Dependencies of a program: modules of this package, and pinned packages of others."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_OURS = "bear_classifier"
_SHARED = f"{_OURS}/web"  # with what all pages load
_LINUX = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}


def closure(program: str, sources: Mapping[str, str]) -> list[str]:
    """Paths of the sources that a program needs. sources: texts by their paths below the root. A
    module is needed if it is imported anywhere, also in a function, or if its full name is a string
    (a process is started by it); another file if a needed one of its folder of the package contains
    its name; those of web/, which pages share, whoever names them."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in sources
        if path.endswith(".py")
    }
    others = [path for path in sources if not path.endswith(".py")]
    needed: set[str] = set()
    texts = [("", program, True)]
    while texts:
        place, text, is_code = texts.pop()
        imported, strings = _named(text) if is_code else (set(), set())
        named = imported | {word for word in strings if word.startswith(f"{_OURS}.")}
        packages = {name[: dot.start()] for name in named for dot in re.finditer(r"\.", name)}
        paths = {modules[name] for name in named | packages if name in modules}
        near = [path for path in others if _part(path) in (_part(place), _SHARED)]
        paths |= {path for path in near if _holds(text, path.rpartition("/")[2])}
        texts += [(path, sources[path], path.endswith(".py")) for path in paths - needed]
        needed |= paths
    return sorted(needed)


def _part(path: str) -> str:
    """The folder of the package in which a source is: files of one name are in several."""
    return "/".join(path.split("/")[:2])


def _holds(text: str, name: str) -> bool:
    """Whether the text has this name of a file, and not only as the end of a longer one."""
    return name in text and re.search(rf"(?<![\w-]){re.escape(name)}", text) is not None


def libraries(programs: Iterable[str]) -> set[str]:
    """Top-level modules that these programs import, without ours and the standard library."""
    named = {name.partition(".")[0] for text in programs for name in _named(text)[0]}
    return named - {_OURS} - set(sys.stdlib_module_names)


@functools.lru_cache(maxsize=256)
def _named(program: str) -> tuple[set[str], set[str]]:
    """Modules that it imports (of `from a import b` both a and a.b), and all its strings, without
    those that only type checkers read."""
    nodes = list(ast.walk(ast.parse(program)))
    skipped = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    imported, strings = set(), set()
    for node in (node for node in nodes if id(node) not in skipped):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    return imported, strings


def pins(imported: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Packages and their versions, as installed here: those of these modules, and all that they
    need on Linux. Packages for another system or another Python are left out."""
    owners = _owners(*sys.path)  # Python 3.10 does not know all; most are called like the module
    names = {owner for name in imported for owner in owners.get(name, [name])}
    direct = {str(canonicalize_name(name)) for name in names}
    versions: dict[str, str] = {}
    queue = [(name, "") for name in direct]
    seen = set(queue)
    while queue:
        name, extra = queue.pop()
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
            for other in _requirements(name, extra):
                also = {(str(canonicalize_name(other.name)), e) for e in ("", *other.extras)}
                queue += also - seen
                seen |= also
    every = dict(sorted(versions.items()))
    return {name: version for name, version in every.items() if name in direct}, every


@functools.cache
def _owners(*path: str) -> Mapping[str, list[str]]:
    """The packages of every module. path: sys.path, which decides it."""
    return metadata.packages_distributions()


def compatible(versions: Mapping[str, str], package: str, extras: Iterable[str]) -> dict[str, str]:
    """The versions that a package, installed with these extras, allows beside it."""
    needed = [other for extra in ("", *extras) for other in _requirements(package, extra)]
    allowed = dict(versions)
    for other in needed:
        name = str(canonicalize_name(other.name))
        if not other.specifier.contains(versions.get(name, "0"), True):
            allowed.pop(name, None)
    return allowed


@functools.cache
def _requirements(package: str, extra: str) -> list[Requirement]:
    every = map(Requirement, metadata.requires(package) or [])
    system = {**_LINUX, "extra": extra}
    return [other for other in every if other.marker is None or other.marker.evaluate(system)]
