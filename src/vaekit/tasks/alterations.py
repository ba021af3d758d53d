"""Directions in the latent space of a VAE of images for exposure, contrast and warmth, learned from test images that
are altered by known amounts.

A direction is the slope of the regression of latents on the amount (`vaekit.latents.probes.mean_difference`), so that
one unit along it is one unit of the alteration. Exposure and warmth move the means of channels over positions; contrast
changes how far positions are from these means, as `--spread` of `vaekit direction` does. How well each works is in
docs/directions.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.latents.directions import SHIFT, SPREAD, log_spread, summarize
from vaekit.latents.probes import mean_difference
from vaekit.metrics.image.lab import encoded_light, linear_light
from vaekit.tasks.model import OpenModel
from vaekit.testcards.channels import in_channels
from vaekit.testcards.dead_leaves import dead_leaves

IMAGES, SIDE = 6, 128
"""The number of test images, and their side in pixels for a VAE that takes any size."""
COLORS = 3
"""Channels of an image that can be warmer."""


def exposed(x: Tensor, amount: float) -> Tensor:
    """Images in [-1, 1] with their light multiplied by 2 ** amount."""
    return encoded_light(linear_light(x) * 2**amount)


def contrasted(x: Tensor, amount: float) -> Tensor:
    """The distance of values from middle gray multiplied by 2 ** amount."""
    return (x * 2**amount).clamp(-1, 1)


def warmed(x: Tensor, amount: float) -> Tensor:
    """Red light multiplied by 2 ** amount, and blue light divided by it, for images (b, 3, h, w)."""
    return encoded_light(linear_light(x) * torch.tensor([2**amount, 1, 2**-amount]).view(3, 1, 1))


@dataclass(frozen=True)
class Alteration:
    """A change of images by an amount; 0 is none."""

    name: str
    apply: Callable[[Tensor, float], Tensor]
    most: float
    """The largest amount that directions are learned from."""
    kind: str
    """Of the direction: see `vaekit.latents.directions`."""
    colors: bool = False
    """Whether it is one of color images only."""


ALTERATIONS = (
    Alteration("exposure", exposed, 1.0, SHIFT),
    Alteration("contrast", contrasted, 0.6, SPREAD),
    Alteration("warmth", warmed, 0.4, SHIFT, colors=True),
)


@dataclass(frozen=True, eq=False)
class AlteredDirection:
    """The direction of an alteration."""

    name: str
    kind: str
    vector: Tensor
    """(z): the change of the channels' means, or of the logarithms of their standard deviations, per unit."""
    most: float
    """The largest amount that it was learned from."""


def altered_directions(model: OpenModel) -> list[AlteredDirection]:
    """The directions of `ALTERATIONS` for a VAE of images; none where latents have a single position, since those have
    no mean over positions.

    Raises:
        HalfMissing: the VAE has no encoder.
        TooLittleMemory: an image of the VAE's own size does not fit.
    """
    geometry = model.engine.geometry
    height, width = geometry.size or (SIDE, SIDE)
    if max(geometry.latent_size((height, width))) == 1:
        return []
    images = dead_leaves(IMAGES, (height, width), Generator().manual_seed(0))
    made = [each for each in ALTERATIONS if geometry.channels >= COLORS or not each.colors]
    before = encoded(model, images)
    return [direction_of(model, each, images, before) for each in made]


def direction_of(model: OpenModel, alteration: Alteration, images: Tensor, before: Tensor) -> AlteredDirection:
    """The direction of one alteration, from images (n, 3, h, w) and their latents."""
    most, summary = alteration.most, log_spread if alteration.kind == SPREAD else summarize
    after = [encoded(model, alteration.apply(images, amount)) for amount in (-most, most)]
    x = summary(torch.cat([before, *after])).double()
    amounts = torch.tensor([0.0, -most, most], dtype=torch.float64).repeat_interleave(len(images))
    vector = mean_difference(x, amounts, torch.full((len(x),), 1 / len(x), dtype=torch.float64))
    return AlteredDirection(alteration.name, alteration.kind, vector.float(), most)


def encoded(model: OpenModel, images: Tensor) -> Tensor:
    """The modes of the posteriors of color images, one image at a time, as photographs are encoded: (n, z, i, j)."""
    x = in_channels(images, model.engine.geometry.channels)
    return torch.cat([model.engine.encode(each).mode.float().cpu() for each in x.split(1)])
