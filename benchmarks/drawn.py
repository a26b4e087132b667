"""Photos and models for programs that measure speed alone: noise, and networks with random weights.

Not a program. The bundle goes through the project's own export; fastai's learner has the same
architecture and classes. Run `models` in a process of its own: it needs torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from download import pictures
from versus import ROOT

if TYPE_CHECKING:
    from bear_classifier.config.settings import Config
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.ship.acceptance import Taken
    from bear_classifier.ship.predict import Model

SIZE = 224  # pixels, side of the square that networks see


def photos(folder: Path, width: int, many: int) -> list[Path]:
    """JPEGs in the shape 4:3, a few different ones; the others are links to them."""
    folder.mkdir(parents=True)
    files = []
    for number, data in zip(range(many), pictures(width, grain=9), strict=False):
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


def unguarded(catalog: Catalog, config: Config, proved: Model) -> Taken:
    """Int8 and scaled decoding, as `acceptance.take` takes them where its guards allow. Those would
    refuse int8 here: a network with random weights is unsteady."""
    from bear_classifier.learn import int8
    from bear_classifier.ship import acceptance, manifest

    scaled = acceptance.with_least(proved, acceptance.least_side(proved.bundle.preprocessing))
    learned = [photo for photo in catalog.photos("ok") if photo.split == "train"]
    images = [acceptance._image(scaled, catalog.file(photo)) for photo in learned]
    network = int8.quantised(proved.bundle.onnx, images)
    why = "without asking the guards"
    shape = {"decode": "scaled", "decoder": manifest.SCALED, "least": scaled.bundle.least}
    precision = {"is": "int8", "why": why, "tolerance": manifest.LOOSEST}
    return acceptance.Taken(network, shape, {"is": "scaled", "why": why}, precision)


def models(folder: Path, arch: str, settings: dict[str, dict[str, object]] | None = None) -> None:
    """Leaves folder/bundle, which has both shortcuts (`unguarded`), and folder/learner.pkl.
    settings: of tables of the project."""
    sys.path.insert(0, str(ROOT / "tests"))
    import lesson
    from bundles import LABELS, tiny_config, trained_dataset

    from bear_classifier.ship import acceptance
    from bear_classifier.ship.export import export

    acceptance.take = unguarded

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
