"""The page with the model in it: plain files that any web server hands out, answering on the
visitor's own device.

index.html, *.js, *.css          the page of `bears serve`; its answers come from page_worker.js
model/complete.onnx              the model from pixels to the answer, see ship/complete_onnx.py
ort/                             onnxruntime-web; heif/: libheif, loaded for a HEIC photo only
examples/                        pictures to try, where the bundle has some
about.json                       what the page says of the model; checksums of model and wasm
sw.js                            keeps all of it for visits without a network
card.html, manifest.webmanifest, icon.svg, README.md, licences/, .nojekyll
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bear_classifier.dataset.lock import publishing
from bear_classifier.errors import ConfigError
from bear_classifier.runtime import terminal
from bear_classifier.serve import limits
from bear_classifier.serve.device_model import device_facts, file_facts
from bear_classifier.serve.queue import ServedModel, served_models
from bear_classifier.serve.routes import render_card
from bear_classifier.ship import bundle
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.complete_export import complete_file
from bear_classifier.ship.space import front_matter, write_folder
from bear_classifier.web.page_assets import HEIF, ONNX_RUNTIME, Asset, folder_of
from bear_classifier.web.static_files import files_of_page

_STATIC = Path(__file__).parent / "static"
_MODEL, _WASM = "model/complete.onnx", "ort/ort-wasm-simd-threaded.wasm"
_LATER = "heif/"  # not kept beforehand
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self';"
    " img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; manifest-src 'self';"
    " base-uri 'none'; form-action 'none'"
)
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16"'
    ' rx="4" fill="#1f6f54"/><path d="M4 7V4h3M9 4h3v3M12 9v3H9M7 12H4V9" fill="none"'
    ' stroke="#fff" stroke-width="1.5"/></svg>'
)


@dataclass(frozen=True)
class StaticPage:
    """bytes: of all files; heic: whether HEIC photos are read in every browser."""

    path: Path
    model: str
    version: int | str | None
    files: int
    bytes: int
    heic: bool


def static_page(model: Path, out: Path) -> StaticPage:
    """Write the folder, in place of an earlier one that was not changed since.

    Raises ModelError and SelfTestError (the bundle), ConfigError (NO_ASSETS, BAD_PLACE,
    FOREIGN_FOLDER, BAD_ARCH), DataError (DISK_FULL, CANNOT_WRITE, LOCKED)."""
    place = out.resolve()
    if model.resolve() in (place, *place.parents):
        raise ConfigError("BAD_PLACE", f"{place} is within the model; name a folder elsewhere")
    _asset(ONNX_RUNTIME, "ort")  # before work of seconds
    with publishing(place):
        opened = bundle.load(model)
        (served,) = served_models(model)
        files = page_files(opened, served, complete_file(opened)[0])
        write_folder(place, files)
    sizes, heic = sum(map(len, files.values())), folder_of(HEIF) is not None
    return StaticPage(out, served.name, served.description()["version"], len(files), sizes, heic)


def page_files(model: Bundle, served: ServedModel, complete: bytes) -> dict[str, bytes]:
    """Every file by its path in the folder. Raises ConfigError (NO_ASSETS)."""
    files = {n: p.read_bytes() for n, p in files_of_page(_STATIC).items() if "/" not in n}
    files |= _asset(ONNX_RUNTIME, "ort")
    files |= _asset(HEIF, "heif") if folder_of(HEIF) else {}
    files |= {_MODEL: complete, "icon.svg": _ICON.encode()}
    files["index.html"] = _index(files.pop("page.html").decode()).encode()
    files |= {f"examples/{n}.jpeg": data for n, (_, data) in enumerate(served.examples)}
    files["card.html"] = render_card(served.name, served.card, "").encode()
    files["manifest.webmanifest"] = _json(manifest(model, served))
    version = hashlib.sha256(_json(checksums(files))).hexdigest()[:16]
    files["about.json"] = _json(about(model, served, files) | {"published": version})
    published, later = checksums(files)
    worker = (_STATIC / "device" / "sw.js").read_text(encoding="utf-8")
    lists = {"VERSION": version, "FILES": published, "LATER": later}
    head = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in lists.items())
    files["sw.js"] = (head + worker).encode()
    files["README.md"] = _read_me(model, served).encode()
    files["licences/onnxruntime-web.txt"] = _licence(ONNX_RUNTIME).encode()
    files[".nojekyll"] = b""  # GitHub Pages leaves out what begins with a line below otherwise
    return files


def about(model: Bundle, served: ServedModel, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What GET /api/v1/models says of it, and what the page loads. files: with model and wasm."""
    described = served.description() | {"default": True, "card": "card.html"}
    described["examples"] = served.to_try("examples/")
    loaded = {"model": _MODEL, "wasm": _WASM}
    device = {name: file_facts(path, files[path]) for name, path in loaded.items()}
    return {
        "models": [described],
        "limits": limits.photo_limits(),
        "corrections": False,
        "heic": any(path.startswith(_LATER) for path in files),
        "device": device | device_facts(model),
    }


