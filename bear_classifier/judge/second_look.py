"""A second look at the photos before somebody cleans them: the same weights on larger squares of
whole photos.

A network sees more in pictures somewhat larger than those of its training (Touvron et al., Fixing
the train-test resolution discrepancy, NeurIPS 2019). Both looks together find more faults than
either (docs/LOG.md); the model itself keeps its size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, is_taken_down
from bear_classifier.dataset.photo_columns import Hashes, PhotoColumns, photo_columns
from bear_classifier.dataset.schema import Event, Photo
from bear_classifier.dataset.stage_fingerprint import features_whole
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.judge.predictions import (
    DAMAGED,
    Evidence,
    arrays_of,
    first_model,
    load_evidence,
    stored_rows,
)
from bear_classifier.runtime.files import hash_of, write_atomic
from bear_classifier.runtime.npz import as_npz
from bear_classifier.runtime.shards import Column
from bear_classifier.runtime.terminal import note_above_bars
from bear_classifier.stats.arrays import Bools, Floats, at_hand

LOOK_FILE = "clean/second_look.npz"
_LARGER = 1.25  # times the side of the first model's squares (docs/LOG.md)
_STEP = 32  # pixels; networks halve their pictures five times
# The weights are gone, or the network refuses this size.
_CANNOT_LOOK = ("WEIGHTS_UNAVAILABLE", "BAD_WEIGHTS", "OTHER_WEIGHTS", "BAD_SETTING", "BAD_ARCH")
_MOST = 50_000  # photos; of more the first look has to do, unless clean.size says otherwise


@dataclass(frozen=True)
class SecondLook:
    """Of photos: there (n,), which of those that were asked for it has. Of these m: probabilities
    (m, classes), from models that saw neither a photo nor its near-copies; features (m, f), in
    their files. wanted: `clean.size` at that time; file: the name of the features."""

    there: Bools
    probabilities: Floats
    features: Column
    wanted: int
    file: str


def second_look(root: Path, hashes: Hashes, needed: Bools) -> SecondLook | None:
    """What the second look left for these photos; None where there was none, the first model is
    another one now, or one that is needed (n,) is not in it."""
    try:
        stored = arrays_of(root / LOOK_FILE)
        if str(stored["first"]) != hash_of(root / "probe" / "probabilities.npz"):
            return None
        file, names = str(stored["features"]), hashes.some(np.arange(len(hashes)))
        rows = stored_rows(root, file)
        row, at = Hashes.of(stored["sha256"].tolist()).find(names), rows.find(names)
        there = (row >= 0) & (at >= 0)
        if not there[needed].all():
            return None
        rows.take("sharpness", at[there])  # fails here if a file was cut off
        said, features = stored["probabilities"][row[there]], Column(rows, "features", at[there])
        return SecondLook(there, said, features, int(stored["wanted"]), file)
    except DAMAGED:
        return None


def look_digest(root: Path) -> str:
    """Of the file that a second look left; "" where there is none."""
    return hash_of(root / LOOK_FILE) if (root / LOOK_FILE).is_file() else ""


def is_judged(root: Path) -> bool:
    """Whether the last cleaning went by the second look that there is now."""
    try:
        summary = json.loads((root / "clean" / "summary.json").read_text(encoding="utf-8"))
        return bool(summary.get("look", "") == look_digest(root))
    except (OSError, ValueError, AttributeError):
        return False


def dropped_photos(columns: PhotoColumns, made: Mapping[str, Event]) -> set[str]:
    """Of the photos that somebody decided on, those that are dropped and not taken down."""
    names = list(made)
    rows = columns.hashes.find(names)
    dropped = columns.status.is_("dropped") & ~columns.taken_down
    return {name for name, row in zip(names, rows, strict=True) if row >= 0 and dropped[row]}


def look_again(catalog: Catalog, config: Config) -> bool:
    """Look at the photos that the first model knows in squares of clean.size, unless that was done.
    Where that would show nothing more an earlier look is forgotten. Returns whether something was
    changed.

    Raises DataError (NOT_PROBED, DISK_FULL, CANNOT_WRITE, STORED_DAMAGED)."""
    root = catalog.root
    evidence = load_evidence(root, dropped_photos(photo_columns(catalog), decided(catalog)))
    if not _is_worth_it(config, len(evidence.sha256)):
        return _forgotten(root)
    photos, first = _photos(catalog, evidence), first_model(root, [])
    strength = first[1] if first else None
    if evidence.labels is None or strength is None or not photos:  # of an earlier version
        return False
    hashes = Hashes.of([photo.sha256 for photo in photos])
    before = second_look(root, hashes, np.ones(len(photos), dtype=bool))
    if (
        before
        and before.wanted == config.clean.size
        and features_whole(root / "features" / before.file, root)
    ):
        return False
    try:
        larger = _larger(config)
        if larger is None:
            return _forgotten(root)
        note_above_bars(f"Looking at the photos a second time, in {larger.learn.size} pixels")
        look = _looked(catalog, larger, evidence, photos, strength)
    except (TrainError, ConfigError) as exc:
        if exc.code not in _CANNOT_LOOK:
            raise
        note_above_bars(f"No second look: {exc.code}: {exc.sentence.partition(';')[0]}")
        return False
    write_atomic(root / LOOK_FILE, look)
    return True


def _forgotten(root: Path) -> bool:
    there = (root / LOOK_FILE).is_file()
    (root / LOOK_FILE).unlink(missing_ok=True)
    return there


def can_look_again(config: Config, n: int) -> bool:
    """Whether a second look at n photos would show more, as far as the settings say."""
    try:
        return _is_worth_it(config, n) and _larger(config) is not None
    except TrainError:  # a bundle to learn on from that is gone
        return False


def _is_worth_it(config: Config, n: int) -> bool:
    """What was never trained sees no more in larger pictures, and very many photos take long."""
    return config.learn.weights != "none" and bool(n <= _MOST or config.clean.size)


def _looked(
    catalog: Catalog, config: Config, evidence: Evidence, photos: list[Photo], strength: float
) -> bytes:
    """A file as `second_look` reads it. config: of larger pictures; strength: C of the first
    model."""
    from bear_classifier.learn.backbone import build_body
    from bear_classifier.learn.features import feature_cache
    from bear_classifier.learn.probe import LEARNED

    # Late, so that a list of suspects does not import scikit-learn.
    from bear_classifier.stats.linear_probe import learning_sample, n_folds, two_rounds

    body = build_body(config.learn, config.train.seed)
    folder, features = feature_cache(catalog, config, photos, body)
    place = {name: n for n, name in enumerate(evidence.sha256)}
    rows = [place[photo.sha256] for photo in photos]
    labels = np.array([_number(config, (evidence.labels or [])[n]) for n in rows])
    not_test = np.array([photo.split != "test" for photo in photos])
    groups = np.unique(np.array([photo.family for photo in photos], "S64"), return_inverse=True)[1]
    known = not_test & (labels >= 0) & evidence.known[rows]
    known = learning_sample(labels, groups, known, LEARNED)
    folds = n_folds(labels[known], groups[known], config.probe.folds)
    return as_npz(
        sha256=np.array([photo.sha256 for photo in photos]),
        probabilities=two_rounds(strength, at_hand(features), labels, groups, known, folds)[1],
        features=np.array(folder.name),
        wanted=np.array(config.clean.size),
        first=np.array(hash_of(catalog.root / "probe" / "probabilities.npz")),
    )


def _number(config: Config, label: str) -> int:
    return config.labels.index(label) if label in config.labels else -1


def _photos(catalog: Catalog, evidence: Evidence) -> list[Photo]:
    """Those that the first model knows, and those that were dropped before, in its order. Nobody
    restores the file of a dropped one that is gone."""
    there = {
        photo.sha256: photo
        for photo in catalog.photos_of(evidence.sha256)
        if photo.status == "ok"
        or (
            photo.status == "dropped" and not is_taken_down(photo) and catalog.file(photo).is_file()
        )
    }
    return [there[name] for name in evidence.sha256 if name in there]


def larger_size(size: int) -> int:
    """Pixels, side of the squares of the second look; size: of the first."""
    return _STEP * max(round(_LARGER * size / _STEP), size // _STEP + 1)


def _larger(config: Config) -> Config | None:
    """The settings of the second look; None where it would show nothing more."""
    from bear_classifier.learn.architectures import any_size, architecture
    from bear_classifier.learn.weights import preprocessing

    first = preprocessing(config.learn).size
    wanted = config.clean.size or larger_size(first)
    if wanted <= first or not any_size(architecture(config.learn.arch)):
        return None
    learn = replace(config.learn, size=wanted, crop=1.0)
    return replace(config, learn=learn, probe=replace(config.probe, precision="fp32"))
