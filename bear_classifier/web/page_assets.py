"""Libraries that pages need and the repository may not hold: fetched once, by the npm client.

Each is named with its exact version, the SHA-512 of its archive and its licence. What is fetched is
checked against that before anything of it is kept, and lies in the user's cache afterwards. Without
them every page works as it does without a network on the visitor's device.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.user_cache import cache_folder

_SECONDS = 600.0  # until the npm client counts as stuck


@dataclass(frozen=True)
class Asset:
    """A package of npm. sha512: of its archive, as npm states it (base64); files: what is kept of
    it, by path in the archive and the name that it gets; licence: its SPDX identifier."""

    package: str
    version: str
    sha512: str
    files: Mapping[str, str]
    licence: str

    @property
    def folder(self) -> str:
        return f"{self.package}-{self.version}"


ONNX_RUNTIME = Asset(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    {
        "package/dist/ort.wasm.min.mjs": "ort.wasm.min.mjs",
        "package/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
        "package/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    },
    "MIT",
)
HEIF = Asset(
    "libheif-js",
    "1.23.2",
    "qvHIXtggEsw1lCNCWBYKloL2Z36DJBm0R9ThGiH2JnhKYdeZFLPFkP30Lw4yMskxxhx0bKg1gLrBHX1D2w2pSw==",
    {
        "package/libheif-wasm/libheif-bundle.mjs": "libheif-bundle.mjs",
        "package/libheif-wasm/LICENSE": "LICENSE",
    },
    "LGPL-3.0",
)
ASSETS = (ONNX_RUNTIME, HEIF)


@dataclass(frozen=True)
class Fetched:
    """folder: where its files lie; is_new: whether they were fetched just now."""

    asset: Asset
    folder: Path
    is_new: bool


def folder_of(asset: Asset) -> Path | None:
    """Where its files lie; None where not all of them are there."""
    place = _place(asset)
    whole = place and all((place / name).is_file() for name in asset.files.values())
    return place if whole else None


def fetch() -> Iterator[Fetched]:
    """Fetch what is not there. Raises DataError (NO_NPM, NO_ASSET, BAD_ASSET, CANNOT_WRITE)."""
    for asset in ASSETS:
        if present := folder_of(asset):
            yield Fetched(asset, present, False)
            continue
        place = _place(asset)
        if place is None:
            words = "there is no folder for a cache; set BEARS_CACHE to one and run it again"
            raise DataError("NO_ASSET", f"{asset.folder} cannot be kept: {words}")
        for name, content in unpacked(asset, _archive(asset)).items():
            write_atomic(place / name, content)
        yield Fetched(asset, place, True)


def unpacked(asset: Asset, archive: bytes) -> dict[str, bytes]:
    """The files of an archive that was checked, by the names that they get. Raises DataError
    (BAD_ASSET)."""
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if digest != asset.sha512:
        words = f"has SHA-512 {digest[:12]}..., expected {asset.sha512[:12]}...; nothing is kept"
        raise DataError("BAD_ASSET", f"{asset.folder} as npm gave it {words}. Try it again")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for path, name in asset.files.items():
            file = tar.extractfile(path)
            found[name] = file.read() if file else b""
    return found


def _place(asset: Asset) -> Path | None:
    cache = cache_folder()
    return cache and cache / "assets" / asset.folder


def _archive(asset: Asset) -> bytes:
    """The package as npm's client downloads it, from wherever it is configured to."""
    npm = shutil.which("npm")
    if npm is None:
        words = "the npm client is not here; install Node.js, then run: bears assets"
        raise DataError("NO_NPM", f"{asset.folder} cannot be fetched: {words}")
    with tempfile.TemporaryDirectory(prefix="bears-assets-") as folder:
        command = [npm, "pack", f"{asset.package}@{asset.version}", "--silent", "--ignore-scripts"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_SECONDS,
                env=os.environ | {"npm_config_update_notifier": "false"},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise DataError("NO_ASSET", f"{asset.folder}: npm did not run ({exc})") from exc
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()[:1]
            why = said[0][:200] if said else f"exit code {done.returncode}"
            words = f"npm could not fetch it ({why}); check the network and npm's registry"
            raise DataError("NO_ASSET", f"{asset.folder}: {words}, then run: bears assets")
        return archives[0].read_bytes()
