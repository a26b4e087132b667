"""Names of array types."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bear_classifier.runtime.npz import Floats32 as Floats32

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Strings = NDArray[np.str_]
