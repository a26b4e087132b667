"""The model bundle: a folder that is verified before it is used, and runs no code.

bundle.json           what it is: labels, preprocessing, figures, versions, checksums of all files
model.onnx            image (n, 3, size, size) to logits, pooled features, last feature map
weights.safetensors   the same weights, to train on from
reference.npz         features of training photos, for the OOD score
pictures.npz          only with export.pictures: small copies of training photos, with credits
complete.onnx         only where it is small: pixels to answer in one file, ship/complete_onnx.py
example-NN.jpeg       only where it answers drawn ones rightly: pictures for a page to try
golden/               pictures, and the outputs for them when it was published
README.md             the model card, with front matter for the Hugging Face Hub
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.errors import ModelError
from bear_classifier.images.preprocessing import Preprocessing, of_manifest
from bear_classifier.runtime import git_lfs
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import read_npz
from bear_classifier.runtime.publish import clear_leftovers as clear_leftovers
from bear_classifier.runtime.publish import publish as publish
from bear_classifier.runtime.publish import recover as recover
from bear_classifier.runtime.publish import standing as standing
from bear_classifier.runtime.system_files import is_system_file, is_system_folder
from bear_classifier.ship import manifest
from bear_classifier.ship.onnx_check import refuse_unsafe

GOLDEN = 32
_CHECKSUM = re.compile(rb'"checksum": "([0-9a-f]{64})"')
_ZEROS = b"0" * 64
_FRONT_MATTER = re.compile(r"\A---\n.*?^---\n\s*", re.DOTALL | re.MULTILINE)
_KEPT = ("model.onnx", "reference.npz")
_ARCHIVES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x1f\x8b", b"BZh")
_ZIP = (b"PK\x03\x04",)  # what torch.save writes; an .npz is one by right
_LARGEST = 4 * 2**30  # bytes of one file
_LARGEST_JSON = 2**20
_LARGEST_GOLDEN = 2**26  # bytes of the expected outputs
_BLOCK = 2**22  # bytes of a file that is read and not kept
_FOLDERS = ("golden",)
_OF_THE_HUB = (".cache", ".git"), (".gitattributes",)  # folders and files of its downloads
_TRIES = 9  # at reading a bundle while others are being published in its place


@dataclass(frozen=True, repr=False)
class Bundle:
    """A verified model folder. onnx, reference: the bytes that were checked, and no others."""

    path: Path
    about: Mapping[str, Any]
    onnx: bytes
    reference: bytes

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}: {', '.join(self.labels)}; {self.size} px)"

    @property
    def labels(self) -> list[str]:
        return list(self.about["labels"])

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes its input."""
        return of_manifest(self.about["preprocessing"])

    @property
    def size(self) -> int:
        """Pixels, side of the square that the model sees."""
        return self.preprocessing.size

    @property
    def least(self) -> int | None:
        """Pixels of the shorter side that are enough to decode; None: decode in full."""
        least = self.about["preprocessing"].get("least")
        return None if least is None else int(least)

    @property
    def tolerance(self) -> float:
        """How far the outputs may lie from those of the self-test; see `Model.self_test`."""
        return float(self.about.get("precision", {}).get("tolerance", manifest.EXACT))

    @property
    def temperature(self) -> float:
        return float(self.about["temperature"])

    def card(self) -> str:
        """The model card for people, Markdown: without the front matter that the Hub reads."""
        text = (self.path / "README.md").read_text(encoding="utf-8", errors="replace")
        return _FRONT_MATTER.sub("", text, count=1)

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """pixels: (size, size, 3) of 0 to 255. Returns (3, size, size), as the network was fed."""
        batch = np.empty((3, *pixels.shape[:2]), dtype=np.float32)
        for channel, values in enumerate(self._values):
            np.take(values, pixels[..., channel], out=batch[channel], mode="clip")
        return batch

    @cached_property
    def _values(self) -> NDArray[np.float32]:
        """(3, 256): what each byte of each channel becomes."""
        shape = self.preprocessing
        mean, std = (np.array(part, np.float32)[:, None] for part in (shape.mean, shape.std))
        return np.asarray((np.arange(256, dtype=np.float32) / 255 - mean) / std)

    def golden(self) -> tuple[list[Path], dict[str, NDArray[np.float32]]]:
        """Test pictures, and expected logits, pooled features and probabilities (n, ...)."""
        try:
            expected = read_npz(part(self, "golden/expected.npz"), _LARGEST_GOLDEN)
        except ValueError as exc:
            raise ModelError("BAD_MODEL", f"golden/expected.npz cannot be read: {exc}") from exc
        names = sorted(n for n in self.about["files"] if manifest.GOLDEN_NAME.fullmatch(n))
        return [self.path / name for name in names], expected


