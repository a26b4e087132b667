"""Shards in Parquet, as the Hugging Face library writes them: photo, class, and the row's columns.

image is a struct of bytes and path, label a number whose class stands in the file's own metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from bear_classifier.dataset.formats.metadata import METADATA_COLUMNS, values
from bear_classifier.dataset.formats.parts import Part, WrittenFile, contents, described
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import move, write_partial

_ROWS, _BYTES = 100, 64_000_000  # of a row group, which readers hold in memory at once
_NUMBERS = ("file_bytes",)
_REST = tuple(c for c in METADATA_COLUMNS if c not in ("file_name", "label"))


def parquet_library() -> Any:
    """pyarrow's part for Parquet. Raises ConfigError (NOT_INSTALLED)."""
    try:
        from pyarrow import parquet
    except ImportError as exc:
        install = 'install it: pip install "bear-classifier[parquet]"'
        raise ConfigError("NOT_INSTALLED", f"Parquet needs pyarrow, which is not here; {install}") \
            from exc  # fmt: skip
    return parquet


def write_parquet(
    part: Part, out: Path, labels: Sequence[str], keep_metadata: bool
) -> list[WrittenFile]:
    """One shard. labels: the classes, in the order of their numbers."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(pa, labels)
    partial = write_partial(out / part.name, b"")
    done: list[WrittenFile] = []
    try:
        with parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
            rows: list[dict[str, Any]] = []
            held = 0
            for item, data in contents(part.items, keep_metadata):
                one = described(data)
                done.append(one)
                row = replace(item.row, file_sha256=one.sha256, file_bytes=one.bytes)
                columns = values(row)
                image = {"bytes": data, "path": PurePosixPath(row.file_name).name}
                number = {"image": image, "label": labels.index(row.label)}
                rows.append(number | {name: columns[name] for name in _REST})
                held += len(data)
                if len(rows) == _ROWS or held > _BYTES:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    rows, held = [], 0
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    move(partial, out / part.name)
    return done


def _schema(pa: Any, labels: Sequence[str]) -> Any:
    """Columns and what the Hugging Face library is to make of them."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {name: pa.int64() if name in _NUMBERS else pa.string() for name in _REST}
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(labels)},
    }
    for name in _REST:
        features[name] = {"_type": "Value", "dtype": "int64" if name in _NUMBERS else "string"}
    about = json.dumps({"info": {"features": features}})
    fields = [("image", image), ("label", pa.int64()), *kinds.items()]
    return pa.schema(fields, metadata={"huggingface": about})
