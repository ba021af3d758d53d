"""The share of samples at full scale."""

from vaekit.shapes import PerItem, Waveforms

FULL_SCALE = 32767 / 32768
"""The largest value of 16 bits."""


def clipped_share(x: Waveforms) -> PerItem:
    """The share of samples at full scale or beyond, from 0 to 1: (b,).

    >>> import torch
    >>> clipped_share(torch.tensor([[[0.0, 1.0, -1.2, 0.5]]]))
    tensor([0.5000])
    """
    return (x.abs() >= FULL_SCALE).flatten(1).float().mean(dim=1)
