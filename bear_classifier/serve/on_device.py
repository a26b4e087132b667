"""What lets the page run a model in the visitor's browser: the libraries of `bears assets`, and the
complete ONNX of each model.

That file is made by a process of its own when a visitor first wants it, and lies in the user's
cache from then on: who does not use it pays neither time at the start nor memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib.util
import json
import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from bear_classifier.errors import ModelError
from bear_classifier.runtime.files import hash_of
from bear_classifier.runtime.user_cache import cache_folder
from bear_classifier.serve.queue import ServedModel
from bear_classifier.web.guard import Refused
from bear_classifier.web.page_assets import HEIF, ONNX_RUNTIME, folder_of

# Put together from parts, so that a Space, which has neither torch nor onnx, does not carry it:
# ship/dependencies.py.
_MAKER = f"{__package__}.device_model"
_PARTS = ("ship/complete_onnx.py", "ship/complete_export.py", "serve/device_model.py")
_WASM = "ort-wasm-simd-threaded.wasm"
_TYPES = {
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}
_PATIENCE = 20.0  # seconds that a request waits for a file that is being made
_LONGEST = 600.0  # seconds until the making of a file counts as stuck
_KEPT = 8  # models in the cache; of more, those that were not used longest are removed
_LOG = logging.getLogger("bears")


class OnDevice:
    """models: by name; wanted: the setting serve.on_device."""

    def __init__(self, models: Mapping[str, ServedModel], wanted: bool) -> None:
        self._models = models
        self._wanted = wanted
        self._made: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._files: dict[str, Path] = {}  # by the last part of their address
        self._wasm: dict[str, Any] | None = None

    def offered(self) -> bool:
        """Whether visitors may choose that the model runs in their browser."""
        known = importlib.util.find_spec(_MAKER) is not None
        return self._wanted and known and folder_of(ONNX_RUNTIME) is not None

    def bytes_of(self, model: ServedModel) -> int | None:
        """How much a browser loads for it: runtime and model; None before its file was made."""
        runtime, folder = folder_of(ONNX_RUNTIME), _folder(model)
        if not self.offered() or runtime is None or folder is None:
            return None
        try:
            size = int(json.loads((folder / "facts.json").read_bytes())["model"]["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (runtime / _WASM).stat().st_size + size

    async def facts(self, model: ServedModel) -> dict[str, Any]:
        """What the page loads and has to know, once the file is there. Raises Refused (404
        NOT_FOUND: not offered; 503 MAKING: ask again; 503 NOT_ON_DEVICE: it cannot be made)."""
        if not self.offered():
            raise Refused(404, "NOT_FOUND", "Models of this service do not run in browsers")
        making = self._made.get(model.name)
        if making is None:
            making = self._made[model.name] = asyncio.create_task(self._ready(model))
        await asyncio.wait([making], timeout=_PATIENCE)
        if not making.done():
            words = "The model is being made ready for browsers, which happens once"
            raise Refused(503, "MAKING", f"{words}. Try again in 2 seconds", 2)
        try:
            return making.result()
        except ModelError as exc:
            words = f"The server cannot make it ready: {exc.sentence}"
            raise Refused(503, "NOT_ON_DEVICE", words) from exc

    def file(self, folder: str, name: str) -> Path | None:
        """The file at this address: of a library, or of a model that was asked for."""
        if folder == "device":
            return self._files.get(name)
        asset = {"ort": ONNX_RUNTIME, "heif": HEIF}.get(folder)
        place = folder_of(asset) if asset else None
        if asset is None or place is None or name not in asset.files.values():
            return None
        return place / name if folder == "heif" or self._wanted else None

    async def close(self) -> None:
        """End what is being made."""
        for task in self._made.values():
            task.cancel()
        await asyncio.gather(*self._made.values(), return_exceptions=True)

    async def _ready(self, model: ServedModel) -> dict[str, Any]:
        folder = _folder(model)
        if folder is None:
            raise ModelError(
                "NOT_ON_DEVICE", "there is no folder for a cache; set BEARS_CACHE to one"
            )
        facts = await asyncio.to_thread(_read, folder)
        if facts is None:
            await _make(model, folder)
            facts = await asyncio.to_thread(_read, folder)
        if facts is None:
            raise ModelError("NOT_ON_DEVICE", f"{folder} does not hold what was written there")
        await asyncio.to_thread(_tidy, folder)
        name = Path(facts["model"]["name"]).name
        self._files[name] = folder / name
        if self._wasm is None:
            self._wasm = await asyncio.to_thread(_wasm_facts)
        return {**facts, "wasm": self._wasm}


def device_routes(service_models: Mapping[str, ServedModel], device: OnDevice) -> APIRouter:
    """The files, and what the page asks before it loads them."""
    router = APIRouter(include_in_schema=False)

    @router.get("/api/v1/models/{name}/device")
    async def facts(name: str) -> dict[str, Any]:
        if name not in service_models:
            raise Refused(404, "NO_MODEL", f"There is no model {name[:50]!r}")
        return await device.facts(service_models[name])

    @router.get("/device/{name}")
    @router.get("/heif/{name}")
    @router.get("/ort/{name}")
    async def file(name: str, request: Request) -> Response:
        path = device.file(request.scope["route"].path.split("/")[1], name)
        if path is None or not path.is_file():
            raise HTTPException(404, "There is nothing here")
        kind = _TYPES.get(path.suffix, "text/plain; charset=utf-8")
        found = FileResponse(
            path, headers={"Cache-Control": "no-cache"}, media_type=kind, stat_result=path.stat()
        )
        if request.headers.get("if-none-match") == found.headers["etag"]:
            return Response(status_code=304, headers={"ETag": found.headers["etag"]})
        return found

    return router


def _folder(model: ServedModel) -> Path | None:
    """For the file of this bundle as this version of the program makes it."""
    cache = cache_folder()
    sha = hashlib.sha256(f"{model.about['checksum']} {_version()}".encode())
    return cache and cache / "device" / sha.hexdigest()[:32]


@functools.cache
def _version() -> str:
    package = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((package / part).read_bytes() for part in _PARTS)).hexdigest()


def _read(folder: Path) -> dict[str, Any] | None:
    """What was made, if its file is the one that was written; None: nothing, or only a part."""
    try:
        facts = json.loads((folder / "facts.json").read_bytes())
        name, sha256 = Path(facts["model"]["name"]).name, facts["model"]["sha256"]
        whole = hash_of(folder / name) == sha256
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(facts) if whole else None


def _wasm_facts() -> dict[str, Any]:
    place = folder_of(ONNX_RUNTIME)
    assert place
    path = place / _WASM
    return {"name": f"ort/{_WASM}", "sha256": hash_of(path), "bytes": path.stat().st_size}


async def _make(model: ServedModel, folder: Path) -> None:
    """Raises ModelError with what the other process says."""
    words = [str(model.path), str(model.about["checksum"]), str(folder)]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _MAKER, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(child.communicate(), _LONGEST)
    except asyncio.TimeoutError as exc:
        raise ModelError("NOT_ON_DEVICE", f"its file was not made in {_LONGEST:.0f} s") from exc
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["it ended without a word"]
        try:
            message = str(json.loads(lines[-1])["message"])
        except (ValueError, KeyError, TypeError):
            message = lines[-1][:200]
        _LOG.error("a model cannot be made ready for browsers", extra={"trace": "\n".join(lines)})
        raise ModelError("NOT_ON_DEVICE", message)


def _tidy(folder: Path) -> None:
    """Note that this one was used now, and keep only so many."""
    with contextlib.suppress(OSError):
        (folder / "facts.json").touch()
        used = [(path.stat().st_mtime, path.parent) for path in folder.parent.glob("*/facts.json")]
        for _, old in sorted(used, reverse=True)[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
