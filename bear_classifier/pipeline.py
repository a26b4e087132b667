"""The pipeline: stages in order, whether they are up to date, and running them."""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bear_classifier.collect.sources.registry import search_of
from bear_classifier.config import project_file
from bear_classifier.config.settings import Config
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import photo_counts
from bear_classifier.dataset.schema import StageRun
from bear_classifier.engine.choice import close_engine
from bear_classifier.errors import DataError
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.malloc import pages_kept
from bear_classifier.stages import NAMES as NAMES
from bear_classifier.stages import STAGES as STAGES
from bear_classifier.stages import Stage as Stage

_LEFT = "left"  # of an outcome: hashes of files that have no checksum of their own


@dataclass(frozen=True)
class Project:
    """A configuration, and where its dataset, its model and its project file lie. file: None of the
    starter, whose classes are fixed."""

    config: Config
    data: Path
    model: Path
    file: Path | None = None

    def leaves(self, stage: Stage) -> Path:
        return self.place(stage) / stage.leaves

    def place(self, stage: Stage) -> Path:
        return self.model if stage.name == "export" else self.data


def open_project(
    name: str,
    settings: Sequence[str] = (),
    data: Path = Path("data"),
    models: Path = Path("models"),
) -> Project:
    """name: "starter" (which brings its own project, so that drawings and photos never mix) or a
    project file; settings: as after --set, such as "train.epochs=6". Raises ConfigError."""
    path = project_file.STARTER if name == "starter" else Path(name)
    config = project_file.read_project(path, settings)
    file = None if name == "starter" else path
    return Project(config, data / config.name, models / config.name, file)


def run(
    project: Project,
    until: str = "export",
    report: Callable[[Stage, dict[str, Any]], None] = lambda stage, outcome: None,
    again: str = "",
    note: Callable[[str], None] = lambda sentence: None,
) -> dict[str, dict[str, Any]]:
    """Run every stage up to `until` that is not up to date; `report` gets each outcome.

    again: this stage and those after it even if they are. note: gets sentences on stages that an
    earlier version made and that run again. Returns the outcome of each stage by name, with
    "outcome" ("done" or "up to date") and seconds.
    """
    results: dict[str, dict[str, Any]] = {}
    with _held(project, "run") as catalog:
        _check_stored(project, catalog, note)
        # A search fails sooner than weights do, and says more of what to do without a network.
        ready = "download" if search_of(project.config.search.source) else "search"
        for stage in STAGES[: NAMES.index(until) + 1]:
            if stage.name == ready and NAMES.index(until) >= NAMES.index("probe"):
                with heartbeat("looking for the weights"):
                    _preflight(project, catalog)
            if stage.name == "probe" and (old := _of_earlier_version(project, catalog, until)):
                note(f"made by an earlier version, and now made anew: {', '.join(old)}")
            forced = bool(again) and NAMES.index(stage.name) >= NAMES.index(again)
            with heartbeat(stage.name):
                results[stage.name] = _step(project, catalog, stage, forced, until)
            report(stage, results[stage.name])
    return results


def run_one(
    project: Project, name: str, note: Callable[[str], None] = lambda sentence: None
) -> dict[str, Any]:
    """Run one stage if the stages before it are up to date. note: gets sentences on stored photos
    that were set aside. Raises DataError (STAGE_MISSING)."""
    stage = STAGES[NAMES.index(name)]
    with _held(project, name) as catalog:
        _check_stored(project, catalog, note)
        for earlier in STAGES[: NAMES.index(name)]:
            if earlier.leaves and not is_current(project, catalog, earlier):
                words = f"{name} needs {earlier.name}, which is not up to date"
                raise DataError("STAGE_MISSING", f"{words}; run: bears run --until {name}")
        with heartbeat(name):
            return _step(project, catalog, stage, False, name)


def _check_stored(project: Project, catalog: Catalog, note: Callable[[str], None]) -> None:
    from bear_classifier.collect.integrity import set_aside

    with heartbeat("looking at stored photos"):
        for line in set_aside(catalog, project.config.download.retry):
            note(line)


@contextmanager
def _held(project: Project, work: str) -> Iterator[Catalog]:
    """The dataset, locked. A new one that stayed empty is removed after a failure."""
    new = [folder for folder in (project.data, *project.data.parents) if not folder.exists()]
    empty = False
    try:
        with Catalog(project.data) as catalog, catalog.lock(work):
            try:
                yield catalog
            except BaseException:
                empty = not catalog.codes()
                raise
    finally:
        close_engine()
        if empty and project.data in new:
            shutil.rmtree(project.data)
            for folder in new[1:]:
                folder.rmdir()


def _of_earlier_version(project: Project, catalog: Catalog, until: str) -> list[str]:
    """Stages whose files an earlier version made, and which are not up to date."""
    runs = {stage: catalog.last_run(stage.name) for stage in STAGES[: NAMES.index(until) + 1]}
    return [
        stage.name
        for stage, last in runs.items()
        if stage.leaves and last and stage_fingerprint.is_earlier(last.inputs)
        and not is_current(project, catalog, stage)
    ]  # fmt: skip


