"""What speaks against each photo before anybody decided, as columns; a `Suspect` is made of a row
when it is shown.

The columns are kept in the dataset, so that a list of suspects reads those that it shows.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.photo_columns import Hashes, Words
from bear_classifier.dataset.schema import Event, Suspect
from bear_classifier.judge.learned_order import LIKE_FAULTS, Order, OrderEvidence, combined
from bear_classifier.judge.second_look import LOOK_FILE
from bear_classifier.runtime.files import write_errors
from bear_classifier.stats.arrays import Floats, Floats32, Ints

KINDS = ("label", "outlier", "duplicate", "quality")
LIKELY = 0.5  # from here on a reason is shown in words
DARK = 12.0  # grey levels of 255
FILLED = 0.2  # share of a picture below a broken-off transfer, from which it is a fault
_FOLDER = ("clean", "evidence")
_FORM = 1  # of the files
_TRIES = 5  # at putting them there while others do
_AT_ONCE = 5_000  # suspects that are made at once
_PROBE_FILES = ("probabilities.npz", "pretrained.npz", "head.npz")
_STAGES = ("screen", "split", "probe")  # after which photos may be judged otherwise


@dataclass(frozen=True)
class Judged:
    """n photos in the order of their hashes.

    evidence: what their order is learned from; label: of now; split; scores: (n, 4) by KINDS;
    probabilities: (n, classes); light, filled: (n,); near: (m, 8) rows of the photos most like
    those of `near_of` (m,), -1: none; looks: 1, or 2 after a second look."""

    classes: tuple[str, ...]
    evidence: OrderEvidence
    label: Words
    split: Words
    scores: Floats
    probabilities: Floats
    light: Floats32
    filled: Floats32
    near_of: Ints
    near: Ints
    looks: int

    @property
    def hashes(self) -> Hashes:
        return self.evidence.hashes

    def __len__(self) -> int:
        return len(self.hashes)

    def after(self, made: Mapping[str, Event]) -> Order:
        """The order as far as these decisions show. made: sha256 -> the decision in force."""
        return self.evidence.after(made)

    def kinds(self) -> Words:
        """The strongest reason of each, "" where there is none."""
        best = np.where(self.scores.max(1, initial=0) > 0, self.scores.argmax(1) + 1, 0)
        return Words(("", *KINDS), best.astype(np.int32))

    def listed(self, order: Order, rows: Ints, origins: Mapping[str, str]) -> list[Suspect]:
        """The suspects (m,) of some rows. origins: sha256 -> file or address."""
        pairs = zip(self.hashes.some(rows), rows.tolist(), strict=True)
        return [self._suspect(name, origins.get(name, ""), row, order) for name, row in pairs]

    def every(self, catalog: Catalog, order: Order, rows: Ints) -> list[Suspect]:
        """The suspects (m,) of some rows; of the catalog no other photos are read."""
        found = list[Suspect]()
        for at in range(0, len(rows), _AT_ONCE):
            part = rows[at : at + _AT_ONCE]
            photos = catalog.photos_of(self.hashes.some(part))
            found += self.listed(order, part, {photo.sha256: photo.origin for photo in photos})
        return found

    def _suspect(self, name: str, origin: str, row: int, order: Order) -> Suspect:
        label = self.label.at(row)
        own = dict(zip(KINDS, self.scores[row].tolist(), strict=True))
        bars = dict(zip(self.classes, self.probabilities[row].tolist(), strict=True))
        reasons = _reasons(own, bars, label, float(self.light[row]), float(self.filled[row]))
        near: list[int] = []
        place = int(np.searchsorted(self.near_of, row))
        if place < len(self.near_of) and self.near_of[place] == row:
            near = [other for other in self.near[place].tolist() if other >= 0]
        return Suspect(
            sha256=name,
            origin=origin,
            label=label,
            split=self.split.at(row),
            suggested=max(bars, key=bars.__getitem__),
            score=float(order.chances[row]),
            reasons=[LIKE_FAULTS, *reasons] if order.noted[row] else reasons,
            scores=own,
            probabilities=bars,
            neighbours=self.hashes.some(np.array(near, dtype=np.int64)),
        )


@dataclass(frozen=True)
class OpenSuspects:
    """The photos in use that nobody decided on, as rows of `judged`, most suspect first; likely: of
    the first so many something is probably wrong."""

    judged: Judged
    order: Order
    rows: Ints
    likely: int

    def first(self, catalog: Catalog, n: int) -> list[Suspect]:
        """The n most suspect; of the catalog no other photos are read."""
        return self.judged.every(catalog, self.order, self.rows[:n])

    def every(self, catalog: Catalog) -> list[Suspect]:
        return self.judged.every(catalog, self.order, self.rows)

    def misplaced(self, catalog: Catalog, least: float) -> list[Suspect]:
        """Those with at least this chance of anything but a wrong label."""
        others = [self.judged.scores[self.rows, n] for n, k in enumerate(KINDS) if k != "label"]
        rows = self.rows[combined(others) >= least]
        return self.judged.every(catalog, self.order, rows)


def _reasons(
    scores: dict[str, float], bars: dict[str, float], label: str, light: float, filled: float
) -> list[str]:
    other = max(bars, key=lambda one: bars[one] if one != label else -1.0)
    words = {
        "label": f"looks like {other} ({bars[other]:.0%})",
        "outlier": f"shows what photos of {label} hardly ever show",
        "duplicate": "a near-copy of it stands under another class",
        "quality": _fault_of_quality(light, filled),
    }
    order = sorted(KINDS, key=lambda kind: -scores[kind])
    likely = [words[kind] for kind in order if scores[kind] >= LIKELY]
    return likely or ([words[order[0]]] if scores[order[0]] >= LIKELY / 2 else [])


def _fault_of_quality(light: float, filled: float) -> str:
    if filled >= FILLED:
        return f"broken off: the lower {filled:.0%} are one colour"
    return "very dark" if light < DARK else "blurred or empty"


# -- kept in the dataset ---------------------------------------------------------------------------


def store_judged(catalog: Catalog, judged: Judged, made: Mapping[str, Event]) -> None:
    """Store the columns, in place of those of before. made: the decisions that they know.

    Raises DataError (DISK_FULL, CANNOT_WRITE)."""
    folder = catalog.root.joinpath(*_FOLDER)
    partial = folder.with_name(f".{folder.name}.{uuid4().hex}.partial")
    about = {
        "key": _key(catalog),
        "made": {sha256: event.id for sha256, event in made.items()},
        "classes": judged.classes,
        "label": judged.label.words,
        "split": judged.split.words,
        "looks": judged.looks,
    }
    with write_errors(folder):
        try:
            partial.mkdir(parents=True)
            for name, values in _columns(judged).items():
                np.save(partial / f"{name}.npy", values, allow_pickle=False)
            (partial / "about.json").write_text(json.dumps(about), encoding="utf-8")
            with suppress(PermissionError):  # Windows, while a page has them open: they stay
                _put(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, folder: Path) -> None:
    """In place of what is there. Another program may put its columns there meanwhile: these are
    replaced as well, or stay, since whoever reads them sees what they are of."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        try:
            partial.rename(folder)
            return
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def stored_judged(
    catalog: Catalog, classes: Sequence[str], made: Mapping[str, Event]
) -> Judged | None:
    """The stored columns, which stay in their files until they are needed; None where something
    that they depend on has changed: a decision that they know was taken back, or a stage ran."""
    folder = catalog.root.joinpath(*_FOLDER)
    try:
        about = json.loads((folder / "about.json").read_bytes())
        now = {sha256: event.id for sha256, event in made.items()}
        same = about["key"] == _key(catalog) and about["classes"] == list(classes)
        if not same or about["made"].items() - now.items():
            return None
        column = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        taken = {name: column.pop(name) for name in ("sha256", "label", "split")}
        of_evidence = {name: column.pop(name) for name in OrderEvidence.COLUMNS}
        return Judged(
            tuple(classes),
            OrderEvidence(Hashes.of(np.asarray(taken["sha256"])), tuple(classes), **of_evidence),
            Words(tuple(about["label"]), taken["label"]),
            Words(tuple(about["split"]), taken["split"]),
            **column,
            looks=about.get("looks", 1),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError):
        return None


def _columns(judged: Judged) -> dict[str, NDArray[Any]]:
    plain = ("scores", "probabilities", "light", "filled", "near_of", "near")
    return {
        "sha256": judged.hashes.names,
        "label": judged.label.numbers,
        "split": judged.split.numbers,
        **{name: getattr(judged.evidence, name) for name in OrderEvidence.COLUMNS},
        **{name: getattr(judged, name) for name in plain},
    }


def _key(catalog: Catalog) -> dict[str, Any]:
    """What another judgement would be made from, as far as no decision changed it. Reads no photo:
    photos change by decisions, and by other events and stages, which are noted."""
    runs = {stage: catalog.last_run(stage) for stage in _STAGES}
    others = catalog.events("WHERE request = '' ORDER BY id DESC LIMIT 1")
    files = [catalog.root / "probe" / name for name in _PROBE_FILES]
    files.append(catalog.root / LOOK_FILE)
    facts = {path.name: path.stat() for path in files if path.is_file()}
    return {
        "form": _FORM,
        "probe": {name: [one.st_size, one.st_mtime_ns] for name, one in facts.items()},
        "runs": {stage: run.inputs if run else "" for stage, run in runs.items()},
        "event": others[0].id if others else 0,
    }
