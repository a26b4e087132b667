"""Corrections by visitors: photos in a folder per class.

`bears search --source folder:CORRECTIONS` takes them in; they are screened, doubted and reviewed as
all photos are. `corrections.jsonl` beside the folders has the answers of the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bear_classifier.runtime.files import write_atomic
from bear_classifier.ship.manifest import optional_field
from bear_classifier.web.guard import Refused

NONE = "none"  # of the classes
NONE_AT_ALL = "_none"  # the same where a class is called none; a folder that no dataset reads
MAX_CORRECTIONS = 5000  # photos


def keep(place: Path, photo: bytes, right: str, predicted: str, about: Mapping[str, Any]) -> Path:
    """photo: a JPEG of ours, without metadata; right: a class of the bundle, or NONE or NONE_AT_ALL
    of them; predicted: the answer of the model; about: fields of its bundle.json.

    Raises Refused where there is no room, or a class whose name is no name of a folder."""
    is_class = right in about.get("labels", ()) or right not in (NONE, NONE_AT_ALL)
    if is_class and (Path(right).name != right or right.startswith((".", "_"))):
        raise Refused(422, "BAD_LABEL", f"{right!r} cannot be the name of a folder")
    folder = place / (right if is_class else NONE_AT_ALL)
    file = folder / f"{hashlib.sha256(photo).hexdigest()}.jpg"
    if sum(1 for _ in place.glob("*/*.jpg")) >= MAX_CORRECTIONS and not file.exists():
        words = f"{MAX_CORRECTIONS} corrections wait to be looked at; no more are kept"
        raise Refused(503, "FULL", words, 3600)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(file, photo)
    row = {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "photo": f"{folder.name}/{file.name}",
        "right": right,
        "said": predicted,
        "model": about["name"],
        "version": optional_field(about, "version", (int, str)),
    }
    with (place / "corrections.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    return file
