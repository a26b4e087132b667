"""Errors that this package raises on purpose.

BearsError                a code for programs and a sentence for people
 ├── ConfigError          the project file or a command-line setting is wrong
 ├── DataError            the photos or the catalog cannot be used as they are
 ├── PhotoError           one picture cannot be used (a row, not the end of a stage)
 ├── TrainError           the model cannot be trained or its weights cannot be had
 └── ModelError           a bundle is damaged, unsafe or not of this version
      └── SelfTestError   a bundle computes something else than when it was published
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class BearsError(Exception):
    """code: upper-case word for programs; sentence: what, where, the value, the next step; rows:
    lines below it, where one error is about several rows of a table."""

    exit_code: ClassVar[int] = 2

    def __init__(self, code: str, sentence: str, rows: Sequence[str] = ()) -> None:
        super().__init__("\n".join([f"{code}: {sentence}", *rows]))
        self.code = code
        self.sentence = sentence
        self.rows = tuple(rows)

    def __reduce__(self) -> tuple[type[BearsError], tuple[str, str, tuple[str, ...]]]:
        """As what it was made from: it comes back from other processes."""
        return type(self), (self.code, self.sentence, self.rows)


class ConfigError(BearsError):
    """The project file or a command-line setting is wrong."""


class DataError(BearsError):
    """The photos or the catalog cannot be used as they are."""


class PhotoError(BearsError):
    """One picture cannot be used. Codes: see `bear_classifier.images.decoder`."""

    exit_code = 1


class TrainError(BearsError):
    """The model cannot be trained, or the weights it starts from cannot be had."""


class ModelError(BearsError):
    """A bundle is damaged, unsafe, incomplete or not of this version."""


class SelfTestError(ModelError):
    """A bundle computes something else than it did when it was published."""

    exit_code = 3


class NoCopy(UserWarning):
    """The work goes on, but without a new copy of its catalog."""
