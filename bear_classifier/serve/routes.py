"""HTTP API: one photo, many photos, corrections, and the list of models."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from markdown_it import MarkdownIt
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from bear_classifier.errors import BearsError, PhotoError
from bear_classifier.images.decoder import check_bytes
from bear_classifier.runtime.files import cell, printable
from bear_classifier.runtime.system_files import left_by_system
from bear_classifier.runtime.templates import template
from bear_classifier.serve import limits
from bear_classifier.serve.corrections import NONE, NONE_AT_ALL, keep
from bear_classifier.serve.limits import Fair
from bear_classifier.serve.monitoring import Metrics
from bear_classifier.serve.on_device import OnDevice
from bear_classifier.serve.queue import Do, Service
from bear_classifier.web.guard import Refused
from bear_classifier.web.page_assets import HEIF, folder_of

LISTED = 1_000_000  # bytes of a ZIP that are read to list its files
Read = Callable[[], bytes]
_FORM = "multipart/form-data"
_BINARY = {"type": "string", "format": "binary"}


class Problem(BaseModel):
    """Why there is no answer. code: for programs; message: for people."""

    code: str
    message: str
    request_id: str


class Picture(BaseModel):
    label: str
    image: str = Field(description="data: address of a JPEG")


class Similar(Picture):
    about: str = Field(description="author and licence, as far as known")
    source: str = Field(description="web page that shows it, or empty")


class Answer(BaseModel):
    """accepted: whether label is to be shown as an answer; reason: why not."""

    request_id: str
    model: str
    label: str
    confidence: float = Field(description="calibrated probability of label")
    probabilities: dict[str, float]
    accepted: bool
    reason: Literal["ok", "unlike_training", "too_close"]
    sentence: str
    milliseconds: float
    photo: str | None = Field(None, description="the square that the model saw, with explain")
    maps: list[Picture] | None = Field(None, description="what spoke for a class, with explain")
    similar: list[Similar] | None = Field(None, description="training photos, if they may be shown")


ModelName = Annotated[str, Query(description="its name; the first one if left out")]
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "An empty file, or a request that makes no sense"},
    403: {"model": Problem, "description": "Sent by another website's page"},
    404: {"model": Problem, "description": "No such model"},
    408: {"model": Problem, "description": "The photo came too slowly"},
    413: {"model": Problem, "description": "Too many bytes"},
    415: {"model": Problem, "description": "Not a picture, or of a kind that is not read"},
    422: {"model": Problem, "description": "A picture that cannot be used"},
    429: {"model": Problem, "description": "Too many photos from one address; see Retry-After"},
    503: {"model": Problem, "description": "Busy or stopping; Retry-After says when to ask again"},
}


def _body(kind: str, file: dict[str, Any]) -> dict[str, Any]:
    """The description of a body: bytes of this kind, or a form. file: its field of that name."""
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    content = {kind: {"schema": _BINARY}, _FORM: {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


_ONE = _body("application/octet-stream", _BINARY)
_SEVERAL = _body("application/zip", {"type": "array", "items": _BINARY})


def api(
    service: Service, metrics: Metrics, fair: Fair, corrections: Path | None, device: OnDevice
) -> APIRouter:
    """The routes. corrections: where they are kept; None: they are not taken."""
    router = APIRouter(prefix="/api/v1", tags=["photos"])

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """All models, with the figures of each."""
        described = [
            model.description()
            | {"default": name == service.default, "card": f"api/v1/models/{name}/card",
               "device_bytes": device.bytes_of(model)}
            | {"examples": model.to_try(f"api/v1/models/{name}/examples/")}
            for name, model in service.models.items()
        ]  # fmt: skip
        return {
            "models": described,
            "limits": limits.photo_limits(),
            "corrections": corrections is not None,
            "on_device": device.offered(),
            "heic": folder_of(HEIF) is not None,
        }

    @router.get("/models/{name}/card", responses={404: _ERRORS[404]})
    async def card(name: str, request: Request) -> Response:
        """What a person should know before trusting a model: Markdown, or the same as a page for
        browsers, which ask for text/html."""
        text, vary = service.model(name).card, {"Vary": "Accept"}
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(render_card(name, text), headers=vary)
        return Response(text, media_type="text/markdown; charset=utf-8", headers=vary)

    jpeg = {"content": {"image/jpeg": {}}, "description": "A picture"}

    @router.get(
        "/models/{name}/examples/{number}.jpeg",
        response_class=Response,
        responses={200: jpeg, 404: _ERRORS[404], 422: _ERRORS[422]},
    )
    async def example(name: str, number: int) -> Response:
        """A picture to try, which the model answers rightly."""
        pictures = service.model(name).examples
        if not 0 <= number < len(pictures):
            raise Refused(404, "NOT_FOUND", "There is no such picture")
        return Response(pictures[number][1], media_type="image/jpeg")

    @router.post("/classify", response_model=Answer, openapi_extra=_ONE, responses=_ERRORS)
    async def classify(request: Request, model: ModelName = "", explain: bool = False) -> Response:
        """The answer to one photo: its bytes, or a form with one file."""
        service.model(model)
        photo = await _one(request)
        do: Do = "explain" if explain else "answer"
        answer = await service.answer(model, photo, do, request.is_disconnected)
        metrics.answered(answer["model"], answer["reason"])
        return JSONResponse({"request_id": request.scope["state"]["request_id"], **answer})

    rows = {"content": {"application/x-ndjson": {}, "text/csv": {}}, "description": "Rows"}

    @router.post("/classify-many", openapi_extra=_SEVERAL, responses=_ERRORS | {200: rows})
    async def classify_many(
        request: Request, model: ModelName = "", as_csv: Annotated[bool, Query(alias="csv")] = False
    ) -> Response:
        """Answers to many photos, a ZIP or a form with several files: a row each, as it comes."""
        served = service.model(model)
        photos = await _several(request)
        fair.charge(fair.who(request.scope), len(photos) - 1)  # the door has counted one
        rows = _rows(service, metrics, served.name, photos)
        if as_csv:
            labels = list(served.about["labels"])
            return StreamingResponse(_table(rows, labels), media_type="text/csv; charset=utf-8")
        return StreamingResponse(
            (json.dumps(row) + "\n" async for row in rows), media_type="application/x-ndjson"
        )

    @router.post(
        "/corrections",
        status_code=201,
        openapi_extra=_ONE,
        responses=_ERRORS,
        include_in_schema=corrections is not None,
    )
    async def correct(
        request: Request, right: str, said: str = "", model: ModelName = ""
    ) -> Response:
        """Keep a photo that was answered wrongly. right: its class, or "none" of
        them, or "_none" where a class is called none."""
        if corrections is None:
            raise Refused(404, "NOT_FOUND", "This service keeps no corrections")
        served = service.model(model)
        labels = list(served.about["labels"])
        for word, known in ((right, [*labels, NONE, NONE_AT_ALL]), (said, [*labels, ""])):
            if word not in known:
                raise Refused(422, "BAD_LABEL", f"{word[:50]!r} is not one of {known}")
        photo = await _one(request)
        answer = await service.answer(served.name, photo, "copy")
        keep(corrections, base64.b64decode(answer["copy"]), right, said, served.about)
        return JSONResponse({"request_id": request.scope["state"]["request_id"]}, 201)

    return router


def render_card(name: str, markdown: str, folder: str = "../../../../") -> str:
    """The model card as a whole HTML page in the style of ours. It quotes what its author wrote:
    tags are shown as they stand, and links lead to web pages and mail addresses only. folder: of
    the style sheets, from the address of the page."""
    card = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        template(__file__, "model_card.html").render(name=name, card=Markup(card), folder=folder)
        + "\n"
    )


async def _one(request: Request) -> bytes:
    if _kind(request) != _FORM:
        return await request.body()
    files = await _files(request, 1)
    if len(files) != 1:
        raise Refused(400, "NOT_ONE_PHOTO", 'Send one picture, as the form field "file"')
    return files[0][1]


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _files(request: Request, most: int) -> list[tuple[str, bytes]]:
    try:
        async with request.form(max_files=most, max_fields=10) as form:
            files = [value for _, value in form.multi_items() if not isinstance(value, str)]
            return [(printable(file.filename or ""), await file.read()) for file in files]
    except HTTPException as exc:
        raise Refused(400, "BAD_FORM", f"The form cannot be read: {exc.detail}") from exc
    except (ValueError, LookupError) as exc:  # a charset that cannot be decoded with
        raise Refused(400, "BAD_FORM", "The form cannot be read: send it in UTF-8") from exc


async def _several(request: Request) -> list[tuple[str, Read]]:
    """Names, and how to get at the contents, of which only one is unpacked at a time."""
    if _kind(request) == _FORM:
        files = await _files(request, 2 * limits.MAX_BATCH_PHOTOS + 1)  # each with a companion
        photos: list[tuple[str, Read]] = [
            (name, partial(bytes, data)) for name, data in files if not _of_a_system(name)
        ]
        _few_enough("form", len(photos))
    else:
        photos = _entries(await request.body())
    if not photos:
        raise Refused(400, "NOT_ONE_PHOTO", "Send a ZIP with pictures, or a form with files")
    return photos


class _ListedFile(io.BytesIO):
    """The bytes of a ZIP. While it is opened, `ZipFile` reads the whole list of files, before
    anybody can count them; here it may read LISTED bytes until then. left: None: any number."""

    left: int | None = LISTED

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left is not None:
            rest = max(0, len(self.getbuffer()) - self.tell())
            self.left -= rest if size is None or size < 0 else min(size, rest)
            if self.left < 0:
                words = f"The ZIP lists too many files; the limit is {limits.MAX_BATCH_PHOTOS}"
                raise Refused(413, "TOO_MANY", words)
        return super().read(size)


def _entries(data: bytes) -> list[tuple[str, Read]]:
    try:
        archive = zipfile.ZipFile(file := _ListedFile(data))
        file.left = None
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as exc:
        raise Refused(415, "NOT_A_ZIP", f"The ZIP cannot be read: {exc}") from exc
    entries = [e for e in archive.infolist() if not e.is_dir() and not _of_a_system(e.filename)]
    _few_enough("ZIP", len(entries))
    return [(entry.filename, partial(_unzipped, archive, entry)) for entry in entries]


def _of_a_system(name: str) -> bool:
    """Such as the companions that the Finder packs below __MACOSX. name: with its folders."""
    return left_by_system(name.replace("\\", "/").split("/"))


def _few_enough(what: str, files: int) -> None:
    if files > limits.MAX_BATCH_PHOTOS:
        words = f"The {what} has {files} files; the limit is {limits.MAX_BATCH_PHOTOS}"
        raise Refused(413, "TOO_MANY", words)


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """What says that it is too large is not unpacked, and of the others no more than they say.

    Raises PhotoError (TOO_LARGE, DAMAGED)."""
    check_bytes(entry.file_size)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PhotoError("DAMAGED", "it cannot be unpacked: only stored and deflated entries are")
    try:
        with archive.open(entry) as file:
            return file.read(entry.file_size)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError,
            EOFError, ValueError) as exc:  # fmt: skip
        raise PhotoError("DAMAGED", f"it cannot be unpacked: {exc}") from exc


async def _rows(
    service: Service, metrics: Metrics, model: str, photos: list[tuple[str, Read]]
) -> AsyncIterator[dict[str, Any]]:
    for name, read in photos:
        try:
            photo = await asyncio.to_thread(read)
            answer = await service.answer(model, photo, admitted=True)
        except BearsError as exc:
            yield {"name": name, "code": exc.code, "message": exc.sentence}
            continue
        metrics.answered(model, answer["reason"])
        yield {"name": name, **answer}


async def _table(rows: AsyncIterator[dict[str, Any]], labels: list[str]) -> AsyncIterator[str]:
    head = ["name", "label", "confidence", "accepted", "reason", *labels, "code", "message"]
    yield _line(head)
    async for row in rows:
        shares = row.get("probabilities", {})
        cells = [row.get(key, "") for key in head[:5]] + [shares.get(key, "") for key in labels]
        yield _line([*cells, row.get("code", ""), row.get("message", "")])


def _line(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(map(cell, cells))
    return buffer.getvalue()
