"""Make the report on a model and its photos: figures, page, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import PhotoError
from bear_classifier.runtime.files import write_atomic

if TYPE_CHECKING:
    from bear_classifier.report.html import Shown
    from bear_classifier.ship.bundle import Bundle

_QUALITY = 82
_LARGEST = 10_000_000  # bytes of a learning curve
_PNG = b"\x89PNG\r\n\x1a\n"


def make_report(
    catalog: Catalog, project: pipeline.Project, place: Path
) -> tuple[dict[str, Any], str, dict[str, Shown]]:
    """The figures, the page, and the mistakes as `pictures`. place: of the bundle.

    Raises DataError (NOT_TRAINED, NOT_JUDGED) and ModelError."""
    from bear_classifier.report.facts import report_facts, training_record
    from bear_classifier.report.html import report_page
    from bear_classifier.ship import bundle

    training_record(catalog)  # the next step without a model is training, not looking for a bundle
    made = bundle.load(place)
    found = report_facts(catalog, project.config, made.about)
    curve = catalog.root / "curve" / "curve.png"
    png = None
    if found["curve"] and curve.is_file() and curve.stat().st_size < _LARGEST:
        png = curve.read_bytes()
    shown = mistake_pictures(catalog, found, made)
    return found, report_page(found, shown, png if _is_png(png) else None), shown


def write_report(found: Mapping[str, Any], page: str, out: Path) -> None:
    """The page as `out`, and the figures as text and as JSON beside it."""
    from bear_classifier.report.markdown import as_markdown

    write_atomic(out, page.encode(errors="replace"))
    write_atomic(out.with_suffix(".json"), json.dumps(found, indent=1).encode())
    write_atomic(out.with_suffix(".md"), as_markdown(found).encode(errors="replace"))


def _is_png(data: bytes | None) -> bool:
    return bool(data and data.startswith(_PNG))


def mistake_pictures(catalog: Catalog, found: Mapping[str, Any], made: Bundle) -> dict[str, Shown]:
    """The mistakes by sha256, with activation maps if the bundle is the model that made them."""
    from bear_classifier.images.decoder import decode, encode, fit_square
    from bear_classifier.report.html import Shown
    from bear_classifier.ship import class_activation_map
    from bear_classifier.ship.predict import Model

    if not found["mistakes"]:
        return {}
    belongs = found["belongs"]["weights"] and made.labels == found["labels"]
    model, head = (Model(made), class_activation_map.cam_head(made)) if belongs else (None, None)
    shown = {}
    for row in found["mistakes"]:
        photo = catalog.photo(row["sha256"])
        if photo is None:
            continue
        try:
            if model is None or head is None:
                square = fit_square(decode(catalog.file(photo)), made.size)
                shown[row["sha256"]] = Shown(encode(square, quality=_QUALITY))
                continue
            asked = [made.labels.index(row[name]) for name in ("said", "true")]
            why = class_activation_map.explain(model, head, catalog.file(photo), asked)
        except PhotoError:
            continue  # its file is gone or was damaged since
        said, true = (encode(one, quality=_QUALITY) for one in why.maps)
        square_jpeg = encode(why.photo, quality=_QUALITY)
        shown[row["sha256"]] = Shown(square_jpeg, said, true, why.strongest, why.cells)
    return shown
