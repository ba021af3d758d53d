"""Where an image is improbable, and a score of images for anomalies that are small: pixels are compared in their
neighborhood instead of all together.

    local            minus the mean of the highest 1 % of the map of -log p(x_i|z) per pixel, smoothed

A defect of a few pixels changes the sum over thousands of pixels less than the grain of normal surfaces does.
"""

from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.smoothing import smoothed
from vaekit.shapes import PerItem

LOCAL = "local"
"""The name of the score."""
SMOOTHING = 1 / 32
"""Sigma of the Gaussian window of maps, as a share of the shorter side."""
HIGHEST = 0.01
"""The share of the places of a map that the score is the mean of."""
POSITIONS = 4
"""Axes of items with places, such as images (b, c, h, w)."""


def local_map(nats: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """The mean of the contributions around each place, summed over channels, in nats per pixel."""
    return smoothed(nats.sum(dim=1), SMOOTHING * min(nats.shape[2:]))


def local_score(nats: Float[Tensor, "b c h w"]) -> PerItem:
    """The score of images from -log p of each of their values: higher is more normal, in nats per pixel, float64.

    >>> import torch
    >>> local_score(torch.ones(2, 3, 8, 8)).float().round(decimals=3).tolist()
    [-3.0, -3.0]
    """
    places = local_map(nats).flatten(1)
    return -places.topk(max(1, round(HIGHEST * places.shape[1])), dim=1).values.double().mean(dim=1).cpu()
