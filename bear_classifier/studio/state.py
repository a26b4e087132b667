"""The state of a project as one document: what lies on the disk, and its jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.config import project_file
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import undecided
from bear_classifier.errors import DataError
from bear_classifier.stages import STAGES
from bear_classifier.studio.commands import COLLECTING, LEARNING, QUICK
from bear_classifier.studio.facts import decisions_since
from bear_classifier.studio.insights import insights
from bear_classifier.studio.photo_facts import photo_facts
from bear_classifier.studio.projects import Place

Document = dict[str, Any]
_EXPORT = STAGES[-1]


def document(
    place: Place,
    catalog: Catalog | None,
    jobs: list[Document],
    waiting: Mapping[str, Sequence[str]],
    left: int,
) -> Document:
    """What docs/STUDIO.md lists. jobs: as `Jobs.shown`; waiting: as `uploads.waiting`; left: of
    these, uploads that nothing takes in by itself. Raises DataError."""
    labels = list(place.config.classes)
    photos = photo_facts(catalog, labels)
    photos["uploads_waiting"] = sum(map(len, waiting.values()))
    photos["uploads_left"] = left
    for name in waiting.get("take-in", ()):
        photos["by_class"][name.partition("/")[0]]["waiting"] += 1
    decisions = decisions_since(catalog) if catalog else 0
    first, model = _first(catalog), published_model(place, catalog)
    suspects = _suspects(place, catalog)
    found = {
        "id": place.name,
        "title": place.config.name,
        "folder": str(place.home),
        "labels": labels,
        "queries": {label: list(queries) for label, queries in place.config.classes.items()},
        "photos": photos,
        "jobs": jobs,
        "first": first,
        "model": model,
        "suspects": suspects,
        "steps": _steps(photos, jobs, first, model, suspects),
    }
    return found | insights(place, catalog, found, decisions)


def _first(catalog: Catalog | None) -> Document | None:
    """The first model's error on photos that it did not learn from."""
    run = catalog.last_run("probe") if catalog else None
    if run is None or not run.outcome.get("out_of_fold"):
        return None
    wrong, n = run.outcome["out_of_fold_wrong"], run.outcome["out_of_fold"]
    return {"error": wrong / n, "interval": run.outcome["out_of_fold_interval"], "n": n}


def _suspects(place: Place, catalog: Catalog | None) -> Document | None:
    """Photos that are probably faults and that nobody has decided on."""
    file = place.data / "clean" / "summary.json"
    try:
        text = file.read_text(encoding="utf-8")
        summary = json.loads(text)
        found = {"waiting": int(summary["suspects"]), "expected_faults": summary["expected"],
                 "looks": int(summary.get("looks", 1)),
                 "can_look_again": bool(summary.get("can_look_again"))}  # fmt: skip
        hashes = summary.get("likely")  # an earlier version named none: all of them may wait
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if catalog and isinstance(hashes, list):
        name = f"open suspects of {hash(text)}"
        found["waiting"] = catalog.once(name, lambda: len(undecided(catalog, hashes)))
    return found


def published_model(place: Place, catalog: Catalog | None) -> Document | None:
    """The published model, by its own figures."""
    try:
        about = json.loads((place.model / "bundle.json").read_text(encoding="utf-8"))
        test, chosen = about["metrics"]["test"], about["training"]["chosen"]
        figures = {"error": test["error"], "interval": test["error_interval"], "n": test["n"]}
        return {
            "trained": "first" if chosen == "probe" else "fine-tuned",
            **figures,
            "made": about["created"],
            "version": about["version"],
            "current": _is_current(place, catalog),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_current(place: Place, catalog: Catalog | None) -> bool:
    """Whether the published model was made from the photos and labels of now, by either job."""
    run = catalog.last_run(_EXPORT.name) if catalog else None
    if catalog is None or run is None:
        return False

    def digests() -> list[str]:
        quick = project_file.changed(place.config, QUICK, place.file.name)
        projects = (pipeline.Project(config, place.data, place.model) for config in
                    (place.config, quick))  # fmt: skip
        return [pipeline.stage_digest(project, catalog, _EXPORT) for project in projects]

    return run.inputs in catalog.once(f"digests of {_stamp(place.file)}", digests)


def _stamp(path: Path) -> str:
    try:
        return f"{path} {path.stat().st_mtime_ns}"
    except OSError as exc:
        raise DataError("NO_PROJECT", f"{path} is gone") from exc


def _steps(
    photos: Document,
    jobs: list[Document],
    first: Document | None,
    model: Document | None,
    suspects: Document | None,
) -> dict[str, str]:
    """Of each step whether it is open, busy, done, or done with photos that changed since (old)."""
    busy = {job["kind"] for job in jobs if job["state"] in ("waiting", "running", "stopping")}
    collecting = busy & {*COLLECTING}
    every = all(row["usable"] for row in photos["by_class"].values())
    learned = "open" if first is None else "done" if model and model["current"] else "old"
    return {
        "name": "done",
        "photos": "busy" if collecting else "done" if every else "open",
        "learn": "busy" if busy & {*LEARNING} else learned,
        "clean": "done" if suspects and not suspects["waiting"] else "open",
        "publish": "done" if model else "open",
    }
