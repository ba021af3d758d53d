"""How often each level comes: histograms of luminance and channels, and what is clipped at their ends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaekit.domains.images.channels import LUMA
from vaekit.report.crops import Levels

CHANNELS = ("luminance", "red", "green", "blue")


@dataclass(frozen=True, eq=False)
class Histogram:
    """Of one channel of one picture."""

    counts: NDArray[np.int64]
    """(256,): pixels at each level."""

    @property
    def black(self) -> float:
        """The share of pixels at level 0, in [0, 1]."""
        return float(self.counts[0] / self.counts.sum())

    @property
    def white(self) -> float:
        """The share of pixels at level 255, in [0, 1]."""
        return float(self.counts[-1] / self.counts.sum())


def histograms(levels: Levels) -> dict[str, Histogram]:
    """By the name of the channel. Luminance is Rec. 601 luma, 0.299 R' + 0.587 G' + 0.114 B', to the nearest level."""
    luma = np.rint(levels @ np.asarray(LUMA)).astype(np.uint8)
    planes = (luma, *np.moveaxis(levels, 2, 0))
    return {
        name: Histogram(np.bincount(plane.ravel(), minlength=256)) for name, plane in zip(CHANNELS, planes, strict=True)
    }