def manifest(model: Bundle, served: ServedModel) -> dict[str, Any]:
    """For browsers that install the page as an application."""
    return {
        "name": served.description()["title"],
        "short_name": served.name[:12],
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": "#1f6f54",
        "icons": [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}],
    }


def checksums(files: Mapping[str, bytes]) -> tuple[dict[str, str], dict[str, str]]:
    """Checksums of what is kept for visits without a network at once, and of what is kept when it
    is first used."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    later = {name: value for name, value in sums.items() if name.startswith(_LATER)}
    return {name: value for name, value in sums.items() if name not in later}, later


def static_page_text(done: StaticPage) -> str:
    """What was written, and the next steps."""
    folder = terminal.quoted(str(done.path))
    heic = (
        ""
        if done.heic
        else "\nnote       HEIC is read in Safari only; for other browsers run: bears assets"
    )
    return f"""\
wrote      {terminal.one_line(str(done.path))}: {done.files} files of {done.bytes / 1e6:.1f} MB;\
 the model {done.model} answers in the visitor's browser, no photo leaves it{heic}
try it     python -m http.server --directory {folder} 8000
             then open http://localhost:8000
publish    on GitHub Pages: commit the folder as docs/ or to the branch gh-pages
           on Hugging Face, with your name there for YOU:
             hf repos create YOU/{done.model} --type space --sdk static
             hf upload YOU/{done.model} {folder} . --type space --delete "*"
           or copy it to any web server; all addresses in it are relative"""


def _asset(asset: Asset, folder: str) -> dict[str, bytes]:
    place = folder_of(asset)
    if place is None:
        words = f"{asset.folder} is not here, which runs the model in a browser; run: bears assets"
        raise ConfigError("NO_ASSETS", words)
    return {f"{folder}/{name}": (place / name).read_bytes() for name in asset.files.values()}


def _index(page: str) -> str:
    """The page of the service, set to answer by itself."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    links = '<link rel="manifest" href="manifest.webmanifest">\n'
    for old, new in (
        ("<title>", f"{policy}<title>"),
        (
            '<link rel="stylesheet" href="base.css">',
            f'{links}<link rel="stylesheet" href="base.css">',
        ),
        ('<body data-view="empty">', '<body data-view="empty" data-engine="device">'),
    ):
        assert page.count(old) == 1, old
        page = page.replace(old, new)
    return page


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def _read_me(model: Bundle, served: ServedModel) -> str:
    facts = {"sdk": "static", "app_file": "index.html"}
    return f"""\
{front_matter(served.name, model.labels, facts)}

{served.card.replace("THIS_FOLDER", served.name).rstrip()}

## This page

Its model runs in the visitor's browser: no photo is sent anywhere. Any web server can hand these
files out; `python -m http.server` is enough. The page of the program is under the Apache License
2.0; onnxruntime-web (MIT) and libheif (LGPL) lie beside it with their licences.
"""


def _licence(asset: Asset) -> str:
    return f"""\
{asset.package} {asset.version}, as published on npm, unmodified

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
