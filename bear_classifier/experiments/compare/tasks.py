"""Trainings of a comparison as tasks of an engine: each leaves the file that is read later."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bear_classifier.config.settings import EngineConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.engine.choice import each
from bear_classifier.experiments.compare.runs import Alternative, TrainingRuns
from bear_classifier.runtime.terminal import progress_bar


@dataclass(frozen=True)
class TrainingTask:
    """root: of the dataset; copy: of its catalog; folder: of the trainings; first: seed of the LR
    finder; seed: of the training, None: only the LR finder runs."""

    root: Path
    copy: Path
    folder: Path
    one: Alternative
    first: int
    seed: int | None


def train_alternative(task: TrainingTask) -> None:
    """Raises TrainError and DataError as training does."""
    with (
        Catalog(task.root, copy=task.copy) as catalog,
        progress_bar(hidden=True) as bar,
    ):
        runs = TrainingRuns(catalog, task.folder)
        if task.seed is None:
            runs.rate(task.one, task.first)
        else:
            runs.trained(task.one, [task.seed], bar, task.first)


def train_on_engine(
    runs: TrainingRuns, ones: Sequence[Alternative], seeds: Sequence[int], engine: EngineConfig
) -> None:
    """Train every alternative with every seed by workers, the learning rates first. What is there
    is not trained again. Raises as `train_alternative` and `each`."""
    here = [dataclasses.replace(one, config=one.config.for_workers()) for one in ones]
    root, folder = runs.catalog.root.absolute(), runs.folder.absolute()
    with runs.catalog.copied() as copy:
        for part in ([None], seeds):
            tasks = [
                TrainingTask(root, copy, folder, one, seeds[0], s) for s in part for one in here
            ]
            with progress_bar(total=len(tasks), desc="trainings", hidden=part == [None]) as bar:
                for _ in each(train_alternative, tasks, engine):
                    bar.update()
