"""The starter set: three classes of drawn bears, with planted label faults.

    folder/<label>/bear_0137.jpg   pictures as filed, in the formats and sizes that the web delivers
    folder/.thumbnails, README.txt what many folders also hold, for readers to ignore
    folder/truth.json              one row per picture; written last, so it means: complete

The same seed gives the same bytes. A folder that holds anything else is refused, never emptied.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from bear_classifier.collect.starter.drawing import LABELS, draw_bear
from bear_classifier.collect.starter.pen import Random
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import progress_bar

STARTER_VERSION = 1  # raise it when the same seed gives other files
RARE, RARE_SHARE = "black", 0.4  # the under-represented class, and its share of the others' number
MISLABELLED = 0.06  # share of each class that is filed under another one
EXACT, EXACT_ASTRAY = 8, 2  # exact duplicates, and how many of them lie in another class
NEAR, NEAR_ASTRAY = 16, 4
LEAST_PER_CLASS = 12  # per class; with fewer there are not enough originals to plant every fault

OWN = ("README.txt", "truth.json")  # files of the set beside its folders of classes
_SUFFIXES = {".jpg": 0.64, ".jpeg": 0.06, ".png": 0.12, ".webp": 0.1, ".gif": 0.04, ".bmp": 0.04}
_STORED = {  # EXIF orientation -> how pixels are stored
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}

Fault = Literal["none", "mislabel", "exact_duplicate", "near_duplicate", "broken"]


@dataclass(frozen=True)
class PlannedFile:
    """One file: where it lies, what it shows, and what is wrong with it."""

    path: str  # relative to the folder, with forward slashes
    label: str  # the folder that it lies in
    true_label: str  # of a broken file: the same
    fault: Fault = "none"
    of: str | None = None  # the original's path, for duplicates
    kind: str | None = None  # how a near-duplicate was made, or in what way a file is broken


@dataclass(frozen=True)
class Truth:
    """How a set was made, and one row for every file of its class folders, sorted by path."""

    version: int
    seed: int
    per_class: int
    rows: tuple[PlannedFile, ...]


def write_starter(folder: Path, seed: int = 42, per_class: int = 160) -> Truth:
    """Write the set, or return its truth at once where it is complete. Raises DataError."""
    if per_class < LEAST_PER_CLASS:
        least = f"at least {LEAST_PER_CLASS}, enough for every planted fault"
        raise DataError("TOO_FEW", f"per_class is {per_class}; pass {least}")
    head = f"Starter pictures, version {STARTER_VERSION}, seed {seed}, {per_class} per class.\n"
    if (done := _complete(folder, head)) is not None:
        return done
    for stale in sorted(folder.rglob(".*.partial")):
        stale.unlink()
    write_atomic(folder / "README.txt", head.encode())
    thumbnail = draw_bear("teddy", _random(seed, "thumbnail")).resize((64, 64))
    write_atomic(folder / ".thumbnails" / "bear.png", _encoded(thumbnail, "PNG"))
    plan = _plan(seed, per_class)
    for row, drawing in progress_bar(plan, desc="drawing bears", unit="picture"):
        write_atomic(folder / row.path, _contents(row, drawing, seed))
    rows = sorted((row for row, _ in plan), key=lambda row: row.path)
    truth = Truth(STARTER_VERSION, seed, per_class, tuple(rows))
    write_atomic(folder / "truth.json", (json.dumps(asdict(truth), indent=1) + "\n").encode())
    return truth


def read_truth(folder: Path) -> Truth:
    """The truth that lies beside the class folders. Raises DataError where it is damaged."""
    path = folder / "truth.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Truth(**{**raw, "rows": tuple(PlannedFile(**row) for row in raw["rows"])})
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(
            "DAMAGED_TRUTH", f"{path} is damaged ({exc}); delete it to have the set drawn again"
        ) from exc


def _complete(folder: Path, head: str) -> Truth | None:
    """The truth of this very set, None where it must be written; refuses what is not ours."""
    if not folder.exists():
        return None
    if folder.is_dir() and all(path.suffix == ".partial" for path in folder.iterdir()):
        return None
    about = folder / "README.txt"
    if not about.is_file() or about.read_bytes() != head.encode():
        raise DataError(
            "FOLDER_IN_USE",
            f"{folder} holds something else than the starter set of this seed and size; choose"
            " another folder or move that one away",
        )
    if not (folder / "truth.json").is_file():
        return None
    truth = read_truth(folder)
    return truth if all((folder / row.path).is_file() for row in truth.rows) else None


def _plan(seed: int, per_class: int) -> list[tuple[PlannedFile, int]]:
    """Every file of the set, with the number of its drawing: a duplicate has its original's."""
    rng = _random(seed, "plan")
    rare = round(per_class * RARE_SHARE)
    shown = [label for label in LABELS for _ in range(rare if label == RARE else per_class)]
    total = len(shown) + EXACT + NEAR + len(_BROKEN)
    names = iter([f"bear_{k:04d}" for k in rng.permutation(total)])  # so that names tell nothing

    plan: list[tuple[PlannedFile, int]] = []
    for label, astray in zip(shown, _astray(rng, shown), strict=True):
        filed = _other(rng, label) if astray else label
        fault: Fault = "mislabel" if astray else "none"
        suffix = rng.choice(list(_SUFFIXES), p=list(_SUFFIXES.values()))
        path = f"{filed}/{next(names)}{suffix}"
        plan.append((PlannedFile(path, filed, label, fault), len(plan)))

    clean = [(row, drawing) for row, drawing in plan if row.fault == "none"]
    copied = [clean[k] for k in rng.choice(len(clean), EXACT + NEAR, replace=False)]
    for k, (original, drawing) in enumerate(copied):
        exact, shows = k < EXACT, original.true_label
        astray = k < EXACT_ASTRAY or 0 <= k - EXACT < NEAR_ASTRAY
        filed = _other(rng, shows) if astray else shows
        path = f"{filed}/{next(names)}{Path(original.path).suffix if exact else '.jpg'}"
        kind = None if exact else list(_NEAR)[(k - EXACT) % len(_NEAR)]
        fault = "exact_duplicate" if exact else "near_duplicate"
        plan.append((PlannedFile(path, filed, shows, fault, original.path, kind), drawing))

    for broken, suffix in _BROKEN:
        filed = str(rng.choice(LABELS))
        row = PlannedFile(f"{filed}/{next(names)}{suffix}", filed, filed, "broken", kind=broken)
        plan.append((row, len(plan)))
    return plan


