"""Make the card of models/bears anew from its bundle.json, for when cards learned to say more."""

from __future__ import annotations

import json
from pathlib import Path

from bear_classifier.config.settings import SHIPPED
from bear_classifier.ship import bundle
from bear_classifier.ship.model_card import card


def renew(place: Path) -> None:
    """Of a bundle as it is in the repository, changed nowhere else. Raises ModelError."""
    bundle.load(place)
    about = json.loads((place / "bundle.json").read_bytes())
    files = {name: (place / name).read_bytes() for name in about["files"]}
    about = {k: v for k, v in about.items() if k not in ("schema", "files", "checksum")}
    files["README.md"] = card(about).encode()
    made = {"README.md": files["README.md"], "bundle.json": bundle.describe(files, about)}
    if any((place / name).read_bytes() != data for name, data in made.items()):
        bundle.write_bundle(place, made)


if __name__ == "__main__":
    renew(SHIPPED)
