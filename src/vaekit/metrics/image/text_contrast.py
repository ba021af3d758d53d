"""Legibility of text: the contrast of its strokes, line by line.

The places of lines come from the test card (`testcards/text.py`). Optical character recognition is in `ocr.py`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.color import Planes

Place = tuple[slice, slice]
"""Rows and columns."""


def stroke_contrast(x: Planes, y: Planes, places: Sequence[Place]) -> Float[Tensor, "b lines"]:
    """The contrast of the strokes in luma planes (b, h, w), for each line of text.

        contrast = sum (x - mean x) (y - mean y) / sum (x - mean x)^2      over the pixels of a line

    the slope of the regression of y on x. No unit: 1 is full contrast, 0.5 is gray text, 0 is no text, negative is
    inverted. Unlike in a ratio of standard deviations, text in the wrong place does not count. NaN if the original is
    constant there.

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