def _astray(rng: Random, shown: list[str]) -> np.ndarray:
    """(n,) which pictures are filed under another class: the same share of each."""
    chosen = np.zeros(len(shown), bool)
    for label in LABELS:
        own = np.flatnonzero([other == label for other in shown])
        chosen[rng.choice(own, max(1, round(MISLABELLED * len(own))), replace=False)] = True
    return chosen


def _other(rng: Random, label: str) -> str:
    return str(rng.choice([other for other in LABELS if other != label]))


def _random(seed: int, purpose: str, number: int = 0) -> Random:
    return np.random.default_rng([seed, STARTER_VERSION, number, *purpose.encode()])


def _contents(row: PlannedFile, drawing: int, seed: int) -> bytes:
    rng, suffix = _random(seed, "encode", drawing), Path(row.path).suffix
    picture = draw_bear(row.true_label, _random(seed, "draw", drawing))
    if row.fault == "near_duplicate":
        return _NEAR[str(row.kind)](picture, rng)
    whole = _encode(picture, suffix, rng)
    return _BROKEN[str(row.kind), suffix](whole) if row.fault == "broken" else whole


def _encode(picture: Image.Image, suffix: str, rng: Random) -> bytes:
    """The picture as a camera, a phone or a page on the web would store it."""
    quality, form = int(rng.integers(45, 97)), rng.choice(["plain", "alpha", "palette"])
    if suffix in (".jpg", ".jpeg"):
        turned = rng.choice(list(_STORED)) if rng.random() < 0.2 else 1
        return _jpeg(picture, quality, int(turned), progressive=bool(rng.random() < 0.3))
    if suffix == ".webp":
        return _encoded(picture, "WEBP", quality=quality, method=2)
    if suffix == ".gif" or (suffix == ".png" and form == "palette"):
        return _encoded(picture.quantize(200), suffix[1:])
    if suffix == ".png" and form == "alpha":
        corners = Image.new("L", picture.size)
        box = (0, 0, picture.width - 1, picture.height - 1)
        ImageDraw.Draw(corners).rounded_rectangle(box, min(picture.size) // 10, fill=255)
        picture = picture.copy()
        picture.putalpha(corners)
    return _encoded(picture, suffix[1:])


def _jpeg(picture: Image.Image, quality: int = 85, turned: int = 1, **options: Any) -> bytes:
    """turned: EXIF orientation; the pixels are stored so that it shows them upright."""
    exif = Image.Exif()
    if turned != 1:
        exif[0x0112] = turned
        picture = picture.transpose(_STORED[turned])
    return _encoded(picture, "JPEG", quality=quality, exif=exif, **options)


def _encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _cropped(picture: Image.Image, rng: Random) -> bytes:
    """3 to 6 % less of the width and of the height."""
    (w, h), (left, top, right, bottom) = picture.size, rng.uniform(0.015, 0.03, 4)
    return _jpeg(
        picture.crop((round(w * left), round(h * top), round(w - w * right), round(h - h * bottom)))
    )


def _watermarked(picture: Image.Image, _: Random) -> bytes:
    marked, r = picture.copy(), min(picture.size) * 0.03
    for k in range(3):  # rings in a corner: a mark that needs no font
        x, y = picture.width - (2 + 1.5 * k) * r, picture.height - 2 * r
        ring, wide = (x - r, y - r, x + r, y + r), max(1, round(r / 4))
        ImageDraw.Draw(marked).ellipse(ring, outline=(245, 245, 245), width=wide)
    return _jpeg(marked)


_NEAR: dict[str, Callable[[Image.Image, Random], bytes]] = {
    "recompressed": lambda picture, _: _jpeg(picture, 35),
    "resized": lambda picture, _: _jpeg(
        picture.resize([round(n * 0.7) for n in picture.size], Image.Resampling.BICUBIC)
    ),
    "cropped": _cropped,
    "mirrored": lambda picture, _: _jpeg(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "brightened": lambda picture, rng: _jpeg(
        ImageEnhance.Brightness(picture).enhance(float(rng.choice([0.85, 1.15])))
    ),
    "watermarked": _watermarked,
}

_PAGE = b"<!DOCTYPE html>\n<html><body><h1>404</h1>This picture has moved.</body></html>\n"
_ZIP = b"PK\x05\x06" + bytes(18)  # an archive without members

# (kind, suffix) -> what becomes of the whole file
_BROKEN: dict[tuple[str, str], Callable[[bytes], bytes]] = {
    ("truncated", ".jpg"): lambda whole: whole[: len(whole) * 6 // 10],
    ("truncated", ".jpeg"): lambda whole: whole[: len(whole) * 9 // 10],
    ("truncated", ".png"): lambda whole: whole[: len(whole) // 2],
    ("html", ".jpg"): lambda _: _PAGE,
    ("html", ".png"): lambda _: _PAGE,
    ("empty", ".jpg"): lambda _: b"",
    ("zip", ".png"): lambda _: _ZIP,
    ("zip", ".jpg"): lambda _: _ZIP,
}
