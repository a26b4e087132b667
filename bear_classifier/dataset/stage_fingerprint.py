"""Fingerprint of the inputs of a stage, and whether its outputs are complete.

Files count by content, not by name or time: a copied project, or one with weights elsewhere, is the
same project. A large file is read once; its hash is cached with its size and time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.config.settings import Config, LearnConfig, stored_settings
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.sources import usable_sites
from bear_classifier.errors import DataError
from bear_classifier.images.preprocessing import Preprocessing, of_bundle
from bear_classifier.runtime.files import hash_of, json_digest, write_atomic
from bear_classifier.stages import Stage

FORM = 3  # version of the digest, which begins with it; Stage.renewed counts for outputs
HASH_CACHE = "hashes.json"  # in the dataset: path -> size, time of change, SHA-256
# Settings that change no result: the device, the engine of the tasks, whose outputs are the same
# bytes, and whether training goes on after a break.
WITHOUT_EFFECT = {"learn.device", "train.resume", "engine.name"}
# Settings that came later, left out at these values: results from before them stay up to date.
LATER = {"probe.precision": "fp32", "export.licence": ""}
# Networks to which version 0.1.0 gave other pixel values than later ones: they begin anew.
CENTRED = ("efficientnet_v2_l", "googlenet", "inception_v3")


def fingerprint(config: Config, catalog: Catalog, stages: Sequence[Stage]) -> str:
    """Of the last of these stages. stages: it and all before it, in their order."""
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
    """What these stages depend on, by table.key; named files by their content."""
    values: dict[str, Any] = {
        f"{table}.{key}": value
        for table in sorted({table for stage in stages for table in stage.tables})
        for key, value in stored_settings(getattr(config, table)).items()
        if f"{table}.{key}" not in WITHOUT_EFFECT and LATER.get(f"{table}.{key}") != value
    }
    if "learn.weights" in values:
        values["learn.weights"] = content(_weights(config), root) or config.learn.weights
        values["train.seed"] = config.train.seed  # of a body without weights
        del values["learn.crop"], values["learn.interpolation"]
        values |= {f"learn.{key}": value for key, value in _of_pictures(config.learn).items()}
    if "export.note" in values:
        values["export.note"] = content(Path(config.export.note).expanduser(), root)
    return values


def _of_pictures(learn: LearnConfig) -> dict[str, Any]:
    """What a photo becomes, as far as it is known without the network's library: size 0, crop 0 and
    "auto" stand for what that says of its weights. A whole square and bilinear are left out: before
    they were settings nothing else was there, and results from then stay up to date."""
    shape = {"size": learn.size, "crop": learn.crop, "interpolation": learn.interpolation}
    own = Preprocessing(learn.size) if learn.weights == "none" else None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # the stage raises it again
        own = own or of_bundle(learn.place)
    if own:
        shape = {k: getattr(own, k) if v in (0, "auto") else v for k, v in shape.items()}
    if shape["crop"] == 1:
        del shape["crop"]
    if shape["interpolation"] == "bilinear":
        del shape["interpolation"]
    if learn.arch in CENTRED:
        shape["centred"] = True
    return shape


def _weights(config: Config) -> Path:
    """The file of weights, or that of a bundle which has the hashes of all others."""
    place = config.learn.place
    return place / "bundle.json" if place.is_dir() else place


def _sources(config: Config, catalog: Catalog) -> str:
    """The known source of each photo, by pages and by split.sources."""
    name = config.split.sources
    table = content(Path(name).expanduser(), catalog.root) if name else ""
    try:
        digest = catalog.once(
            f"sources {name} {table}", lambda: json_digest(usable_sites(catalog, name))
        )
        return str(digest)
    except DataError as exc:  # the stage raises it again
        return str(exc)


# What stages read besides their tables.
_READ: dict[str, Callable[[Config, Catalog], str]]
_READ = {"sources": _sources, "split.by": lambda config, _: config.split.by}


# -- version 0.1.0 ------------------------------------------------------------------------------

_EARLIER = 2  # its version of the digest
_TABLES = {  # its settings
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
    """The digest of version 0.1.0 for the present inputs; None where it left out something that
    counts, so that nobody knows whether it was the same."""
    if config.split.sources or config.export.note and stages[-1].name == "export":
        return None
    tables = {table for stage in stages if stage.leaves for table in stage.tables}
    known = {table: stored_settings(getattr(config, table)) for table in sorted(tables)}
    values: dict[str, dict[str, Any]] = {t: {k: known[t][k] for k in _TABLES[t]} for t in known}
    if "learn" in values:
        file = _weights(config)
        facts = file.stat() if file.is_file() else None
        values["learn"]["weights_stamp"] = [facts.st_size, facts.st_mtime_ns] if facts else []
        values["learn"]["seed"] = config.train.seed
        values["learn"] |= _of_pictures(config.learn)
    form = _EARLIER + sum(stage.renewed for stage in stages)
    return _hash([form, stages[-1].name, values, config.labels, catalog.fingerprint()])


def is_earlier(inputs: str) -> bool:
    return ":" not in inputs


# -- files -------------------------------------------------------------------------------------


def content(path: Path, root: Path) -> str:
    """SHA-256 of a file, "" where there is none. root: the dataset that caches it."""
    try:
        facts = path.stat()
        if not path.is_file():
            return ""
        cache = _cached_hashes(root)
        name, now = str(path.resolve()), [facts.st_size, facts.st_mtime_ns]
        if cache.get(name, [])[:2] == now:
            return str(cache[name][2])
        sha256 = hash_of(path)
    except OSError:  # the stage that reads it raises it again
        return ""
    cache[name] = [*now, sha256]
    _keep_hashes(cache, root)
    return sha256


def _keep_hashes(cache: Mapping[str, list[Any]], root: Path) -> None:
    with contextlib.suppress(DataError):  # the dataset may be read-only
        write_atomic(root / HASH_CACHE, json.dumps(cache, indent=1).encode())


def _cached_hashes(root: Path) -> dict[str, list[Any]]:
    try:
        cache = json.loads((root / HASH_CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = cache.items() if isinstance(cache, dict) else ()
    return {k: v for k, v in rows if isinstance(v, list) and len(v) == 3}


def hashes(place: Path, stage: Stage, root: Path) -> dict[str, str]:
    """Of the outputs of a stage that have no checksum in them."""
    names = [name for name in (stage.leaves, *stage.also) if name.endswith(".safetensors")]
    return {name: content(place / name, root) for name in names}


def is_complete(place: Path, stage: Stage, known: Mapping[str, str], root: Path) -> bool:
    """Whether all outputs of a stage in `place` are there and readable.

    known: as `hashes` when it had run; empty if unknown."""
    try:
        names, listed = [stage.leaves, *stage.also], dict(known)
        if stage.name == "export":
            files = json.loads((place / stage.leaves).read_bytes())["files"]
            listed |= {name: entry["sha256"] for name, entry in files.items()}
        if stage.name == "probe":
            features = place / "features" / _features_name(place / stage.also[0])
            if not features_whole(features, root):
                return False
        return all(content(place / name, root) == sha for name, sha in listed.items()) and all(
            _READABLE[Path(name).suffix](place / name) for name in names if name not in listed
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, *_DAMAGED):
        return False


_DAMAGED = (EOFError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)


def _features_name(probabilities: Path) -> str:
    """Of the features that the first model was made from."""
    import numpy as np

    with np.load(probabilities, allow_pickle=False) as file:
        return str(file["features"])


def features_whole(features: Path, root: Path) -> bool:
    """Of a folder of shards, or of the one file of version 0.2."""
    folder = features.with_name(features.name.removesuffix(".npz"))
    if not folder.is_dir():
        return _npz(features)
    from bear_classifier.runtime import shards  # only now: numpy is heavy

    files = list(shards.files(folder))
    return bool(files) and not _damaged_rows(files, root)


def drop_damaged_rows(folder: Path, root: Path) -> None:
    """Remove damaged files of rows below a folder of the dataset `root`: they are made again."""
    from bear_classifier.runtime import shards

    for file in _damaged_rows([file for file in shards.files(folder) if file.is_file()], root):
        file.unlink(missing_ok=True)


def _damaged_rows(files: Sequence[Path], root: Path) -> list[Path]:
    """Those that are missing or damaged; a file is read once, unless it changes."""
    from bear_classifier.runtime import shards

    cache, damaged, changed = _cached_hashes(root), list[Path](), False
    for file in files:
        try:
            facts = file.stat()
            now = [facts.st_size, facts.st_mtime_ns, "whole"]
            if cache.get(str(file.resolve())) != now:
                if not shards.is_whole(file):
                    raise ValueError
                cache[str(file.resolve())], changed = now, True
        except (OSError, ValueError, *_DAMAGED):
            damaged.append(file)
    if changed:
        _keep_hashes(cache, root)
    return damaged


def _npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as file:
        return file.testzip() is None


def _json(path: Path) -> bool:
    json.loads(path.read_bytes())
    return True


def _safetensors(path: Path) -> bool:
    """Eight bytes with the length of a header, the header, and data up to its last tensor's end."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length)) if length < path.stat().st_size else {}
    ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
    return bool(ends) and 8 + length + max(ends) == path.stat().st_size


_READABLE = {".npz": _npz, ".json": _json, ".safetensors": _safetensors}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
