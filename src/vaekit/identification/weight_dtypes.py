"""Choose the one dtype of a loaded VAE, whose file may mix several."""

from collections.abc import Iterable

import torch

LOADED = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""The dtypes of loaded VAEs, by preference. bfloat16 precedes float16 for files whose values both represent: nothing
overflows in it."""


def common_dtype(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """The narrowest dtype to compute in that represents all values of these dtypes exactly.

    One dtype is kept as it is: float16 stays float16. Norms in float32 beside convolutions in float16 give float32, as
    do float16 and bfloat16, of which neither represents the other. 8-bit floats, in which nothing is computed, count as
    bfloat16, or as the other dtype if there is one.

    >>> common_dtype([torch.float16, torch.bfloat16]), common_dtype([torch.float8_e4m3fn, torch.float16])
    (torch.float32, torch.float16)

    Args:
        dtypes: of the weights of one VAE; others than floating-point are ignored.
    """
    stored = {dtype for dtype in dtypes if dtype.is_floating_point}
    return next((each for each in LOADED if not any(rounds(old, each) for old in stored)), torch.float64)


def rounds(old: torch.dtype, new: torch.dtype) -> bool:
    """Whether converting values from one dtype to another may round them.

    >>> rounds(torch.bfloat16, torch.float16), rounds(torch.float16, torch.float32)
    (True, False)
    """
    before, after = torch.finfo(old), torch.finfo(new)
    smallest, kept = (each.smallest_normal * each.eps for each in (before, after))
    return after.eps > before.eps or after.max < before.max or kept > smallest