def _step(
    project: Project, catalog: Catalog, stage: Stage, forced: bool = False, until: str = ""
) -> dict[str, Any]:
    """until: the stage at which the run ends."""
    started, began = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
    if stage.leaves:
        catalog.freeze()  # what people decide from now on is for the next model
    forced = _looked_again(project, catalog, stage, until) or forced
    inputs = stage_digest(project, catalog, stage)
    last = catalog.last_run(stage.name)
    if last and not forced and is_current(project, catalog, stage):
        if last.inputs != inputs:  # an earlier version did not hash the content of files
            catalog.add_run(replace(last, inputs=inputs))
        outcome = {name: value for name, value in last.outcome.items() if name != _LEFT}
        return {"seconds": 0.0, **outcome, "outcome": "up to date"}
    module = importlib.import_module(f"bear_classifier.{stage.wing}.{stage.name}")
    extra = (project.model,) if stage.name == "export" else ()
    with pages_kept():
        outcome = getattr(module, stage.name)(catalog, project.config, *extra)
    seconds = round(time.monotonic() - began, 2)
    kept = {**outcome, _LEFT: stage_fingerprint.hashes(project.place(stage), stage, catalog.root)}
    catalog.add_run(StageRun(stage.name, started, seconds, inputs, kept))
    return {"seconds": seconds, **outcome, "outcome": "done"}


def _looked_again(project: Project, catalog: Catalog, stage: Stage, until: str) -> bool:
    """Where cleaning is what was asked for: looks at the photos a second time. Whether they have to
    be judged anew."""
    if not stage.name == until == "clean":
        return False
    from bear_classifier.judge.second_look import is_judged, look_again

    with pages_kept():
        return look_again(catalog, project.config) or not is_judged(catalog.root)


def is_current(project: Project, catalog: Catalog, stage: Stage) -> bool:
    """Whether a costly stage last ran with the present inputs, and its files are complete."""
    last = catalog.last_run(stage.name)
    return (
        bool(stage.leaves)
        and last is not None
        and _same(project, catalog, stage, last.inputs)
        and stage_fingerprint.is_complete(
            project.place(stage), stage, last.outcome.get(_LEFT, {}), catalog.root
        )
    )


def _same(project: Project, catalog: Catalog, stage: Stage, inputs: str) -> bool:
    if stage_fingerprint.is_earlier(inputs):
        until = STAGES[: STAGES.index(stage) + 1]
        return inputs == stage_fingerprint.earlier(project.config, catalog, until)
    return inputs == stage_digest(project, catalog, stage)


def stage_digest(project: Project, catalog: Catalog, stage: Stage) -> str:
    """Hash of the settings, files and photos of a stage and of the stages before it."""
    return stage_fingerprint.fingerprint(project.config, catalog, STAGES[: STAGES.index(stage) + 1])


def _preflight(project: Project, catalog: Catalog) -> None:
    """Fail before the download if the weights cannot be had; and before torch is imported for that,
    which takes seconds, if there is no such source."""
    importlib.import_module("bear_classifier.collect.search").source_of(catalog, project.config)
    probe = STAGES[NAMES.index("probe")]
    if not is_current(project, catalog, probe):
        from bear_classifier.learn import backbone, devices

        devices.pick_device(project.config.learn.device)
        backbone.build_body(project.config.learn, project.config.train.seed)


@contextmanager
def existing(project: Project) -> Iterator[Catalog]:
    """The dataset, if there is one. Raises DataError (NO_DATA)."""
    if not (project.data / "catalog.sqlite").is_file():
        begin = (
            "to begin, run: bears run"
            if project.config.search.source
            else "begin with photos of your own, --source folder:PATH with a folder per class, or"
            " search the web for them; run: bears run --source web"
        )
        raise DataError("NO_DATA", f"there is no dataset in {project.data} yet; {begin}")
    with Catalog(project.data) as catalog:
        try:
            yield catalog
        finally:
            close_engine()


def is_published(project: Project) -> bool:
    """Whether the published model was made from the present dataset and settings."""
    with existing(project) as catalog:
        return is_current(project, catalog, STAGES[-1])


def status(project: Project) -> dict[str, Any]:
    """Photos by class and split, failures by code, stages, and the model."""
    with existing(project) as catalog:
        counts: dict[str, dict[str, int]] = {label: {} for label in project.config.labels}
        unlabelled = 0
        for (label, split, kind), n in photo_counts(catalog).items():
            unlabelled += n * (kind == "unlabelled")
            if label:
                place = (split or "no split yet") if kind == "ok" else kind
                row = counts.setdefault(label, {})
                row[place] = row.get(place, 0) + n
        codes, stages = catalog.codes(), {}
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
        "unlabelled": unlabelled,
        "sources": codes,
        "stages": stages,
    }
