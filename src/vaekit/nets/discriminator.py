"""A discriminator of patches: PatchGAN (Isola et al. 2017, arXiv 1611.07004, section 3.2), as behind latent diffusion.

It says of every patch of an image whether it is a photograph's or a decoder's; with three strided layers each sees 70
pixels. Shapes are those of the published one (Rombach et al. 2022, arXiv 2112.10752; Esser et al. 2021, arXiv
2012.09841): convolutions 4x4, the first without normalization, LeakyReLU of slope 0.2, weights from N(0, 0.02).

That one has batch normalization, which is not offered. Its statistics are those of a micro-batch: with few images at
once they are noise, an accumulated step is not the step of the whole batch, every process normalizes otherwise, and a
batch of photographs differs from a batch of results in them alone. What is offered judges each image by itself.
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
    """Channels behind the first convolution; they double with each, up to eight times as many."""
    layers: int = 3
    """Convolutions that halve the resolution."""
    norm: str = GROUP
    """"group": group normalization, the nearest to the published net. "none": nothing, for use with `spectral`."""
    groups: int = 8
    """Of group normalization."""
    spectral: bool = False
    """Divide each weight by its largest singular value (Miyato et al. 2018, arXiv 1802.05957): the slope of the whole
    is bounded, and with it what it can ask of the VAE. Together with a norm the bound does not hold."""

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm {self.norm!r} is none of {', '.join(NORMS)}")
        if self.width < 1 or self.layers < 1:
            raise ValueError("a discriminator has a width and layers of 1 or more")
        if self.norm == GROUP and (self.groups < 1 or 2 * self.width % self.groups):
            raise ValueError(f"{2 * self.width} channels are not divided into {self.groups} groups")


class Discriminator(nn.Module):
    """Images (b, c, h, w) in [-1, 1] -> logits (b, 1, i, j), one for each patch; higher is more like the data.

    Always in evaluation mode: singular values are followed by `renew`, once a step, so that nothing depends on how
    often the net was asked.
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
    """Follow the largest singular values of changed weights, by one power iteration each."""
    net.train()
    for module in net.modules():
        if hasattr(module, "parametrizations"):
            _ = module.weight
    net.eval()
