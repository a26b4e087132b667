"""Make the report on a model and its photos: figures, page, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bear_classifier import pipeline
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import PhotoError
from bear_classifier.runtime.files import write_atomic

if TYPE_CHECKING:
    from bear_classifier.report.html import Shown
    from bear_classifier.report.schema import Facts
    from bear_classifier.ship.bundle import Bundle

_QUALITY = 82
_LARGEST = 10_000_000  # bytes of a learning curve
_PNG = b"\x89PNG\r\n\x1a\n"


def make_report(
    catalog: Catalog, project: pipeline.Project, place: Path
) -> tuple[Facts, str, dict[str, Shown]]:
    """The figures, the page, and the mistakes as `pictures`. place: of the bundle.

    Raises DataError (NOT_TRAINED, NOT_JUDGED) and ModelError."""
    from bear_classifier.report.facts import report_facts, training_record
    from bear_classifier.report.html import report_page
    from bear_classifier.ship import bundle

    training_record(catalog)  # the next step without a model is training, not looking for a bundle
    made = bundle.load(place)
    facts = report_facts(catalog, project.config, made.about)
    curve, png = catalog.root / "curve" / "curve.png", b""
    if facts["curve"] and curve.is_file() and curve.stat().st_size < _LARGEST:
        png = curve.read_bytes()
    shown = mistake_pictures(catalog, facts, made)
    return facts, report_page(facts, shown, png if png.startswith(_PNG) else None), shown


def write_report(facts: Facts, page: str, out: Path) -> None:
    """The page as `out`, and the figures as text and as JSON beside it."""
    from bear_classifier.report.markdown import as_markdown

    write_atomic(out, page.encode(errors="replace"))
    write_atomic(out.with_suffix(".json"), json.dumps(facts, indent=1).encode())
    write_atomic(out.with_suffix(".md"), as_markdown(facts).encode(errors="replace"))


def mistake_pictures(catalog: Catalog, facts: Facts, made: Bundle) -> dict[str, Shown]:
    """The mistakes by sha256, with activation maps if the bundle is the model that made them."""
    from bear_classifier.images.decoder import decode, encode
    from bear_classifier.report.html import Shown
    from bear_classifier.ship import class_activation_map
    from bear_classifier.ship.predict import Model

    if not facts["mistakes"]:
        return {}
    belongs = facts["belongs"]["weights"] and made.labels == facts["labels"]
    model, head = (Model(made), class_activation_map.cam_head(made)) if belongs else (None, None)
    shown = {}
    for row in facts["mistakes"]:
        photo = catalog.photo(row["sha256"])
        if photo is None:
            continue
        try:
            if model is None or head is None:
                plain = made.preprocessing.square(decode(catalog.file(photo)))
                shown[row["sha256"]] = Shown(encode(plain, quality=_QUALITY))
                continue
            classes = [made.labels.index(label) for label in (row["said"], row["true"])]
            why = class_activation_map.explain(model, head, catalog.file(photo), classes)
        except PhotoError:
            continue  # its file is gone or was damaged since
        square, predicted, true = (encode(one, quality=_QUALITY) for one in (why.photo, *why.maps))
        shown[row["sha256"]] = Shown(square, predicted, true, why.strongest, why.cells)
    return shown
