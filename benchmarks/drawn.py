"""Photos and models for programs that measure speed alone: noise, and networks with random weights.

Not a program. The bundle goes through the project's own export; fastai's learner has the same
architecture and classes. Run `models` in a process of its own: it needs torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from download import pictures
from versus import ROOT

SIZE = 224  # pixels, side of the square that networks see


def photos(folder: Path, width: int, many: int) -> list[Path]:
    """JPEGs in the shape 4:3, a few different ones; the others are links to them."""
    folder.mkdir(parents=True)
    files = []
    for number, data in zip(range(many), pictures(width), strict=False):
        files.append(folder / f"{number:06}.jpg")
        files[-1].write_bytes(data)
    return files + repeated(files, folder, many)


def repeated(files: Sequence[Path], folder: Path, many: int) -> list[Path]:
    """Links in `folder` to these photos in turn, until there are so many, those in it included."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(len(list(folder.iterdir())), many):
        source = files[number % len(files)]
        made.append(folder / f"{number:06}{source.suffix}")
        made[-1].symlink_to(source.resolve())
    return made


def models(folder: Path, arch: str, settings: dict[str, dict[str, object]] | None = None) -> None:
    """Leaves folder/bundle and folder/learner.pkl. settings: of tables of the project."""
    sys.path.insert(0, str(ROOT / "tests"))
    import lesson
    from bundles import LABELS, tiny_config, trained_dataset

    from bear_classifier.ship.export import export

    tables = {"learn": {"arch": arch, "weights": "none", "size": SIZE}} | (settings or {})
    config = tiny_config(**tables)
    with trained_dataset(folder / "data", config) as catalog:
        export(catalog, config, folder / "bundle")
    named = folder / "named"
    for number, data in enumerate(pictures(64)):
        place = named / LABELS[number % len(LABELS)] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    lesson.saved(named, arch, folder / "learner.pkl")
