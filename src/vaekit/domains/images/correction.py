"""A correction of colors: one matrix and one offset in linear light, the same for every pixel of every image.

    corrected = encode(M linear(y) + o)

with linear light of the sRGB primaries in [0, 1]. It undoes changes that are the same for every pixel (a color cast,
exposure, low saturation), and none that depend on position or image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.metrics.image.lab import encoded_light, linear_light
from vaekit.shapes import Images

Rows = tuple[tuple[float, float, float], ...]
IDENTITY: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
NO_OFFSET = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Correction:
    """An affine map of linear RGB, without its origin."""

    matrix: Rows = IDENTITY
    """Three rows: weights of red, green and blue for each channel of the result."""
    offset: tuple[float, float, float] = NO_OFFSET
    """Linear light that is added afterwards; 1 is white."""

    def of_light(self, light: Tensor) -> Tensor:
        """Linear light (3, n) -> (3, n), float32; not clamped."""
        matrix, offset = (torch.tensor(values, dtype=torch.float32) for values in (self.matrix, self.offset))
        return matrix.to(light.device) @ light.float() + offset.to(light.device).unsqueeze(1)

    def apply(self, pixels: Images) -> Images:
        """Images (b, 3, h, w), corrected: float32, in [-1, 1].

        Values are clamped to [-1, 1] first, as in a file. Non-finite pixels stay as they are, so that a correction does
        not hide them.

        >>> gray = torch.zeros(1, 3, 1, 1)
        >>> [round(v, 2) + 0.0 for v in Correction(offset=(0.1, 0.0, 0.0)).apply(gray).flatten().tolist()]
        [0.19, 0.0, 0.0]
        """
        # One image at a time: the intermediate results of a batch would take several times its memory.
        return torch.stack([self._one(image) for image in pixels.float()])

    def _one(self, image: Tensor) -> Tensor:
        flat = image.flatten(1)
        corrected = encoded_light(self.of_light(linear_light(flat)))
        return torch.where(flat.isfinite().all(dim=0), corrected, flat).view(image.shape)
