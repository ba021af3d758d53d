"""The asymmetric autoencoder of Zhu et al. 2023 (arXiv 2306.04632): SD's encoder with a wider and deeper decoder.

The nets are those of the kl family. The decoder also has a condition encoder, which is used for inpainting only: it
encodes the known part of an image, and its maps replace those of the decoder outside the mask.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.shapes import Images, Latents


@dataclass(frozen=True)
class AsymmetricConfig(KLConfig):
    """The shape of an asymmetric autoencoder. The condition encoder's follows from the decoder's widths."""


class ConditionEncoder(nn.Module):
    """Images -> the maps that condition the decoder: the first for its end, the others for the input of each level,
    from full resolution downwards."""

    def __init__(self, image_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        outputs = pairwise((image_channels, *widths, widths[-1]))
        # The decoder's end and the input of its last level are both at full resolution.
        self.layers = nn.Sequential(
            *(
                nn.Conv2d(a, b, 3, padding=1) if i < 2 else nn.Conv2d(a, b, 4, stride=2, padding=1)
                for i, (a, b) in enumerate(outputs)
            )
        )

    def forward(self, x: Images) -> list[Tensor]:
        maps: list[Tensor] = []
        for layer in self.layers:
            maps.append(layer(F.relu(maps[-1]) if maps else x))
        return maps


class Decoder(kl.Decoder):
    """Raw latents -> images, as in the kl family; `inpaint` is conditioned on the known part of an image."""

    def __init__(self, config: AsymmetricConfig) -> None:
        super().__init__(config)
        self.condition_encoder = ConditionEncoder(config.image_channels, config.decoder_widths)

    def inpaint(self, z: Latents, image: Images, mask: Float[Tensor, "b 1 h w"]) -> Images:
        """Decode the masked part of an image, and keep the known part.

        Args:
            z: raw latents (b, z, i, j) of the whole image.
            image: the known image (b, 3, f*i, f*j) in [-1, 1]; pixels under the mask are ignored.
            mask: 1 where the image is to be painted, 0 where it is known, per pixel.
        """
        # Multiplication would propagate non-finite values.
        end, *entrances = self.condition_encoder(torch.where(mask == 1, 0.0, (1 - mask) * image))
        h = self.mid(self.conv_in(self.post_quant_conv(z)))
        for level, known in zip(reversed(self.up), reversed(entrances), strict=True):
            h = level(blend(h, known, mask))
        return self.conv_out(F.silu(self.norm_out(blend(h, end, mask))))


def blend(painted: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """The known map where the mask is 0 and the painted one where it is 1, at any resolution."""
    weight = F.interpolate(mask, size=painted.shape[-2:], mode="nearest")
    return painted * weight + known * (1 - weight)


def build(config: AsymmetricConfig) -> tuple[kl.Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return kl.Encoder(config), Decoder(config)
