"""Which input rows each output row depends on, measured by changing one input row at a time."""

from collections.abc import Callable

import torch
from torch import Tensor


def rows_that_matter(function: Callable[[Tensor], Tensor], x: Tensor) -> list[list[int]]:
    """For each row (axis 2) of a function's output, the rows of its input that it depends on.

    Args:
        function: maps (1, c, h, w) to (1, c', h', w').
        x: an input; its values should be random, so that a changed row shows in every value that is made of it.
    """
    plain = function(x)
    found: list[list[int]] = [[] for _ in range(plain.shape[2])]
    for row in range(x.shape[2]):
        other = x.clone()
        other[:, :, row] += 1 + torch.rand(other[:, :, row].shape, generator=torch.Generator().manual_seed(row))
        changed = (function(other) != plain).movedim(2, 0).flatten(1).any(dim=1)
        for made in changed.nonzero().flatten().tolist():
            found[made].append(row)
    return found
