"""Whether text that was legible still is: the contrast of its strokes, line by line.

Places of lines come from a card that knows them (`testcards/text.py`). Reading them is in `ocr.py`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.color import Planes

Place = tuple[slice, slice]
"""Rows and columns."""


def stroke_contrast(x: Planes, y: Planes, places: Sequence[Place]) -> Float[Tensor, "b lines"]:
    """The contrast of the text that came back in its place, for each line of text in luma planes (b, h, w).

        contrast = sum (x - mean x) (y - mean y) / sum (x - mean x)^2      over the pixels of a line

    the slope of the straight line through (x, y), which is the contrast of edges and strokes alike. No unit: 1 is all
    of it, 0.5 is gray text, 0 is gone, negative is inverted. What stands in the wrong place does not count: that is the
    difference to a ratio of standard deviations. NaN where the original has nothing at that place.

    >>> x = torch.rand(1, 20, 60)
    >>> stroke_contrast(x, 0.5 * x + 0.2, [(slice(0, 10), slice(0, 60)), (slice(10, 20), slice(0, 60))])
    tensor([[0.5000, 0.5000]])
    """
    slopes = []
    for rows, columns in places:
        a, b = x[:, rows, columns].flatten(1), y[:, rows, columns].flatten(1)
        a = a - a.mean(dim=1, keepdim=True)
        slopes.append((a * b).sum(dim=1) / a.square().sum(dim=1))
    return torch.stack(slopes, dim=1)
