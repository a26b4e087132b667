"""Projects in a folder of the studio, made by the commands that it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus import drawn, saved

from bear_classifier.cli import main
from bear_classifier.studio.projects import Place, make_project, place_of

Fill = Callable[[Path, dict[str, "int | bytes"]], None]
LABELS = ("red", "blue")


def with_photos(
    root: Path, name: str, fill: Fill, monkeypatch: pytest.MonkeyPatch, each: int = 12
) -> Place:
    """A project with drawn photos, taken in as uploads are."""
    place = make_project(root, name, {label: [label] for label in LABELS})
    folder = place.own / "uploads" / "photos"
    for k, label in enumerate(LABELS):
        for n in range(each):
            data = saved(drawn(seed=100 * k + n), "PNG")
            fill(folder, {f"{label}/{hashlib.sha256(data).hexdigest()}.png": data})
    monkeypatch.chdir(place.home)
    words = ["--project", f"{name}.toml", "--source", "folder:studio/uploads/photos"]
    assert main.main(["run", *words, "--until", "split", "--quiet"]) == 0
    return place_of(root, name)
