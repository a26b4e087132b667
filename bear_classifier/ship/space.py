"""A bundle as a Hugging Face Space, a container, or a folder for a server.

README.md             front matter for the Hub, then the model card
app.py                starts the service
requirements.txt      the packages that are imported, exact versions; no torch
constraints.txt       the same and all that they need in turn, exact versions: for pip's -c
bear_classifier/      the modules behind app.py and no others
models/NAME/          the bundle as it is
.gitattributes        files for Git LFS; .gitignore; .bears-space: checksums of all files

The Hub installs requirements.txt together with gradio[oauth,mcp], which allows only older versions
of some packages. So a package whose version the Hub would refuse is pinned only in the second file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bear_classifier.dataset.lock import publishing
from bear_classifier.errors import ConfigError
from bear_classifier.runtime import terminal
from bear_classifier.runtime.files import hash_of
from bear_classifier.runtime.system_files import left_by_system
from bear_classifier.ship import bundle
from bear_classifier.ship.dependencies import closure, compatible, libraries, pins
from bear_classifier.ship.manifest import optional_field
from bear_classifier.ship.predict import Model
from bear_classifier.ship.sandbox import trust

MARKER = ".bears-space"
_PACKAGE = Path(__file__).resolve().parents[1]
_MODEL = "models/bears"  # which app.py names
_TEXTS = {".py", ".html", ".css", ".js", ".toml"}
_ON_THE_HUB = ("oauth", "mcp")  # parts of gradio that the Hub installs
_SHORT = 60  # characters, in UTF-16, that the Hub accepts as a short description
_BINARY = ("onnx", "safetensors", "npz", "jpeg", "png", "webp", "gif", "bmp")
_ATTRIBUTES = "models/** -text\n" + "".join(  # checksums would not bear other line ends
    f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _BINARY
)
_LEFT_BY_USE = (".gradio", "__pycache__")


@dataclass(frozen=True)
class Written:
    """The folder of a Space. bytes: of all its files; requirements: lines such as numpy==2.4.6."""

    path: Path
    model: str
    version: int
    files: int
    bytes: int
    requirements: list[str]


def space(model: Path, out: Path) -> Written:
    """Write the folder, in place of an earlier one that was not changed since.

    Raises ModelError and SelfTestError (the bundle), ConfigError (FOREIGN_FOLDER, BAD_PLACE,
    NO_CHECKOUT), DataError (DISK_FULL, CANNOT_WRITE, LOCKED); the old folder is kept then."""
    place = out.resolve()
    if model.resolve() in (place, *place.parents):
        raise ConfigError("BAD_PLACE", f"{place} is within the model; name a folder elsewhere")
    with publishing(place):
        return _written(model, out, place)


def _written(model: Path, out: Path, place: Path) -> Written:
    trust(proved := bundle.load(model))
    Model(proved).self_test()
    name = model_name(model)
    files = _contents(proved, name)
    write_folder(place, files, lambda partial: bundle.load(partial / "models" / name))
    pinned = files["requirements.txt"].decode().splitlines()
    version = optional_field(proved.about, "version", int)
    return Written(out, name, version, len(files), sum(map(len, files.values())), pinned)


def model_name(model: Path) -> str:
    """A name for addresses and folders, by the model's folder."""
    return re.sub(r"[^\w.-]+", "-", model.resolve().name).strip(".-") or "model"


def write_folder(
    place: Path, files: dict[str, bytes], prove: Callable[[Path], object] | None = None
) -> None:
    """Put a folder of these files in place of an earlier one that was not changed since; a marker
    is added to them. prove: is given the folder before that, and raises where it is not whole.

    Raises ConfigError (FOREIGN_FOLDER), DataError (DISK_FULL, CANNOT_WRITE)."""
    _clear_leftovers(place)
    if place.exists() and (strange := _strange(place)):
        words = f"{strange} was not written by bears space, or was changed since, and is kept;"
        raise ConfigError("FOREIGN_FOLDER", f"{words} move it away or name another folder")
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}
    marker = json.dumps({"written_by": "bears space", "files": sums}, indent=1)
    files[MARKER] = marker.encode() + b"\n"
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        bundle.write_bundle(partial, files)
        if prove:
            prove(partial)
        for path in (partial, *partial.rglob("*")):  # any user who runs it may read it
            path.chmod(0o755 if path.is_dir() else 0o644)
        _move_history(place, partial)
        bundle.publish(partial, place)
    except BaseException:
        bundle.recover(place)
        _move_history(partial, place)
        shutil.rmtree(partial, ignore_errors=True)
        raise


def space_text(done: Written) -> str:
    """What was written, and the next steps."""
    hub, folder = f"YOU/{done.model}", terminal.quoted(str(done.path))
    place, model = terminal.one_line(str(done.path)), f"{done.model}, version {done.version}"
    return f"""\
wrote      {place}: model {model}, in {done.files} files of {done.bytes / 1e6:.1f} MB
try it     in that folder, in an empty virtual environment:
             pip install -r requirements.txt -c constraints.txt && python app.py
publish    on Hugging Face, with your name there for YOU; the last line again for a newer model:
             hf auth login
             hf repos create {hub} --type space --sdk gradio
             hf upload {hub} {folder} . --type space --delete "*"
           or with git and git-lfs, in that folder:
             git init -b main && git lfs install && git add . && git commit -m "A model"
             git push --force THE_ADDRESS_OF_THE_SPACE main
serve it   yourself, in a container or under systemd: see deploy/README.md"""


