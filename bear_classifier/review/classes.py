"""New classes in the page, and what undo takes back next: a class or a decision."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from bear_classifier.dataset import decisions, new_classes
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.review.catalog_view import Fresh, Now
from bear_classifier.review.progress import undo_next
from bear_classifier.web.guard import Refused, read_json

_Body = Annotated[dict[str, Any], Depends(read_json)]


def next_undo(catalog: Catalog) -> dict[str, Any] | None:
    """As `undo_next`; event: below 0 for a class, which is no event."""
    if made := new_classes.next_class(catalog):
        return {"event": -made.id, "sha256": "", "words": f"new class {made.label}"}
    return undo_next(catalog)


def who_of(body: dict[str, Any], default: str) -> str:
    """Who decides, as the page says; default: the name of who started it."""
    who = body.get("who")
    if who is not None and not isinstance(who, str):
        raise Refused(400, "BAD_REQUEST", "who has to be a text")
    return decisions.user_name(who or default)


def request_of(body: dict[str, Any]) -> str:
    request = body.get("request")
    if not isinstance(request, str) or not re.fullmatch(r"[\w.-]{1,100}", request, re.ASCII):
        raise Refused(400, "BAD_REQUEST", "request has to be 1 to 100 letters, digits, - . and _")
    return request


def class_routes(
    file: Path | None,
    fresh: Fresh,
    labels: list[str],
    who: str,
    progress: Callable[[Catalog, Now], dict[str, Any]],
) -> APIRouter:
    """labels: the classes, to which a new one is added. file: the project file, None where it may
    not be changed."""
    routes = APIRouter()

    @routes.post("/api/class")
    def make(body: _Body) -> dict[str, Any]:
        label = body.get("label")
        if not isinstance(label, str):
            raise Refused(400, "BAD_REQUEST", "label has to be a text")
        request, by = request_of(body), who_of(body, who)
        with fresh.turn() as (catalog, _):
            catalog.keep_copy()
            made = new_classes.make_class(catalog, file, label.strip(), by, request)
            if made.label not in labels and not made.undone:
                labels.append(made.label)
            today = fresh.after([])
            return {"label": made.label, "labels": labels, "progress": progress(catalog, today)}

    return routes
