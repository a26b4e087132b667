"""What we rely on inside libraries: no private names, and the few overridden methods are there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import h11
import pytest
import uvicorn
from corpus import ROOT
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from bear_classifier.collect.http import ssrf_guard
from bear_classifier.serve import uvicorn_server
from bear_classifier.studio.server import StudioServer

FILES = [*sorted((ROOT / "bear_classifier").rglob("*.py")), ROOT / "app.py"]
DOCUMENTED = {"_replace", "_asdict", "_fields"}  # of named tuples
METHODS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(module: ast.Module) -> set[str]:
    """Private names that a module gives something of its own: functions, classes, variables,
    fields, and attributes of self."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, METHODS):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if ast.unparse(node.value) in ("self", "cls") else set()
    return {name for name in found if is_private(name)}


def used(module: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of private attributes, and of private modules and names that are imported."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from ((node.lineno, word) for word in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            words = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, word) for word in words)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            word = node.args[1]
            if isinstance(word, ast.Constant):
                yield node.lineno, str(word.value)


def foreign(module: ast.Module, ours: set[str]) -> list[tuple[int, str]]:
    return [
        (line, name)
        for line, name in used(module)
        if is_private(name) and name not in ours | DOCUMENTED
    ]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_no_private_name_of_a_library_is_used() -> None:
    """A private attribute is one of the same module, or a method of a base class of ours."""
    inherited = {"_select": "review/catalog_view.py"}
    found = {}
    for path in FILES:
        module = parsed(path)
        own = {name for name, file in inherited.items() if path.as_posix().endswith(file)}
        if wrong := foreign(module, defined(module) | own):
            found[path.relative_to(ROOT).as_posix()] = wrong
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "zipfile._EndRecData(file)",
        "session._retry_connection = False",
        "list(tqdm._instances)",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "import uvicorn._compat",
        "from h11._connection import Connection",
        'getattr(session, "_connector")',
    ],
)
def test_a_private_name_is_noticed(line: str) -> None:
    assert foreign(ast.parse(line), set()) != []


def test_our_own_are_not_meant() -> None:
    code = "class A:\n    def _b(self):\n        self._c = 1\n        return self._b, self._c"
    module = ast.parse(code)
    assert foreign(module, defined(module)) == []
    assert foreign(ast.parse("x.__class__\nparts._replace(a=1)"), set()) == []


# methods that are overridden though no documentation promises them


@pytest.mark.parametrize(
    ("ours", "base"),
    [
        (uvicorn_server.Patient, H11Protocol),
        (uvicorn_server.Server, uvicorn.Server),
        (StudioServer, uvicorn.Server),
        (ssrf_guard.checked_request(lambda address: True), aiohttp.ClientRequest),
    ],
)
def test_what_is_overridden_is_called_alike(ours: type, base: type) -> None:
    overridden = [
        name for name, member in vars(ours).items()
        if inspect.isfunction(member) and not is_private(name) and name in dir(base)
    ]  # fmt: skip
    assert overridden
    for name in set(overridden) - {"__init__"}:
        theirs, mine = getattr(base, name), getattr(ours, name)
        assert list(inspect.signature(theirs).parameters) == list(
            inspect.signature(mine).parameters
        )
        assert inspect.iscoroutinefunction(theirs) == inspect.iscoroutinefunction(mine), name


def test_methods_of_uvicorn_that_are_overridden() -> None:
    assert {"connection_made", "connection_lost", "on_response_complete", "pause_writing"} <= set(
        vars(H11Protocol)
    )
    assert {"startup", "handle_exit", "on_tick", "shutdown", "serve"} <= set(vars(uvicorn.Server))


def test_attributes_of_a_connection_of_uvicorns() -> None:
    config = uvicorn.Config(lambda: None, log_config=None)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    try:
        connection = H11Protocol(config, ServerState(), {}, _loop=loop)
        assert connection.loop is loop
    finally:
        loop.close()
    assert connection.cycle is None and connection.transport is None
    assert isinstance(connection.conn, h11.Connection)
    parameters = inspect.signature(RequestResponseCycle.__init__).parameters
    assert {"scope", "on_response"} <= set(parameters)
    assert "self.response_complete" in inspect.getsource(RequestResponseCycle.__init__)


def test_attributes_of_a_server_of_uvicorns() -> None:
    server = uvicorn.Server(uvicorn.Config(lambda: None, log_config=None))  # type: ignore[arg-type]
    assert server.should_exit is False and server.force_exit is False
    assert server.server_state.connections == set()


def test_a_request_of_aiohttps_is_sent_over_a_connection() -> None:
    assert list(inspect.signature(aiohttp.ClientRequest.send).parameters) == ["self", "conn"]
    assert "request_class" in inspect.signature(aiohttp.ClientSession.__init__).parameters
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    assert callable(ResponseHandler.force_close)
    assert isinstance(Connection.transport, property) and isinstance(Connection.protocol, property)


@pytest.mark.parametrize("file", ["serve/uvicorn_server.py", "collect/http/ssrf_guard.py"])
def test_the_versions_that_were_checked_are_those_required(file: str) -> None:
    text = (ROOT / "bear_classifier" / file).read_text(encoding="utf-8")
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = re.findall(r"checked with (\w+) ([\d.]+\d)", text)
    assert found
    for library, version in found:
        assert f"{library}=={version}" in required, "look at its changes, then write this version"


def test_two_modules_extend_classes_of_uvicorns() -> None:
    found = [
        path.name
        for path in FILES
        if "uvicorn.protocols" in (text := path.read_text(encoding="utf-8"))
        or "(uvicorn.Server)" in text
    ]
    assert found == ["uvicorn_server.py", "server.py"]
