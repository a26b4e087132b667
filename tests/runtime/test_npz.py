"""Arrays in .npz files that stay there until they are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bear_classifier.runtime.npz import as_npz, as_small_npz, mapped_npz, write_npz

ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "words": np.array(["a", "bcd"]),
    "one": np.array("tuned"),
    "none": np.zeros((0, 4)),
}


def test_the_arrays_of_a_file_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        write_npz(file, ARRAYS)
    found = mapped_npz(path)
    assert found.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert np.array_equal(found[name], values)
    assert isinstance(found["numbers"], np.memmap)
    path.write_bytes(as_npz(**ARRAYS))
    assert str(mapped_npz(path)["one"]) == "tuned"


@pytest.mark.parametrize("at", [0.3, 0.6])
def test_a_damaged_file_is_refused(tmp_path: Path, at: float) -> None:
    path = tmp_path / "a.npz"
    data = bytearray(as_npz(numbers=np.arange(1000.0)))
    data[int(at * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        mapped_npz(path)


def test_a_compressed_file_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(as_small_npz(numbers=np.zeros(9)))
    with pytest.raises(ValueError, match="compressed"):
        mapped_npz(path)
