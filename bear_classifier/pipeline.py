"""The stages in their order: what each is made from, whether it is up to date, and running it."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bear_classifier import config as project_file
from bear_classifier.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.pages import pages_kept
from bear_classifier.schema import Run
from bear_classifier.settings import Config
from bear_classifier.stages import NAMES as NAMES
from bear_classifier.stages import STAGES as STAGES
from bear_classifier.stages import Stage as Stage

_FORMAT = 2  # of what all stages leave behind; of what one leaves see Stage.renewed


@dataclass(frozen=True)
class Project:
    """A configuration, and where its dataset and its model lie."""

    config: Config
    data: Path
    model: Path

    def leaves(self, stage: Stage) -> Path:
        return (self.model if stage.name == "export" else self.data) / stage.leaves


def open_project(
    name: str,
    settings: Sequence[str] = (),
    data: Path = Path("data"),
    models: Path = Path("models"),
) -> Project:
    """name: "starter" (which brings its own project, so that drawings and photos never mix) or a
    project file; settings: as after --set, such as "train.epochs=6". Raises ConfigError."""
    path = project_file.STARTER if name == "starter" else Path(name)
    config = project_file.load(path, settings)
    return Project(config, data / config.name, models / config.name)


def run(
    project: Project,
    until: str = "export",
    tell: Callable[[Stage, dict[str, Any]], None] = lambda stage, outcome: None,
) -> dict[str, dict[str, Any]]:
    """Run every stage up to `until` that is not up to date; `tell` hears of each as it ends.

    Returns the outcome of each stage by name, with "outcome" ("done" or "up to date") and seconds.
    """
    results: dict[str, dict[str, Any]] = {}
    with _held(project, "run") as catalog:
        # A search fails sooner than weights do, and says more of what to do without a network.
        ready = "download" if project.config.search.source in ("web", "openverse") else "search"
        for stage in STAGES[: NAMES.index(until) + 1]:
            if stage.name == ready and NAMES.index(until) >= NAMES.index("probe"):
                _preflight(project, catalog)
            results[stage.name] = _step(project, catalog, stage)
            tell(stage, results[stage.name])
    return results


def run_one(project: Project, name: str) -> dict[str, Any]:
    """Run one stage whose forerunners are up to date. Raises DataError (STAGE_MISSING)."""
    stage = STAGES[NAMES.index(name)]
    with _held(project, name) as catalog:
        for earlier in STAGES[: NAMES.index(name)]:
            if earlier.leaves and not is_current(project, catalog, earlier):
                raise DataError(
                    "STAGE_MISSING",
                    f"{name} needs {earlier.name}, which is not up to date; "
                    f"run: bears run --until {name}",
                )
        return _step(project, catalog, stage)


@contextmanager
def _held(project: Project, work: str) -> Iterator[Catalog]:
    """The dataset, locked. One that was made for this and stayed empty is gone after a failure."""
    new = [folder for folder in (project.data, *project.data.parents) if not folder.exists()]
    empty = False
    try:
        with Catalog(project.data) as catalog, catalog.lock(work):
            try:
                yield catalog
            except BaseException:
                empty = not catalog.sources()
                raise
    finally:
        if empty and project.data in new:
            shutil.rmtree(project.data)
            for folder in new[1:]:
                folder.rmdir()


def _step(project: Project, catalog: Catalog, stage: Stage) -> dict[str, Any]:
    if stage.leaves:
        catalog.freeze()  # what people decide from now on is for the next model
    if is_current(project, catalog, stage):
        last = catalog.last_run(stage.name)
        return {"seconds": 0.0, **(last.outcome if last else {}), "outcome": "up to date"}
    inputs = digest(project, catalog, stage)
    started, began = datetime.now(timezone.utc), time.monotonic()
    work = getattr(
        importlib.import_module(f"bear_classifier.{stage.wing}.{stage.name}"), stage.name
    )
    extra = (project.model,) if stage.name == "export" else ()
    with pages_kept():
        outcome = work(catalog, project.config, *extra)
    seconds = round(time.monotonic() - began, 2)
    catalog.add_run(
        Run(stage.name, started.isoformat(timespec="seconds"), seconds, inputs, outcome)
    )
    return {"seconds": seconds, **outcome, "outcome": "done"}


def is_current(project: Project, catalog: Catalog, stage: Stage) -> bool:
    """Whether a costly stage was last made from exactly what there is now."""
    last = catalog.last_run(stage.name)
    return (
        bool(stage.leaves)
        and last is not None
        and last.inputs == digest(project, catalog, stage)
        and project.leaves(stage).is_file()
    )


def digest(project: Project, catalog: Catalog, stage: Stage) -> str:
    """Hash of the settings and photos behind a stage, those of its forerunners included."""
    before = STAGES[: STAGES.index(stage) + 1]
    tables = sorted({table for earlier in before if earlier.leaves for table in earlier.tables})
    settings = _settings(project.config, tables)
    form = _FORMAT + sum(earlier.renewed for earlier in before)
    return _hash([form, stage.name, settings, project.config.labels, catalog.fingerprint()])


def _settings(config: Config, tables: Sequence[str]) -> dict[str, Any]:
    values = {table: asdict(getattr(config, table)) for table in tables}
    if "learn" in values:
        del values["learn"]["device"]  # the same model, wherever it is made
        values["learn"]["weights_stamp"] = _stamp(config.learn.place)
        values["learn"]["seed"] = config.train.seed  # of a body without weights
    if "train" in values:
        del values["train"]["resume"]  # the same model, with a break or without
    return values


def _stamp(path: Path) -> list[int]:
    """Size and time of a weights file, so that another file of the same name is noticed."""
    file = path / "bundle.json" if path.is_dir() else path
    return [file.stat().st_size, file.stat().st_mtime_ns] if file.is_file() else []


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _preflight(project: Project, catalog: Catalog) -> None:
    """Fail before the download, not after, if the weights that will be needed cannot be had; and
    before torch is imported for that, which takes seconds, if there is no such source."""
    importlib.import_module("bear_classifier.collect.search").source_of(catalog, project.config)
    probe = STAGES[NAMES.index("probe")]
    if not is_current(project, catalog, probe):
        from bear_classifier.learn import backbone

        backbone.pick_device(project.config.learn.device)
        backbone.build_body(project.config.learn, project.config.train.seed)


@contextmanager
def existing(project: Project) -> Iterator[Catalog]:
    """The dataset, if there is one. Raises DataError (NO_DATA)."""
    if not (project.data / "catalog.sqlite").is_file():
        raise DataError(
            "NO_DATA",
            f"there is no dataset in {project.data} yet; begin with: bears run --source ...",
        )
    with Catalog(project.data) as catalog:
        yield catalog


def status(project: Project) -> dict[str, Any]:
    """What there is: photos by class and side, failures by code, stages, and the model."""
    with existing(project) as catalog:
        photos = catalog.photos()
        counts: dict[str, dict[str, int]] = {label: {} for label in project.config.labels}
        for photo in photos:
            place = (photo.split or "no side yet") if photo.status == "ok" else photo.status
            row = counts.setdefault(photo.label, {})
            row[place] = row.get(place, 0) + 1
        codes: dict[str, int] = {}
        for source in catalog.sources():
            codes[source.code] = codes.get(source.code, 0) + 1
        stages = {}
        for stage in STAGES:
            last = catalog.last_run(stage.name)
            current = is_current(project, catalog, stage) if stage.leaves else last is not None
            stages[stage.name] = {
                "at": last.started if last else None,
                "seconds": last.seconds if last else None,
                "up_to_date": current,
            }
    return {
        "data": str(project.data),
        "model": str(project.model) if (project.model / "bundle.json").is_file() else None,
        "photos": counts,
        "sources": codes,
        "stages": stages,
    }
