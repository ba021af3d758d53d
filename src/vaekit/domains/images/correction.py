"""A correction of colors: one matrix and one offset in linear light, the same for every pixel of every image.

    corrected = encode(M linear(y) + o)

with linear light of the sRGB primaries in [0, 1]. It can undo what a VAE does to all colors alike (a cast, a change of
exposure, pale colors), and nothing that depends on the place or the image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.metrics.image.lab import encoded_light, linear_light
from vaekit.shapes import Images

Rows = tuple[tuple[float, float, float], ...]
IDENTITY: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
NOWHERE = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Correction:
    """What is done to the light of each pixel, without where it comes from."""

    matrix: Rows = IDENTITY
    """Three rows: what red, green and blue of the result take of red, green and blue."""
    offset: tuple[float, float, float] = NOWHERE
    """Light added afterwards; 1 is white."""

    def of_light(self, light: Tensor) -> Tensor:
        """Linear light (3, n) -> (3, n), float32; not clamped."""
        matrix, offset = (torch.tensor(values, dtype=torch.float32) for values in (self.matrix, self.offset))
        return matrix.to(light.device) @ light.float() + offset.to(light.device).unsqueeze(1)

    def apply(self, pixels: Images) -> Images:
        """Images (b, 3, h, w), corrected: float32, in [-1, 1].

        Values outside [-1, 1] are brought to its ends first, as a file would. Pixels that are not finite stay as they
        are: a correction hides no such fault.

        >>> gray = torch.zeros(1, 3, 1, 1)
        >>> [round(v, 2) + 0.0 for v in Correction(offset=(0.1, 0.0, 0.0)).apply(gray).flatten().tolist()]
        [0.19, 0.0, 0.0]
        """
        # Memory beyond the result is that of one image.
        return torch.stack([self._one(image) for image in pixels.float()])

    def _one(self, image: Tensor) -> Tensor:
        flat = image.flatten(1)
        corrected = encoded_light(self.of_light(linear_light(flat)))
        return torch.where(flat.isfinite().all(dim=0), corrected, flat).view(image.shape)
