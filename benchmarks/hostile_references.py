"""Files of arrays made to do harm, out of a good one: they unpack to more than they are, promise
more than they hold, or hold no numbers."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hostile_networks import Case

# isort: split
from corpus import mutated


def archive(*entries: tuple[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as there:
        for name, data in entries:
            there.writestr(name, data)
    return file.getvalue()


def npy(head: str, data: bytes = b"", version: int = 1) -> bytes:
    width = "<H" if version == 1 else "<I"
    text = head.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(text)) + text + data


def said(shape_: str = "(1,)", descr: str = "'<f2'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape_}}}"


def other(**changes: Any) -> Callable[[bytes], bytes]:
    """The arrays as they were, but for some. None: left out."""

    def changed(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as file:
            values = {name: file[name] for name in file.files}
        for name, change in changes.items():
            values[name] = change(values[name]) if callable(change) else change
        file_ = io.BytesIO()
        np.savez_compressed(file_, **{k: v for k, v in values.items() if v is not None})
        return file_.getvalue()

    return changed


def put(text: bytes) -> Callable[[bytes], bytes]:
    return lambda _: archive(("features.npy", text))


def references() -> Iterator[Case]:
    found: dict[str, Callable[[bytes], bytes]] = {
        "cut": lambda data: data[: len(data) // 2], "empty": lambda _: b"",
        "noise": lambda _: random.Random(1).randbytes(10_000),
        "unpacks to 1.5 GB": other(features=np.zeros((750_000, 1000), np.float16)),
        "unpacks to 200 MB": other(features=np.zeros((100_000, 1000), np.float16)),
        "an entry more of 1 GB": lambda d: _beside(d, "more.npy", npy(said()) + bytes(10**9)),
        "no entry": lambda _: archive(), "a folder": lambda _: archive(("/", npy(said()))),
        "a name with ..": lambda _: archive(("../../features.npy", npy(said()))),
        "a thousand entries": lambda _: archive(*[(f"{i}.npy", npy(said())) for i in range(1000)]),
        "a header of 64 MB": put(npy(" " * 64_000_000, version=2)),
        "a header of brackets": put(npy("[" * 60_000)),
        "a header of minus signs": put(npy("-" * 60_000 + "1")),
        "a header that computes": put(npy(said("(9**9**9,)"))),
        "a header that calls": put(npy("__import__('os').system('touch HARM')")),
        "a header cut": put(npy(said())[:20]),
        "objects": put(npy(said(descr="'|O'"), b"cos\nsystem\n(S'touch HARM'\ntR.")),
        "a record": put(npy(said(descr="[('a', '<f4')]"), bytes(8))),
        "text": put(npy(said(descr="'<U9999'"), bytes(40_000))),
        "complex": other(features=lambda v: v.astype(np.complex64)),
        "doubles": other(features=lambda v: v.astype(np.float64)),
        "truth": other(features=lambda v: v > 0),
        "dates": other(groups=lambda v: v.astype("datetime64[s]")),
        "not numbers": other(features=lambda v: v * np.float16("nan")),
        "infinite": other(features=lambda v: v + np.float16("inf")),
        "zeros": other(features=lambda v: v * 0), "none": other(features=lambda v: v[:0]),
        "one": other(features=lambda v: v[:1], groups=lambda v: v[:1]),
        "another width": other(features=lambda v: v[:, :7]),
        "flat": other(features=lambda v: v.ravel()),
        "no features": other(features=None), "no groups": other(groups=None),
        "no centre": other(centre=None), "no scale": other(scale=None),
        "a centre of nothing": other(centre=lambda v: v * np.nan),
        "a scale of 0": other(scale=lambda v: v * 0),
        "a scale of 1e-300": other(scale=lambda v: v * 0 + 1e-300),
        "a scale below 0": other(scale=lambda v: -v),
        "a centre of 1e300": other(centre=lambda v: v + 1e300),
        "groups that are no whole numbers": other(groups=lambda v: v + 0.5),
        "groups of the least number": other(groups=lambda v: v * 0 + np.iinfo(np.int64).min),
        "a weight alone": other(bias=None), "a bias alone": other(weight=None),
        "a weight of another width": other(weight=np.zeros((5, 3), np.float16)),
    }  # fmt: skip
    for shape_ in ("(10**12,)", "(1000000000000,)", "(4611686018427387904, 4)", "(-1,)", "(1.5,)",
                   "('a',)", "5", "(True,)", "(0, 99999999999)"):  # fmt: skip
        found[f"a shape {shape_}"] = put(npy(said(shape_), bytes(8)))
    for version in (0, 3, 99):
        found[f"version {version}"] = put(npy(said(), bytes(2), version))
    for packed in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        found[f"packed as {packed}"] = lambda _, p=packed: archive(  # type: ignore[misc]
            ("features.npy", npy(said()) + bytes(10**8)), packed=p
        )
    for seed in range(12):
        found[f"mutated {seed}"] = lambda data, s=seed: mutated(data, random.Random(s))  # type: ignore[misc]
    for name, change in found.items():
        yield f"reference: {name}", "reference.npz", change


def _beside(data: bytes, name: str, more: bytes) -> bytes:
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as there:
        there.writestr(name, more)
    return file.getvalue()