def load(path: Path) -> Bundle:
    """Read and verify a bundle. Raises ModelError (NO_MODEL, UNSAFE_MODEL_FILE, MODEL_CORRUPT,
    MODEL_VERSION, MODEL_INCOMPLETE, UNEXPECTED_FILE, BAD_MODEL)."""
    for _ in range(_TRIES):
        here = standing(path)
        before = _identity(here)
        try:
            return _read(here)
        except ModelError:
            if _identity(standing(path)) == before:
                raise  # no other one was published meanwhile
    return _read(standing(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _read(path: Path) -> Bundle:
    if not (path / "bundle.json").is_file():
        words = f"there is no model in {path}; name another folder, or make one; run: bears run"
        raise ModelError("NO_MODEL", words)
    about = _manifest(_content(path, "bundle.json", _LARGEST_JSON, keep=True)[0])
    files = about["files"]
    _check_files(path, files)
    with ThreadPoolExecutor(2) as pool:  # hashing needs no lock of Python's
        contents = pool.map(lambda name: _checked(path, name, files[name], name in _KEPT), files)
        kept = dict(zip(files, contents, strict=True))
    refuse_unsafe(kept["model.onnx"])
    return Bundle(path, about, kept["model.onnx"], kept["reference.npz"])


def part(bundle: Bundle, name: str) -> bytes:
    """The content of a file of a bundle. Raises ModelError (MODEL_CORRUPT, MODEL_INCOMPLETE)."""
    return _checked(bundle.path, name, bundle.about["files"][name])


def pictures_to_try(bundle: Bundle) -> list[tuple[str, bytes]]:
    """Class and content of its pictures to try, JPEG. Raises ModelError (MODEL_CORRUPT)."""
    named = manifest.optional_field(bundle.about, "examples", list) or []
    files = [(label, manifest.example_name(n)) for n, label in enumerate(named)]
    listed = bundle.about["files"]
    return [(k, part(bundle, file)) for k, file in files if k in bundle.labels and file in listed]


def _content(path: Path, name: str, limit: int, keep: bool) -> tuple[bytes, str, int]:
    """Content of a file if it is to be kept, its SHA-256 and its size."""
    try:
        info = (path / name).lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            raise ModelError("UNEXPECTED_FILE", f"{name} is a link, not a file of its own; refused")
        if info.st_size > limit:
            words = f"{name} has {info.st_size} bytes; the limit is {limit}"
            raise ModelError("MODEL_CORRUPT", words)
        with (path / name).open("rb", buffering=0) as file:  # a buffer would hold all of it twice
            head = file.read(64)
            if git_lfs.is_pointer(head):
                raise ModelError("MODEL_INCOMPLETE", f"{path / name} is {git_lfs.ADVICE}")
            if head.startswith(_ARCHIVES if name.endswith(".npz") else _ARCHIVES + _ZIP):
                raise ModelError("UNSAFE_MODEL_FILE", f"{name} is a pickle or an archive; refused")
            file.seek(0)
            if keep:
                content = file.read()
                return content, hashlib.sha256(content).hexdigest(), len(content)
            sha, size = hashlib.sha256(), 0
            block = memoryview(bytearray(min(_BLOCK, info.st_size)))
            while n := file.readinto(block):
                sha.update(block[:n])
                size += n
            return b"", sha.hexdigest(), size
    except OSError as exc:
        raise ModelError("MODEL_INCOMPLETE", f"{name} cannot be read: {exc.strerror}") from exc


def _manifest(data: bytes) -> dict[str, Any]:
    """The fields of bundle.json. Its checksum is of the file with 64 zeros in its place."""
    digests = _CHECKSUM.findall(data)
    blank = _CHECKSUM.sub(b'"checksum": "' + _ZEROS + b'"', data)
    if len(digests) != 1 or hashlib.sha256(blank).hexdigest().encode() != digests[0]:
        raise ModelError("MODEL_CORRUPT", "bundle.json was changed: its checksum does not fit")
    try:
        about = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ModelError("BAD_MODEL", f"bundle.json does not describe a model ({exc!r})") from exc
    manifest.check_manifest(about)
    return dict(about)


def _check_files(path: Path, listed: Mapping[str, Any]) -> None:
    """The folder holds the listed files and, besides files of systems and of the Hub's downloads,
    which are never read, nothing else."""
    present = set()
    for folder, folders, files in os.walk(path, onerror=_closed):
        here = Path(folder).relative_to(path)
        for name in folders:
            inner = (here / name).as_posix()
            allowed = inner in (*_FOLDERS, *_OF_THE_HUB[0]) or is_system_folder(name)
            if not allowed or (path / inner).is_symlink():
                raise ModelError("UNEXPECTED_FILE", f"{inner} does not belong in a bundle; refused")
        folders[:] = [n for n in folders if not is_system_folder(n) and n not in _OF_THE_HUB[0]]
        present |= {(here / name).as_posix() for name in files if not is_system_file(name)}
    if extra := sorted(present - set(listed) - {"bundle.json", *_OF_THE_HUB[1]}):
        raise ModelError("UNEXPECTED_FILE", f"{extra[0]} does not belong in this bundle; refused")
    if missing := sorted(set(listed) - present):
        words = f"{missing[0]} is missing; copy the whole folder again"
        raise ModelError("MODEL_INCOMPLETE", words)


def _closed(exc: OSError) -> None:
    raise ModelError("MODEL_INCOMPLETE", f"{exc.filename} cannot be opened: {exc.strerror}")


def _checked(path: Path, name: str, entry: Mapping[str, Any], keep: bool = True) -> bytes:
    """The content of a file if it is to be kept. Raises ModelError (MODEL_CORRUPT)."""
    content, sha256, size = _content(path, name, _LARGEST, keep)
    if sha256 != entry["sha256"] or size != entry["size"]:
        words = f"{name} has checksum {sha256[:12]}..., expected {entry['sha256'][:12]}..."
        raise ModelError("MODEL_CORRUPT", f"{words}; copy the model again")
    return content


def describe(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """The bytes of bundle.json for these files. about: all fields but schema, files, checksum."""
    entries = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted(files.items())
    }
    fields = {"schema": manifest.SCHEMA, **about, "files": entries, "checksum": _ZEROS.decode()}
    blank = json.dumps(fields, indent=1, ensure_ascii=False).encode() + b"\n"
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank.replace(b'"checksum": "' + _ZEROS, b'"checksum": "' + digest)


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        write_atomic(folder / name, data)