def _contents(model: bundle.Bundle, name: str) -> dict[str, bytes]:
    """Every file of the folder but the marker, by its path in there."""
    root = _PACKAGE.parent
    if not all((root / file).is_file() for file in ("app.py", "LICENSE")):
        words = f"app.py and LICENSE are not in {root}; run this in a checkout of the repository"
        raise ConfigError("NO_CHECKOUT", f"{words} that was set up by make setup")
    app = (root / "app.py").read_text(encoding="utf-8").replace(_MODEL, f"models/{name}")
    sources = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(_PACKAGE.rglob("*"))
        if path.suffix in _TEXTS and not left_by_system(path.relative_to(root).parts)
    }
    texts = {path: sources[path] for path in closure(app, sources)}
    programs = [app, *(text for path, text in texts.items() if path.endswith(".py"))]
    direct, needed = pins(libraries(programs))
    imported = compatible(direct, "gradio", _ON_THE_HUB)
    texts |= {
        "app.py": app,
        "LICENSE": (root / "LICENSE").read_text(encoding="utf-8"),
        "README.md": readme(name, model.labels, model.card(), imported["gradio"]),
        "requirements.txt": _lines(imported),
        "constraints.txt": _lines(needed),
        ".gitattributes": _ATTRIBUTES,
        ".gitignore": "".join(f"{folder}/\n" for folder in _LEFT_BY_USE),
    }
    files = {path: text.encode() for path, text in texts.items()}
    for file in ("bundle.json", *model.about["files"]):
        files[f"models/{name}/{file}"] = (model.path / file).read_bytes()
    return files


def readme(name: str, labels: Sequence[str], card: str, gradio: str) -> str:
    """Front matter that the Hub reads, then the model's card. gradio: its version."""
    facts = {
        "sdk": "gradio",
        "sdk_version": yaml_string(gradio),
        "python_version": f'"{sys.version_info.major}.{sys.version_info.minor}"',
        "app_file": "app.py",
    }
    return f"""\
{front_matter(name, labels, facts)}

{card.replace("THIS_FOLDER", f"models/{name}").rstrip()}

## As a service

`python app.py` opens a page for people on port 7860, and answers programs:

    curl --data-binary @photo.jpg http://127.0.0.1:7860/api/v1/classify

The program is under the Apache License 2.0 (LICENSE). That says nothing of the licence of the\
 model, nor of the photos that it learned from.
"""


def front_matter(name: str, labels: Sequence[str], facts: Mapping[str, str]) -> str:
    """What the Hub reads of a Space. facts: of its kind, values as YAML has them."""
    of_kind = "".join(f"{key}: {value}\n" for key, value in facts.items())
    return f"""\
---
title: {yaml_string(f"{name[0].upper()}{name[1:]} classifier")}
emoji: 📷
colorFrom: yellow
colorTo: gray
{of_kind}pinned: false
short_description: {yaml_string(_short_description(labels))}
tags:
  - image-classification
  - onnx
---"""


def _short_description(labels: Sequence[str]) -> str:
    """What the model is for, as short as the Hub asks for."""
    *most, last = labels
    question = f"{', '.join(most)} or {last}?"
    short = question[0].upper() + question[1:]
    if len(short.encode("utf-16-le", errors="replace")) > 2 * _SHORT:
        short = f"Tells apart {len(labels)} classes of photos"
    return short


def yaml_string(text: str) -> str:
    """One line of YAML that is read as this text; white space becomes single blanks, and half a
    pair of UTF-16, which no file could hold, the replacement character."""
    whole = re.sub("[\ud800-\udfff]", "\ufffd", " ".join(text.split()))
    plain = json.dumps(whole, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in plain)


def _lines(versions: Mapping[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in versions.items())


def _strange(place: Path) -> Path | None:
    """A file in the folder that is not as it was written; git's history may grow."""
    if not place.is_dir():
        return place
    try:
        sums = json.loads((place / MARKER).read_bytes())["files"]
    except FileNotFoundError:
        sums = {}
    except (OSError, ValueError, KeyError, TypeError):
        return place / MARKER
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place)
        ours = inside.parts[0] in (".git", MARKER) or not {*_LEFT_BY_USE}.isdisjoint(inside.parts)
        if ours or left_by_system(inside.parts):
            continue
        if path.is_symlink() or not path.is_dir():
            whole = path.is_file() and not path.is_symlink()
            if not whole or sums.get(inside.as_posix()) != hash_of(path):
                return path
    return None


def _move_history(source: Path, target: Path) -> None:
    """The folder's git repository goes with it."""
    if (source / ".git").exists() and target.is_dir() and not (target / ".git").exists():
        (source / ".git").replace(target / ".git")


def _clear_leftovers(place: Path) -> None:
    bundle.recover(place)
    for partial in sorted(place.parent.glob(f".{place.name}.*.partial")):
        _move_history(partial, place)
    bundle.clear_leftovers(place)
