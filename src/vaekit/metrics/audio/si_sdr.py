"""SI-SDR: the scale-invariant signal-to-distortion ratio, in decibels."""

import torch

from vaekit.shapes import PerItem, Waveforms


def si_sdr(x: Waveforms, y: Waveforms) -> PerItem:
    """The scale-invariant signal-to-distortion ratio of reconstructions y of x (Le Roux et al. 2019, arXiv 1811.02508,
    eq. 3), over all channels together, in dB: (b,), float32.

        SI-SDR = 10 log10( |a x|^2 / |a x - y|^2 ),  a = <x, y> / <x, x>

    x and y have their means removed. Higher is better; infinite for equal waveforms, and NaN for silence.

    >>> x = torch.sin(torch.arange(1000.0)).view(1, 1, -1)
    >>> noise = torch.cos(torch.arange(1000.0)).view(1, 1, -1)
    >>> si_sdr(x, 0.5 * (x + 0.1 * noise)).round()
    tensor([20.])
    """
    original, result = ((each.double() - each.double().mean(dim=2, keepdim=True)).flatten(1) for each in (x, y))
    scale = (original * result).sum(dim=1, keepdim=True) / original.square().sum(dim=1, keepdim=True)
    target = scale * original
    ratio = target.square().sum(dim=1) / (target - result).square().sum(dim=1)
    return (10 * torch.log10(ratio)).float()
