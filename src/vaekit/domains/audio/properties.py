"""Properties of waveforms that can be moved along: level and brightness."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaekit.errors import NotFound, did_you_mean, printable
from vaekit.metrics.audio.spectra import magnitudes
from vaekit.shapes import PerItem, Waveforms

SILENCE = 1e-10
"""Added to mean squares: -100 dB."""
WINDOW = 256
NAMES = ("level", "brightness")


def level(x: Waveforms) -> PerItem:
    """The root of the mean square, in dB relative to full scale.

    >>> level(torch.full((1, 1, 8), 0.1))
    tensor([-20.])
    """
    return 10 * torch.log10(x.square().flatten(1).mean(dim=1) + SILENCE)


def brightness(x: Waveforms, sample_rate: int) -> PerItem:
    """The spectral centroid, in Hz: the mean frequency, weighted by energy."""
    energy = magnitudes(x, WINDOW).square().sum(dim=(1, 3))
    frequencies = torch.linspace(0, sample_rate / 2, energy.shape[1], device=x.device)
    return (energy * frequencies).sum(dim=1) / energy.sum(dim=1)


def property_named(name: str, sample_rate: int) -> Callable[[Tensor], Tensor]:
    """The property of a name, as a differentiable function of waveforms (b, c, t).

    Raises:
        NotFound: waveforms have no such property.
    """
    if name == "level":
        return level
    if name == "brightness":
        return lambda x: brightness(x, sample_rate)
    raise NotFound(
        f"Waveforms have no property {printable(repr(name))}.",
        f"Expected {', '.join(NAMES)}.",
        did_you_mean(name, NAMES),
    )
