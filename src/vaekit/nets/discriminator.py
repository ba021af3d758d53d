"""PatchGAN: a discriminator of image patches (Isola et al. 2017, arXiv 1611.07004, section 3.2).

It classifies every patch of an image as data or reconstruction; with three strided layers, patches have 70x70 pixels.
The architecture is that of latent diffusion (Rombach et al. 2022, arXiv 2112.10752; Esser et al. 2021, arXiv
2012.09841): 4x4 convolutions, no normalization after the first, LeakyReLU with slope 0.2, weights from N(0, 0.02).

Its batch normalization is not supported, since it uses the statistics of micro-batches: these are noisy for few images,
differ between processes and from those of an accumulated batch, and distinguish a batch of data from a batch of
reconstructions by themselves. The supported norms treat each image separately.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from vaekit.shapes import Images

KERNEL, SLOPE, SPREAD = 4, 0.2, 0.02
GROUP, NONE = NORMS = ("group", "none")


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The shape of a discriminator."""

    width: int = 64
    """Channels after the first convolution; doubled by each further one, up to a factor of 8."""
    layers: int = 3
    """The number of convolutions that halve the resolution."""
    norm: str = GROUP
    """"group" for group normalization, the closest to the published net; "none" for use with `spectral`."""
    groups: int = 8
    """The number of groups of group normalization."""
    spectral: bool = False
    """Divide each weight by its largest singular value (Miyato et al. 2018, arXiv 1802.05957), which bounds the
    gradients of the discriminator. The bound does not hold together with a norm."""

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"unknown norm {self.norm!r}; expected one of {', '.join(NORMS)}")
        if self.width < 1 or self.layers < 1:
            raise ValueError("width and layers must be at least 1")
        if self.norm == GROUP and (self.groups < 1 or 2 * self.width % self.groups):
            raise ValueError(f"{2 * self.width} channels are not divisible into {self.groups} groups")


class Discriminator(nn.Module):
    """Images (b, c, h, w) in [-1, 1] -> logits (b, 1, i, j), one for each patch; higher for data.

    Always in evaluation mode: singular values are updated by `renew`, once per step, so that they do not depend on the
    number of forward passes.

    Args:
        config: the architecture.
        channels: of the images.
    """

    def __init__(self, config: DiscriminatorConfig, channels: int = 3) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * min(2**i, 8) for i in range(config.layers + 1)]
        plain = config.norm == NONE
        convs = [nn.Conv2d(channels, widths[0], KERNEL, 2, 1)]
        for i, (before, after) in enumerate(pairwise(widths), start=1):
            convs.append(nn.Conv2d(before, after, KERNEL, 2 if i < config.layers else 1, 1, bias=plain))
        convs.append(nn.Conv2d(widths[-1], 1, KERNEL, 1, 1))
        for conv in convs:
            nn.init.normal_(conv.weight, 0.0, SPREAD)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        spectral = parametrizations.spectral_norm if config.spectral else lambda conv: conv
        self.convs = nn.ModuleList(spectral(conv) for conv in convs)
        self.norms = nn.ModuleList(nn.Identity() if plain else nn.GroupNorm(config.groups, each) for each in widths[1:])
        self.eval()

    def forward(self, x: Images) -> Float[Tensor, "b 1 i j"]:
        h = F.leaky_relu(self.convs[0](x), SLOPE)
        for conv, norm in zip(self.convs[1:], self.norms, strict=False):
            h = F.leaky_relu(norm(conv(h)), SLOPE)
        return self.convs[-1](h)


@torch.no_grad()
def renew(net: nn.Module) -> None:
    """Update the largest singular values of all weights by one power iteration each."""
    net.train()
    for module in net.modules():
        if hasattr(module, "parametrizations"):
            _ = module.weight
    net.eval()
