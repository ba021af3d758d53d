"""Exposure: pixels as stops relative to the mean of their image, so that lighting and exposure times do not matter.

A stop is a factor of 2. Illumination multiplies reflectance, so that in logarithms it is a smooth term added to the
object's own structure, and a change of exposure shifts all values alike (Oppenheim, Schafer & Stockham 1968).
"""

from dataclasses import dataclass

from torch import Tensor

RANGE = 4.0
"""Stops from the mean, which is 0, to values of -1 and 1; others are clamped."""
DARKEST = 5 / 255
"""Added to intensities, so that black has a logarithm, and noise of dark pixels is not enlarged."""
MIDDLE = -2.0
"""The mean in stops below white that images are shown with if theirs is not known."""


def mean_stops(pixels: Tensor) -> Tensor:
    """The mean of the stops of images (b, c, h, w) in [-1, 1]: (b, 1, 1, 1)."""
    return _stops(pixels).mean(dim=(1, 2, 3), keepdim=True)


def relative(pixels: Tensor) -> Tensor:
    """Images (b, c, h, w) in [-1, 1] -> stops relative to the mean of each image, in [-1, 1]."""
    return ((_stops(pixels) - mean_stops(pixels)) / RANGE).clamp(-1, 1)


def absolute(relative_pixels: Tensor, mean: Tensor | float = MIDDLE) -> Tensor:
    """The inverse of `relative`, given the mean of the stops of the images."""
    intensities = (relative_pixels * RANGE + mean).exp2() - DARKEST
    return (intensities * 2 - 1).clamp(-1, 1)


def _stops(pixels: Tensor) -> Tensor:
    return ((pixels.clamp(-1, 1) + 1) / 2 + DARKEST).log2()


@dataclass(frozen=True)
class Exposure:
    """How bright images are when the VAE takes them."""

    is_relative: bool

    def apply(self, pixels: Tensor) -> Tensor:
        """Images (b, c, h, w) in [-1, 1] as the VAE takes them, in [-1, 1]."""
        return relative(pixels) if self.is_relative else pixels

    def undo(self, pixels: Tensor, originals: Tensor | None = None) -> Tensor:
        """Images of the VAE as they are shown, as bright as the originals, or as `MIDDLE` if these are not known."""
        if not self.is_relative:
            return pixels
        return absolute(pixels, MIDDLE if originals is None else mean_stops(originals))


ABSOLUTE, RELATIVE = Exposure(False), Exposure(True)
EXPOSURES = {"absolute": ABSOLUTE, "relative": RELATIVE}
"""By name in a recipe."""
