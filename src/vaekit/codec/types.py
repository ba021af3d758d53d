"""Types of arrays in the codec."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = NDArray[np.bool_]
"""(n,)."""
Probabilities: TypeAlias = NDArray[np.float64]
"""Of ones, (n,), in (0, 1)."""
Integers: TypeAlias = NDArray[np.int64]
"""(n,): numbers of cells, cumulative counts."""
Words: TypeAlias = NDArray[np.uint32]
"""The content of a stack of bits."""
