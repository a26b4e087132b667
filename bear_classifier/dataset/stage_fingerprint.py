"""Fingerprint of the inputs of a stage, and whether its outputs are complete.

Files count by their content, not by name or time: a project that was copied, or whose weights lie
elsewhere, is the same project. A large file is read once; its hash is remembered with its size and
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.config.settings import Config, stored_settings
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.sources import sites
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import hash_of, write_atomic
from bear_classifier.stages import Stage

FORM = 3  # of the digest, which begins with it; what a stage leaves is Stage.renewed
HASH_CACHE = "hashes.json"  # in the dataset: path -> size, time of change, SHA-256
# Settings that change no result: where a model is made, and whether a break is made good.
WITHOUT_EFFECT = {"learn.device", "train.resume"}


def fingerprint(config: Config, catalog: Catalog, stages: Sequence[Stage]) -> str:
    """Of the last of these stages, which are it and all before it, in their order."""
    made = [stage for stage in stages if stage.leaves]
    values = {
        "stage": stages[-1].name,
        "renewed": sum(stage.renewed for stage in stages),
        "labels": config.labels,
        "photos": catalog.once("fingerprint", catalog.fingerprint),
        "settings": settings(config, made, catalog.root),
        "reads": {name: _READ[name](config, catalog) for stage in made for name in stage.reads},
    }
    return f"{FORM}:{_hash(values)}"


def settings(config: Config, stages: Sequence[Stage], root: Path) -> dict[str, Any]:
    """What these stages depend on, by table.key; files that settings name by their content."""
    found: dict[str, Any] = {
        f"{table}.{key}": value
        for table in sorted({table for stage in stages for table in stage.tables})
        for key, value in stored_settings(getattr(config, table)).items()
        if f"{table}.{key}" not in WITHOUT_EFFECT
    }
    if "learn.weights" in found:
        found["learn.weights"] = _weights(config, root)
        found["train.seed"] = config.train.seed  # of a body without weights
        if config.learn.centred:  # 0.1.0 gave these networks other pixel values: they begin anew
            found["learn.centred"] = True
    if "export.note" in found:
        found["export.note"] = content(Path(config.export.note).expanduser(), root)
    return found


def _weights(config: Config, root: Path) -> str:
    """A bundle lists the hashes of its files, so that its list stands for them."""
    place = config.learn.place
    file = place / "bundle.json" if place.is_dir() else place
    return content(file, root) or config.learn.weights


def _sources(config: Config, catalog: Catalog) -> str:
    """Where each photo comes from, as far as it is known: of pages and of split.sources."""
    table = Path(config.split.sources).expanduser() if config.split.sources else None
    try:
        return str(
            catalog.once(
                f"sources {config.split.sources} {content(table, catalog.root) if table else ''}",
                lambda: _hash(sites(catalog, catalog.photos("ok"), config.split.sources)),
            )
        )
    except DataError as exc:  # the stage will say so
        return str(exc)


def _by(config: Config, catalog: Catalog) -> str:
    return config.split.by


_READ = {"sources": _sources, "split.by": _by}  # what stages read besides their tables


# -- the form of version 0.1.0 ------------------------------------------------------------------

_EARLIER = 2  # its form
_TABLES = {  # the settings that there were
    "learn": ("arch", "weights", "size"),
    "probe": ("folds",),
    "train": (
        *("epochs", "lr", "spread", "batch_size", "head", "frozen", "layers", "cycles", "balance"),
        *("resize", "crop", "dropout", "seed", "rehearse"),
    ),
    "reject": ("share", "close"),
    "export": ("parity", "precision", "decode", "weights", "note", "pictures"),
}


def earlier(config: Config, catalog: Catalog, stages: Sequence[Stage]) -> str | None:
    """The digest that version 0.1.0 gave to what there is now; None where it left something out
    that counts, so that nobody knows whether it was the same."""
    if config.split.sources or config.export.note and stages[-1].name == "export":
        return None
    tables = {table for stage in stages if stage.leaves for table in stage.tables}
    known = {table: stored_settings(getattr(config, table)) for table in sorted(tables)}
    values: dict[str, dict[str, Any]] = {t: {k: known[t][k] for k in _TABLES[t]} for t in known}
    if "learn" in values:
        values["learn"]["weights_stamp"] = _stamp(config.learn.place)
        values["learn"]["seed"] = config.train.seed
        if config.learn.centred:
            values["learn"]["centred"] = True
    form = _EARLIER + sum(stage.renewed for stage in stages)
    return _hash([form, stages[-1].name, values, config.labels, catalog.fingerprint()])


def is_earlier(inputs: str) -> bool:
    return ":" not in inputs


def _stamp(path: Path) -> list[int]:
    """Size and time of a weights file."""
    file = path / "bundle.json" if path.is_dir() else path
    return [file.stat().st_size, file.stat().st_mtime_ns] if file.is_file() else []


# -- files -------------------------------------------------------------------------------------


def content(path: Path, root: Path) -> str:
    """SHA-256 of a file, "" where there is none. root: the dataset that remembers it."""
    try:
        facts = path.stat()
        if not path.is_file():
            return ""
        known = _remembered(root)
        name, now = str(path.resolve()), [facts.st_size, facts.st_mtime_ns]
        if known.get(name, [])[:2] == now:
            return str(known[name][2])
        found = hash_of(path)
    except OSError:  # the stage that reads it will say so
        return ""
    with contextlib.suppress(DataError):  # whoever only looks need not be able to write
        write_atomic(
            root / HASH_CACHE, json.dumps({**known, name: [*now, found]}, indent=1).encode()
        )
    return found


def _remembered(root: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads((root / HASH_CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = known.items() if isinstance(known, dict) else ()
    return {k: v for k, v in good if isinstance(v, list) and len(v) == 3}


def hashes(place: Path, stage: Stage, root: Path) -> dict[str, str]:
    """Of the files that a stage left and that carry no checksum of their own."""
    names = [name for name in (stage.leaves, *stage.also) if name.endswith(".safetensors")]
    return {name: content(place / name, root) for name in names}


def is_complete(place: Path, stage: Stage, known: Mapping[str, str], root: Path) -> bool:
    """Whether all that a stage left in `place` is there and can be read as what it is.

    known: as `hashes` when it had run; empty where it is not known."""
    try:
        names, listed = [stage.leaves, *stage.also], dict(known)
        if stage.name == "export":
            files = json.loads((place / stage.leaves).read_bytes())["files"]
            listed |= {name: entry["sha256"] for name, entry in files.items()}
        if stage.name == "probe":
            names.append(f"features/{_features_of(place / stage.also[0])}")
        return all(content(place / name, root) == sha for name, sha in listed.items()) and all(
            _READABLE[Path(name).suffix](place / name) for name in names if name not in listed
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, *_DAMAGED):
        return False


_DAMAGED = (EOFError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)


def _features_of(probabilities: Path) -> str:
    """The cache of features that the first model was made from."""
    import numpy as np

    with np.load(probabilities, allow_pickle=False) as file:
        return str(file["features"])


def _npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as file:
        return file.testzip() is None


def _json(path: Path) -> bool:
    json.loads(path.read_bytes())
    return True


def _safetensors(path: Path) -> bool:
    """Eight bytes of length, a header, and as many bytes as its last tensor ends at."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length)) if length < path.stat().st_size else {}
    ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
    return bool(ends) and 8 + length + max(ends) == path.stat().st_size


_READABLE = {".npz": _npz, ".json": _json, ".safetensors": _safetensors}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
