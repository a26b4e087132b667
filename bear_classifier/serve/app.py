"""The web service: HTTP API, page, gradio, health checks."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from bear_classifier import __version__
from bear_classifier.config.settings import ServeConfig
from bear_classifier.errors import BearsError, DataError, ModelError, PhotoError
from bear_classifier.serve import gradio_guard, limits, request_guard
from bear_classifier.serve.metrics import Metrics
from bear_classifier.serve.queue import Refused, Service
from bear_classifier.serve.rate_limit import Fair
from bear_classifier.serve.routes import api
from bear_classifier.web.head_requests import Heads
from bear_classifier.web.host_names import EVERYWHERE, HostNames

_KEEP = 60.0  # seconds that an upload of gradio's page may lie on the disk
_AS_IT_COMES = ServeConfig()
_SWEEP = 10.0  # seconds between two looks at them
_TAKEN = tuple(
    f"{limits.GRADIO}/gradio_api/{what}" for what in ("queue", "call", "cancel", "reset")
)
_STATUS = {
    "EMPTY_FILE": 400,
    "TOO_LARGE": 413,
    "NOT_AN_IMAGE": 415,
    "UNSUPPORTED_FORMAT": 415,
    "TIMEOUT_DECODE": 503,
}
_GRADIO_POLICY = (  # its page is made of inline scripts and styles
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none';"
    " base-uri 'none'; form-action 'none'"
)


def make_app(
    service: Service, settings: ServeConfig = _AS_IT_COMES, host: str = EVERYWHERE
) -> FastAPI:
    """The application: routes, page, gradio, and what stands before all of them. host: the address
    that it is bound to."""
    metrics = Metrics(lambda: service.admitted)
    fair = Fair(settings.per_minute, settings.proxy)
    corrections = Path(settings.corrections) if settings.corrections else None
    uploads = tempfile.TemporaryDirectory(prefix="bears-uploads-")
    folder = Path(uploads.name)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            tasks = [asyncio.create_task(_sweeping(folder))]
            if not service.checked:
                tasks.append(asyncio.create_task(service.check()))
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        uploads.cleanup()

    app = FastAPI(
        title="Bears",
        version=__version__,
        description="Ask a published image classifier. Send the bytes of one photo.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(api(service, metrics, fair, corrections))
    _health(app, service, metrics)

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204)  # browsers ask for one

    here = Path(__file__).parent / "static"
    shown = {path.name: path for path in here.glob("page*") if path.suffix in (".css", ".js")}

    @app.get("/", include_in_schema=False)
    @app.get("/{name}", include_in_schema=False)
    def page(name: str = "page.html") -> Response:
        path = here / name if name == "page.html" else shown.get(name)
        if path is None:
            raise HTTPException(404, "There is nothing here")
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    _mount_gradio(app, service, folder)
    app.add_exception_handler(BearsError, _explained)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_middleware(gradio_guard.Gate, uploads=folder)
    app.add_middleware(Heads, endless=gradio_guard.endless)
    app.add_middleware(
        request_guard.Door,
        metrics=metrics,
        limit=limits.body_limit,
        policy=lambda path: (
            _GRADIO_POLICY if path.startswith(limits.GRADIO) else request_guard.POLICY
        ),
        framed_by=settings.framed_by,
        names=HostNames(host, settings.names.split()),
        proxy=settings.proxy,
        refuse=lambda scope, inside: _closed(service, fair, scope, inside),
    )
    return app


def _health(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/livez", tags=["health"])
    async def alive() -> dict[str, str]:
        """Whether the process runs."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Not yet, or no more"}})
    async def ready() -> JSONResponse:
        """Whether photos are taken: all models passed their self-test and nobody stops it."""
        why = service.not_ready()
        return JSONResponse({"status": why or "ready"}, 503 if why else 200)

    @app.get("/metrics", include_in_schema=False)
    async def figures() -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")


def _mount_gradio(app: FastAPI, service: Service, uploads: Path) -> None:
    from bear_classifier.serve.gradio_app import mount

    mount(app, service, limits.GRADIO, uploads)


async def _sweeping(folder: Path) -> None:
    while True:
        await asyncio.to_thread(gradio_guard.swept, folder, time.time() - _KEEP)
        await asyncio.sleep(_SWEEP)


def _closed(service: Service, fair: Fair, scope: Scope, inside: int) -> None:
    """Refuse photos before they come where there is no room for them."""
    path = scope["path"]
    if scope["method"] == "POST" and path.startswith(("/api/v1/c", f"{limits.GRADIO}/gradio_api/")):
        service.admit()
        if not path.startswith(_TAKEN):
            fair.take(fair.who(scope))
        if path == limits.CLASSIFY_MANY and inside >= limits.MAX_BATCHES:
            raise Refused(503, "BUSY", f"{inside} batches are worked on. Try again later", 30)


def status_of(exc: BearsError) -> int:
    if isinstance(exc, Refused):
        return exc.status
    if isinstance(exc, PhotoError):
        return _STATUS.get(exc.code, 422)
    return 503 if isinstance(exc, (ModelError, DataError)) else 400


async def _explained(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, BearsError)
    status, after = status_of(exc), getattr(exc, "after", None)
    later = {"Retry-After": str(after if after is not None else 5)}
    headers = later if status in (429, 503) else {}
    return _said(request, status, exc.code, exc.sentence[:1].upper() + exc.sentence[1:], headers)


async def _unknown(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    known = {
        400: Refused(400, "BAD_REQUEST", str(exc.detail)),
        404: Refused(404, "NOT_FOUND", "There is nothing here"),
        405: Refused(405, "WRONG_METHOD", "This address takes another method"),
    }
    said = known.get(exc.status_code) or Refused(exc.status_code, "REFUSED", str(exc.detail))
    return _said(request, said.status, said.code, said.sentence, dict(exc.headers or {}))


async def _not_understood(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = Refused(422, "BAD_REQUEST", f"{where}: {first['msg']}")
    return _said(request, said.status, said.code, said.sentence, {})


def _said(
    request: Request, status: int, code: str, sentence: str, headers: dict[str, str]
) -> Response:
    request.scope["code"] = code
    number = request.scope["state"]["request_id"]
    return JSONResponse(request_guard.error(code, sentence, number), status, headers)
