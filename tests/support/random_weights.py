"""Networks of other libraries with random weights."""

import torch
from torch import Tensor, nn


def shaken(network: nn.Module, by: float = 0.05) -> nn.Module:
    """The network for inference with noise on every weight: biases of zero and activations of one would hide errors."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * by)
    return network.eval()


def waveform(channels: int, samples: int, batch: int = 2) -> Tensor:
    """Random waveforms (b, c, t) in [-1, 1]."""
    return torch.rand(batch, channels, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
