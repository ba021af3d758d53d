"""The video autoencoder of CogVideoX (arXiv 2408.06072), run on still images.

The architecture is LDM's without attention, with convolutions over time (`single_frame`), padded with zeros in space.
The norms of the decoder are spatially adaptive, as in KVAE: the latent scales and shifts every position.
"""

from dataclasses import dataclass

from vaekit.families.kl.net import Downsample, Upsample
from vaekit.families.kvae.net import group_norm
from vaekit.families.levels import LevelsConfig
from vaekit.families.spatial_halves import Decoder, Encoder


@dataclass(frozen=True)
class CogVideoXConfig(LevelsConfig):
    """The shape of a CogVideoX autoencoder; the published encoder has the widths 128, 256, 256, 512."""


def build(config: CogVideoXConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    encoder, decoder = config.encoder_widths, config.decoder_widths
    starts = (encoder[0], *encoder[:-1])
    down, up = map(Downsample, encoder[:-1]), map(Upsample, decoder[:-1])
    return Encoder(config, group_norm, starts, down), Decoder(config, group_norm, up)
