"""The web service: HTTP API, page, gradio, health checks."""

from __future__ import annotations

import asyncio
import contextlib
import functools
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
from bear_classifier.serve import gradio_guard, limits
from bear_classifier.serve.limits import Fair
from bear_classifier.serve.monitoring import Metrics
from bear_classifier.serve.on_device import OnDevice, device_routes
from bear_classifier.serve.prefix import Prefix
from bear_classifier.serve.queue import Service
from bear_classifier.serve.request_guard import Door, error_response
from bear_classifier.serve.routes import api
from bear_classifier.web.addresses import EVERYWHERE
from bear_classifier.web.guard import Heads, Refused, invalid_request
from bear_classifier.web.static_files import files_of_page

_KEEP = 60.0  # seconds that an upload of gradio's page may lie on the disk
_SWEEP = 10.0  # seconds between two looks at them
_DEFAULT = ServeConfig()
_TAKEN = tuple(f"{limits.GRADIO}/gradio_api/{x}" for x in ("queue", "call", "cancel", "reset"))
_STATUS = {
    "EMPTY_FILE": 400,
    "TOO_LARGE": 413,
    "NOT_AN_IMAGE": 415,
    "UNSUPPORTED_FORMAT": 415,
    "TIMEOUT_DECODE": 503,
}


def make_app(
    service: Service,
    settings: ServeConfig = _DEFAULT,
    host: str = EVERYWHERE,
    gradio: bool = True,
) -> FastAPI:
    """The application: routes, page, gradio, and the guards before them. host: the address that it
    is bound to; gradio: whether its page is there, too, which takes seconds and 100 MB."""
    metrics = Metrics(lambda: service.admitted)
    fair = Fair(settings.per_minute, settings.proxy)
    device = OnDevice(service.models, settings.on_device)
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
            await asyncio.gather(*tasks, device.close(), return_exceptions=True)
        uploads.cleanup()

    app = FastAPI(
        title="Bears",
        version=__version__,
        description="Ask a published image classifier. Send the bytes of one photo.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(api(service, metrics, fair, corrections, device))
    app.include_router(device_routes(service.models, device))
    _health(app, service, metrics)

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204)  # browsers ask for one

    files = files_of_page(Path(__file__).parent / "static")

    @app.get("/{name}", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    def page(name: str = "page.html") -> Response:
        if name not in files:
            raise HTTPException(404, "There is nothing here")
        return FileResponse(files[name], headers={"Cache-Control": "no-cache"})

    if gradio:
        from bear_classifier.serve import gradio_app

        gradio_app.mount(app, service, limits.GRADIO, folder)
    app.add_exception_handler(BearsError, _explain)
    app.add_exception_handler(HTTPException, _explain_http)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_middleware(Prefix, settings=settings)
    app.add_middleware(gradio_guard.Gate, uploads=folder)
    app.add_middleware(Heads, endless=gradio_guard.endless)
    refuse = functools.partial(_refuse, service, fair)
    app.add_middleware(Door, metrics=metrics, settings=settings, host=host, refuse=refuse)
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


async def _sweeping(folder: Path) -> None:
    while True:
        await asyncio.to_thread(gradio_guard.swept, folder, time.time() - _KEEP)
        await asyncio.sleep(_SWEEP)


def _refuse(service: Service, fair: Fair, scope: Scope, inside: int) -> None:
    """Refuse photos before they come where there is no room for them."""
    path = scope["path"]
    if scope["method"] == "POST" and path.startswith(("/api/v1/c", f"{limits.GRADIO}/gradio_api/")):
        service.admit()
        if not path.startswith(_TAKEN):
            fair.take(fair.who(scope))
        if path == limits.CLASSIFY_MANY and inside >= limits.MAX_BATCHES:
            raise Refused(503, "BUSY", f"{inside} batches are worked on. Try again later", 30)


async def _explain(request: Request, exc: Exception) -> Response:
    if isinstance(exc, RequestValidationError):
        exc = invalid_request(exc, 422)
    assert isinstance(exc, BearsError)
    if not isinstance(exc, Refused):
        status = 503 if isinstance(exc, (ModelError, DataError)) else 400
        if isinstance(exc, PhotoError):
            status = _STATUS.get(exc.code, 422)
        sentence = exc.sentence[:1].upper() + exc.sentence[1:]
        exc = Refused(status, exc.code, sentence, 5 if status == 503 else None)
    return error_response(request.scope, exc)


async def _explain_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    known = {
        400: Refused(400, "BAD_REQUEST", str(exc.detail)),
        404: Refused(404, "NOT_FOUND", "There is nothing here"),
        405: Refused(405, "WRONG_METHOD", "This address takes another method"),
    }
    other = Refused(exc.status_code, "REFUSED", str(exc.detail))
    response = error_response(request.scope, known.get(exc.status_code, other))
    response.headers.update(exc.headers or {})
    return response
