"""A dataset of drawn photos to export, with classes and names that are awkward for others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from corpus import drawn, saved
from PIL import Image

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide
from bear_classifier.dataset.formats.choices import ExportChoice, Exported, Handling
from bear_classifier.dataset.formats.export import export_dataset
from bear_classifier.dataset.schema import Decision, Photo, Source, Split

SECRET = b"SECRET of the photographer"
# "train" and "test station" are splits to some; "polar" lacks a split, "zebra" has no photo at all.
ODD_LABELS = ["Bär & Co", "polar", "test station", "train", "zebra"]
ODD = {
    "Bär & Co": {"train": 3, "valid": 2, "test": 1},
    "polar": {"train": 2, "valid": 0, "test": 1},
    "test station": {"train": 2, "valid": 1, "test": 1},
    "train": {"train": 2, "valid": 2, "test": 2},
}


def tagged(turn: int = 1) -> bytes:
    """EXIF with a place, a comment, and an orientation."""
    tags = Image.Exif()
    tags[0x0112] = turn
    tags[0x010E] = SECRET.decode()
    tags.get_ifd(0x8825)[1] = "N"
    tags.get_ifd(0x8825)[2] = (47.0, 22.0, 7.0)
    return tags.tobytes()


def picture(number: int) -> tuple[str, bytes]:
    """Format and content: every third a JPEG with EXIF, lying on its side, the others PNG."""
    if number % 3 == 0:
        return "jpeg", saved(drawn(96, 64, seed=number), "JPEG", quality=95, exif=tagged(6))
    return "png", saved(drawn(96, 64, seed=number), "PNG")


def put_photo(catalog: Catalog, number: int, label: str, split: Split | None, **more: Any) -> Photo:
    """Store a drawn photo with a source of its own, inside a transaction of the caller.

    more: fields of the photo, or of its source, such as author and licence."""
    format, data = picture(number)
    sha256 = hashlib.sha256(data).hexdigest()
    of_photo = {k: more.pop(k) for k in ("status", "reason", "group") if k in more}
    size = Image.open(BytesIO(data)).size
    origin = f"https://photos.example/{number}.{format}?size=1,2"
    facts = {"width": size[0], "height": size[1], "bytes": len(data), "contrast": 50.0}
    photo = Photo(sha256, origin, label, format, dhash=f"{number:0100x}", split=split,
                  **facts, **of_photo)  # fmt: skip
    catalog.put_photos([photo])
    catalog.put_sources([Source(origin, label, "web", code="OK", sha256=sha256, **more)])
    path = catalog.file(photo)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return photo


def odd_dataset(root: Path) -> Catalog:
    """Photos of `ODD`, of which one was relabelled and one kept; and three that are not in use."""
    catalog = Catalog(root)
    number = 0
    photos = []
    with catalog.transaction():
        for label, row in ODD.items():
            for split in ("train", "valid", "test"):
                for _ in range(row[split]):
                    number += 1
                    more = {
                        "author": f"=Ann {number}" if number % 2 else "",
                        "licence": ("CC BY 4.0", "CC BY-NC-SA 2.0", "CC0 1.0", "")[number % 4],
                        "licence_url": "https://creativecommons.org/x" if number % 4 else "",
                        "page": f"https://ann:pw@photos.example/page/{number}",
                        "title": "Ein “Bär”,\nzwei Zeilen" if number % 5 == 0 else "",
                    }
                    photos.append(put_photo(catalog, number, label, split, **more))
        put_photo(catalog, 90, "polar", "train", status="dropped", reason="dropped by ann")
        put_photo(catalog, 91, "polar", None, status="duplicate", reason="NEAR_COPY of x")
        put_photo(catalog, 92, "", None, status="unlabelled")
    first, second = photos[0], photos[5]
    wanted = [
        Decision(first.sha256, "relabel", "polar", "a polar bear"),
        Decision(second.sha256, "keep", why="seen"),
    ]
    decide(catalog, ODD_LABELS, wanted, "ann", "one")
    back = [Decision(first.sha256, "relabel", "Bär & Co", "no, a brown one")]
    decide(catalog, ODD_LABELS, back, "bob", "two")
    return catalog


def exported(
    catalog: Catalog,
    out: Path,
    format: str = "folders",
    labels: Sequence[str] = ODD_LABELS,
    keep_metadata: bool = False,
    link: bool = False,
    **choice: Any,
) -> Exported:
    handling = Handling(keep_metadata, link)
    with Catalog(catalog.root) as opened:  # an export freezes it
        return export_dataset(
            opened, labels, out, ExportChoice(format, handling=handling, **choice)
        )  # type: ignore[arg-type]
