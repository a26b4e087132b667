"""Projects are begun from an archive, renamed, deleted and restored; their classes are changed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from bear_classifier.collect.sources.zip_files import classes_of_zip
from bear_classifier.config import project_edits
from bear_classifier.runtime.files import move
from bear_classifier.studio import folders, uploads
from bear_classifier.studio.commands import ZIPS
from bear_classifier.studio.downloads import packed
from bear_classifier.studio.mounts import Mounts
from bear_classifier.studio.projects import Place, check_name, make_project, refuse_moved
from bear_classifier.studio.suggestions import suggested_queries
from bear_classifier.studio.workspace import Workspace
from bear_classifier.web.guard import Refused, read_json

_Body = Annotated[dict[str, Any], Depends(read_json)]


def project_routes(space: Workspace, mounts: Mounts) -> APIRouter:
    routes = APIRouter()

    @asynccontextmanager
    async def closed(project: str) -> AsyncIterator[Place]:
        """A project that nothing of the studio has open, so that its folder can move. Until it has,
        no job and no upload of it begins."""
        place = await asyncio.to_thread(space.place, project)
        with space.jobs.lock:
            refuse_moved(place, space.moving)
            if busy := space.jobs.busy(project):
                words = f"{busy[0].command} is {busy[0].state}; stop it first"
                raise _busy(project, words)
            space.moving.add(project)
        try:
            if space.uploads.coming[project]:
                raise _busy(project, "files are being uploaded to it; wait until they are received")
            await mounts.close(project)
            space.release(project)
            yield place
            space.jobs.journal.forget(project)
        finally:
            space.moving.discard(project)

    @routes.post("/api/projects/{project}/rename")
    async def rename(project: str, body: _Body) -> dict[str, str]:
        new = _text(body, "name")
        async with closed(project) as place:
            await asyncio.to_thread(folders.rename_project, place, new)
        await asyncio.to_thread(space.jobs.read, new)
        return {"id": new}

    @routes.post("/api/projects/{project}/delete")
    async def delete(project: str) -> dict[str, str]:
        async with closed(project) as place:
            return {"bin": await asyncio.to_thread(folders.delete_project, place)}

    @routes.post("/api/bin/{number}/restore")
    async def restore(number: str) -> dict[str, str]:
        name = await asyncio.to_thread(folders.restore_project, space.root, number)
        await asyncio.to_thread(space.jobs.read, name)
        return {"id": name}

    @routes.post("/api/from-zip", status_code=201)
    async def from_zip(request: Request, name: str) -> dict[str, Any]:
        """A new project whose classes are the folders of the archive that is sent."""
        check_name(name)
        held = await uploads.received_zip(space.root / ".studio" / ZIPS, request.stream())
        try:
            place = await asyncio.to_thread(_begun, space.root, name, held)
        finally:
            held.unlink(missing_ok=True)
        space.uploads.came(place)
        return {"id": place.name, "labels": list(place.config.classes)}

    @routes.post("/api/projects/{project}/classes")
    def change_classes(project: str, body: _Body) -> dict[str, Any]:
        """{"add": label}, {"remove": label} or {"queries": {label: [query]}}."""
        file = space.place(project).file
        done = [what for what in _CHANGES if what in body]
        if len(done) != 1:
            raise Refused(400, "BAD_REQUEST", "send one of add, remove and queries")
        _CHANGES[done[0]](file, body)
        config = space.place(project).config
        return {"labels": list(config.classes), "queries": config.classes}

    @routes.post("/api/projects/{project}/take-in", status_code=202)
    def take_in(project: str) -> dict[str, Any]:
        """Take in what waits, also the archives whose job failed."""
        return {"ids": [job.id for job in space.take_in(space.place(project), again=True)]}

    @routes.get("/api/suggestions")
    def suggestions(label: str) -> dict[str, list[str]]:
        return {"queries": suggested_queries(label[:100])}

    return routes


def _busy(project: str, why: str) -> Refused:
    return Refused(409, "BUSY", f"{project} cannot move while it is worked on: {why}")


def _begun(root: Path, name: str, held: Path) -> Place:
    """A project of the class folders in an archive, which lies in it then."""
    classes = classes_of_zip(held)
    place = make_project(root, name, {label: suggested_queries(label)[:1] for label in classes})
    try:
        move(held, uploads.uploads_folder(place) / ZIPS / held.name)
    except BaseException:
        shutil.rmtree(place.home)  # nothing was in it before
        raise
    return place


def _add(file: Path, body: dict[str, Any]) -> None:
    label = _text(body, "add").strip()
    project_edits.add_class(file, label)


def _remove(file: Path, body: dict[str, Any]) -> None:
    project_edits.remove_class(file, _text(body, "remove"))


def _queries(file: Path, body: dict[str, Any]) -> None:
    given = body["queries"]
    if not isinstance(given, dict) or len(given) != 1:
        raise Refused(400, "BAD_REQUEST", "queries is an object of one class and its list")
    ((label, queries),) = given.items()
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise Refused(400, "BAD_REQUEST", "queries of a class are a list of texts")
    project_edits.set_queries(file, label, [query.strip() for query in queries])


_CHANGES: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "queries": _queries,
}


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise Refused(400, "BAD_REQUEST", f"{name} has to be a text")
    return value


def download_routes(space: Workspace) -> APIRouter:
    """Sent as attachments, while they are packed."""
    routes = APIRouter()

    @routes.get("/p/{project}/files/{name}")
    def file(project: str, name: str) -> Response:
        place = space.place(project)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        report = place.data / "report" / "report.html"
        if name == f"{place.name}-report.html" and report.is_file():
            return FileResponse(report, headers=headers)
        return StreamingResponse(packed(place, name), media_type="application/zip", headers=headers)

    @routes.get("/api/projects/{project}/download")
    def download(project: str) -> Response:
        return file(project, f"{project}-project.zip")

    return routes
