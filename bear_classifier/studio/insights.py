"""What a project's state says beyond counts: advice, before and after, downloads, pages."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import labels_of_test
from bear_classifier.errors import BearsError
from bear_classifier.studio.advice import advice
from bear_classifier.studio.downloads import file_rows
from bear_classifier.studio.facts import facts_of
from bear_classifier.studio.projects import Place
from bear_classifier.studio.results import (
    ResultRow,
    answers_folder,
    keep_result,
    kept_results,
    result_rows,
)


def insights(
    place: Place, catalog: Catalog | None, state: Mapping[str, Any], decisions: int
) -> dict[str, Any]:
    """Keys of the state that are added to the others: advice, results, files, links and
    decisions_since. catalog: None where there is none yet; state: what is known without them;
    decisions: since the last training."""
    return {
        "advice": advice(facts_of(place, catalog, state, decisions)),
        "results": results_of(place, catalog) if catalog else [],
        "files": file_rows(place),
        "links": links_of(place),
        "decisions_since": decisions,
    }


def links_of(place: Place) -> dict[str, bool]:
    """Which pages of the project would answer now."""
    return {
        "review": (place.data / "catalog.sqlite").is_file(),
        "try": (place.model / "bundle.json").is_file(),
        "report": (place.data / "report" / "report.html").is_file(),
    }


def results_of(place: Place, catalog: Catalog) -> list[ResultRow]:
    """Every training of the project; one by the command line is kept at the first look after it,
    or once the disk has space for it."""
    folder = answers_folder(place.own)
    with contextlib.suppress(BearsError, OSError):
        keep_result(catalog, folder)

    def rows() -> list[ResultRow]:
        kept = kept_results(folder)
        return result_rows(kept, labels_of_test(catalog) if len(kept) > 1 else {})

    stamps = [path.stat().st_mtime_ns for path in folder.glob("*.json")]
    return catalog.once(f"results of the studio {stamps}", rows)  # type: ignore[no-any-return]
