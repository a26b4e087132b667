"""The web application of the studio: its page, its projects, their jobs and uploads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from bear_classifier.dataset.backups import CATALOG
from bear_classifier.errors import BearsError, ConfigError, DataError, PhotoError
from bear_classifier.studio.events import event_routes
from bear_classifier.studio.folders import deleted_projects
from bear_classifier.studio.guard import StudioGate, refused_response
from bear_classifier.studio.mounts import Mounts
from bear_classifier.studio.photo_facts import class_photos, cover, photo_facts, stored_file
from bear_classifier.studio.project_routes import download_routes, project_routes
from bear_classifier.studio.projects import BEARS, make_project, names
from bear_classifier.studio.state import published_model
from bear_classifier.studio.workspace import Workspace
from bear_classifier.web.addresses import is_loopback
from bear_classifier.web.guard import Heads, Refused, invalid_request, read_json
from bear_classifier.web.static_files import page_routes
from bear_classifier.web.thumbnails import THUMBNAIL_SIZES, ThumbnailCache

MOUNTED = "/p/"  # applications of projects: review, try, report, files
_STATIC = Path(__file__).parent / "static"
_MOST_ROWS = 500
_Body = Annotated[dict[str, Any], Depends(read_json)]
_WAIT = {"CATALOG_BUSY", "CATALOG_DAMAGED", "CATALOG_UNUSABLE", "LOCKED", "NO_WORKER"}
_CONFLICT = {"EXISTS", "CONFLICT"}


def make_app(root: Path, host: str = "127.0.0.1", token: str = "") -> FastAPI:
    """root: the folder of projects; host: that it is bound to; token: asks for it where it is
    reached from elsewhere."""
    space = Workspace(root)
    mounts = Mounts(space.place)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with mounts, space.working():
            yield

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.workspace, app.state.mounts = space, mounts
    app.include_router(page_routes(_STATIC, "index.html"))
    _projects(app, space, host)
    _jobs(app, space)
    _photos(app, space)
    app.include_router(event_routes(space))
    app.include_router(project_routes(space, mounts))
    app.include_router(download_routes(space))
    app.mount(MOUNTED.rstrip("/"), mounts)
    for kind in (BearsError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _explain)
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=400))
    app.add_middleware(Heads, endless=lambda path: path.endswith("/events"))
    app.add_middleware(StudioGate, host=host, token=token, mounted=MOUNTED)
    return app


def _projects(app: FastAPI, space: Workspace, host: str) -> None:
    @app.get("/api/projects")
    def projects() -> dict[str, Any]:
        here = is_loopback(host)
        return {
            "folder": str(space.root),
            "shared": not here,
            "who_can_reach": "Only this computer reaches this page."
            if here
            else f"Everybody who reaches {host} and has the token can use this page.",
            "projects": [_summary(space, name) for name in names(space.root)],
            "bin": [dataclasses.asdict(one) for one in deleted_projects(space.root)],
        }

    @app.post("/api/projects", status_code=201)
    def make(body: _Body) -> dict[str, str]:
        drawn = body.get("begin") == "drawn"
        return {"id": make_project(space.root, *_wanted(space, body), drawn=drawn).name}

    @app.get("/api/projects/{project}")
    def state(project: str) -> dict[str, Any]:
        return space.state(space.place(project))

    @app.get("/api/projects/{project}/commands")
    def commands(project: str) -> list[dict[str, Any]]:
        place = space.place(project)
        return [
            {"at": job.asked, "cwd": str(place.home), "command": job.command, "state": job.state}
            for job in space.jobs.journal.of(project)
        ]


def _wanted(space: Workspace, body: dict[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """Name and classes of a new project. Raises Refused (400, BAD_REQUEST)."""
    begin, name, classes = body.get("begin", "empty"), body.get("name"), body.get("classes")
    known = {"empty": "", "bears": "bears", "drawn": "drawn-bears"}
    if begin not in known:
        words = f"begin {str(begin)[:50]!r} is not one of {', '.join(known)}"
        raise Refused(400, "BAD_REQUEST", words)
    if plain := known[begin]:
        classes = classes or BEARS
        taken = {name.lower() for name in names(space.root)}
        free = (f"{plain}{n}" if n > 1 else plain for n in range(1, len(taken) + 2))
        name = name or next(one for one in free if one not in taken)
    if isinstance(classes, list):
        classes = {label: [label] for label in classes if isinstance(label, str)}
    if not isinstance(name, str) or not isinstance(classes, dict):
        raise Refused(400, "BAD_REQUEST", "a project has a name and a list of classes")
    return name, classes


def _summary(space: Workspace, name: str) -> dict[str, Any]:
    """A row of the list of projects; of one that cannot be read, why."""
    row: dict[str, Any] = {"id": name, "title": name, "labels": [], "usable": 0, "fault": ""}
    row |= dict.fromkeys(("error", "interval", "n", "job", "changed", "photo"))
    try:
        place = space.place(name)
        row["labels"] = list(place.config.classes)
        busy = space.jobs.busy(name)
        row["job"] = busy[0].state if busy else None
        with space.catalog(place).turn() as catalog:
            row["photo"] = cover(catalog)
            row["usable"] = photo_facts(catalog, row["labels"])["usable"]
            if model := published_model(place, catalog):
                row |= {key: model[key] for key in ("error", "interval", "n")}
        written = place.file, place.data / CATALOG  # not its folder, which a look changes
        row["changed"] = max(path.stat().st_mtime for path in written if path.exists())
    except BearsError as exc:
        row["fault"] = exc.sentence
    return row


def _jobs(app: FastAPI, space: Workspace) -> None:
    @app.post("/api/projects/{project}/jobs", status_code=202)
    async def submit(project: str, body: _Body) -> dict[str, str]:
        place = await asyncio.to_thread(space.place, project)
        given = {key: body.pop(key, "") for key in ("kind", "request", "after")}
        if not all(isinstance(value, str) for value in given.values()):
            raise Refused(400, "BAD_REQUEST", "kind, request and after have to be texts")
        words = place, given["kind"], body, given["request"], given["after"]
        job = await asyncio.to_thread(space.request, *words)
        return {"id": job.id}

    @app.post("/api/jobs/{number}/cancel")
    async def cancel(number: str) -> dict[str, str]:
        return {"state": (await asyncio.to_thread(space.jobs.cancel, number)).state}

    @app.post("/api/jobs/{number}/resume", status_code=202)
    async def resume(number: str, body: _Body) -> dict[str, str]:
        place = await asyncio.to_thread(space.place, space.jobs.get(number).project)
        request = str(body.get("request", ""))
        return {"id": (await asyncio.to_thread(space.jobs.resume, number, place, request)).id}


def _photos(app: FastAPI, space: Workspace) -> None:
    pictures = ThumbnailCache()

    @app.post("/api/projects/{project}/photos", status_code=201)
    async def upload(project: str, request: Request, label: str = "") -> dict[str, str]:
        place = await asyncio.to_thread(space.place, project)
        return await space.uploads.photo(place, label, request.stream())

    @app.post("/api/projects/{project}/zip", status_code=201)
    async def upload_zip(project: str, request: Request) -> dict[str, str]:
        place = await asyncio.to_thread(space.place, project)
        return {"file": await space.uploads.zip(place, request.stream())}

    @app.get("/api/projects/{project}/photos")
    def photos(project: str, label: str = "", offset: int = 0, limit: int = 60) -> dict[str, Any]:
        if offset < 0 or not 0 < limit <= _MOST_ROWS:
            raise Refused(400, "BAD_REQUEST", f"limit is from 1 to {_MOST_ROWS}, offset from 0")
        with space.catalog(space.place(project)).turn() as catalog:
            return class_photos(catalog, label, offset, limit)

    @app.get("/api/projects/{project}/photo/{sha256}")
    def photo(project: str, sha256: str, size: int = THUMBNAIL_SIZES[0]) -> Response:
        if size not in THUMBNAIL_SIZES:
            raise Refused(400, "BAD_REQUEST", f"size is one of {THUMBNAIL_SIZES}")
        with space.catalog(space.place(project)).turn() as catalog:
            path = stored_file(catalog, sha256)
        data = pictures.get(path, size)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(data, media_type="image/jpeg", headers=headers)


def _explain(_: Request, exc: Exception) -> JSONResponse:
    """Every error in the same form, with its code and its sentence."""
    if isinstance(exc, RequestValidationError):
        exc = invalid_request(exc, 400)
    if isinstance(exc, HTTPException):
        exc = Refused(exc.status_code, "NOT_FOUND", "there is nothing here")
    assert isinstance(exc, BearsError)
    if isinstance(exc, Refused):
        return refused_response(exc)
    return refused_response(Refused(_status(exc), exc.code, exc.sentence))


def _status(exc: BearsError) -> int:
    if exc.code == "DISK_FULL":
        return 507
    if isinstance(exc, PhotoError):
        return 413 if exc.code == "TOO_LARGE" else 422
    if exc.code in _WAIT:
        return 503
    if exc.code == "NO_SUCH_PHOTO":
        return 404
    if exc.code in _CONFLICT:
        return 409
    return 400 if isinstance(exc, (ConfigError, DataError)) else 500
