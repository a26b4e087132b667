"""What a study that trains needs of a dataset before it begins."""

from __future__ import annotations

from bear_classifier import pipeline
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError, DataError

PROBE = pipeline.STAGES[pipeline.NAMES.index("probe")]


def require_seeds(seeds: int) -> None:
    if seeds < 1:
        raise ConfigError("BAD_SETTING", f"--seeds {seeds}: give 1 or more")


def require_current_probe(project: pipeline.Project, catalog: Catalog, command: str) -> None:
    """A probe of other photos or settings is no start. Where there is none, loading it fails."""
    if project.leaves(PROBE).is_file() and not pipeline.is_current(project, catalog, PROBE):
        raise DataError(
            "STAGE_MISSING",
            f"{command} needs probe, which is not up to date; run: bears run --until probe",
        )
