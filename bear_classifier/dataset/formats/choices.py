"""What may be chosen of an export, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from bear_classifier.dataset.credits import LicensedUse
from bear_classifier.errors import ConfigError

Format = Literal["folders", "imagefolder", "webdataset", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
VALID_NAMES = ("valid", "val")  # names of the validation split


@dataclass(frozen=True)
class Handling:
    """How photos are written. link: as a hard link to the stored file where that is the same."""

    keep_metadata: bool = False
    link: bool = False


@dataclass(frozen=True)
class ExportChoice:
    """What is exported, and how. valid: what validation is called; licence: what the author of
    every photo must allow."""

    format: Format = "folders"
    valid: str = "valid"
    licence: LicensedUse = "any"
    handling: Handling = field(default_factory=Handling)

    def __post_init__(self) -> None:
        """Raises ConfigError (BAD_SETTING)."""
        uses = get_args(LicensedUse)
        chosen = ((self.format, FORMATS), (self.valid, VALID_NAMES), (self.licence, uses))
        for value, known in chosen:
            if value not in known:
                raise ConfigError("BAD_SETTING", f"{value!r} is none of {', '.join(known)}")


@dataclass(frozen=True, repr=False)
class Exported:
    """path: the export; photos: by class and split; linked, stripped: photos that are a second name
    of the stored file, or were written without their metadata; other_licence, unknown_licence: left
    out by --licence; left_out: by what they are, not in use; formats: of the files; missing:
    splits that lack a class."""

    path: Path
    format: Format
    photos: dict[str, dict[str, int]]
    files: int
    bytes: int
    linked: int
    stripped: int
    other_licence: int
    unknown_licence: int
    left_out: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Exported({self.files} photos as {self.format} in {str(self.path)!r})"
