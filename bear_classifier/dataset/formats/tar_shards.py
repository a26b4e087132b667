"""Shards in the format of WebDataset: a tar of photos, each with its class and its row.

KEY.jpg is the photo, KEY.cls the number of its class, KEY.json its row. Every photo ends in .jpg,
whatever its format: the Hugging Face library takes one ending for all, and decoders look inside.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from bear_classifier.dataset.formats.metadata import values
from bear_classifier.dataset.formats.parts import Part, WrittenFile, contents, described
from bear_classifier.runtime.files import move, write_partial


def write_tar(
    part: Part, out: Path, classes: Mapping[str, int], keep_metadata: bool
) -> list[WrittenFile]:
    """One shard. Nothing in it depends on when, where or by whom it is written.

    classes: label -> its number."""
    partial = write_partial(out / part.name, b"")
    done = []
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for item, data in contents(part.items, keep_metadata):
                one = described(data)
                done.append(one)
                row = replace(item.row, file_sha256=one.sha256, file_bytes=one.bytes)
                key = PurePosixPath(row.file_name).stem
                _add(tar, f"{key}.jpg", data)
                _add(tar, f"{key}.cls", str(classes[row.label]).encode())
                _add(tar, f"{key}.json", json.dumps(values(row), ensure_ascii=False).encode())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    move(partial, out / part.name)
    return done


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """With the owner, time and rights that `TarInfo` has by default: root, 1970, 0644."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
