"""The files of a page: those of its own folder, and those that all pages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

_SHARED = Path(__file__).parent / "static"
_KINDS = (".css", ".html", ".js")


def files_of_page(folder: Path) -> dict[str, Path]:
    """What a page fetches, by its address relative to the page, such as views/grid.js.

    folder: of the page; a file there goes before a shared one of the same name."""
    return {
        path.relative_to(root).as_posix(): path
        for root in (_SHARED, folder)
        for path in sorted(root.rglob("*"))
        if path.suffix in _KINDS
    }


def page_routes(folder: Path, index: str) -> APIRouter:
    """A route for each file of a page, and one for the page itself. index: its file."""
    routes, files = APIRouter(), files_of_page(folder)
    for name, path in {"": files[index], **files}.items():
        routes.get(f"/{name}")(_sends(path))

    @routes.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)  # browsers ask for one

    return routes


def _sends(path: Path) -> Callable[[], Response]:
    return lambda: FileResponse(path, headers={"Cache-Control": "no-cache"})
