"""The stages of the pipeline, and what each depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """wing: its folder; tables: settings that it depends on; leaves: the file that proves that it
    ran; renewed: version of its files: with another one, it and the later stages run again; also:
    other files that it leaves; reads: its other inputs, see `dataset.stage_fingerprint`.

    A stage that leaves nothing is cheap and runs every time; doing so twice changes nothing."""

    name: str
    wing: str
    tables: tuple[str, ...]
    leaves: str = ""
    renewed: int = 0
    also: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


STAGES = (
    Stage("search", "collect", ("search",)),
    Stage("download", "collect", ("download",)),
    Stage("screen", "collect", ("screen",)),
    Stage("split", "collect", ("split",)),
    Stage(
        "probe",
        "learn",
        ("learn", "probe"),
        "probe/head.npz",
        also=("probe/probabilities.npz",),
        reads=("sources",),
    ),
    Stage("clean", "judge", (), "clean/summary.json"),
    Stage(
        "train",
        "learn",
        ("learn", "train"),
        "train/weights.safetensors",
        also=("train/history.json", "train/predictions.npz"),
        reads=("sources", "split.by"),
    ),
    Stage(
        "evaluate",
        "judge",
        ("reject",),
        "evaluate/report.json",
        3,
        also=("evaluate/reference.npz",),
        reads=("sources",),
    ),
    Stage("export", "ship", ("export",), "bundle.json"),
)
NAMES = [stage.name for stage in STAGES]
