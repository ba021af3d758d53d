"""The vector-quantized autoencoders of LDM and VQGAN: the nets of `kl.py`, with a codebook between them.

The encoder says one vector a position, and the head replaces it by the nearest of the codebook (van den Oord et al.
2017, arXiv 1711.00937; Esser et al. 2021, arXiv 2012.09841). The decoder takes codebook vectors as they are: it does
not quantize what it is given. LDM diffuses what the encoder said and quantizes just before decoding; for latents of
that kind, call the head first: `vae.decode(vae.to_posterior(z).mean)`.
"""

from dataclasses import dataclass

from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.nets.vector_quantizer import VectorQuantizer


@dataclass(frozen=True)
class VQConfig(KLConfig):
    """The shape of a vector-quantized autoencoder; `latent_channels` is the length of a codebook vector."""

    codes: int
    """Vectors in the codebook."""


def quantizer(config: VQConfig) -> VectorQuantizer:
    """The head of a VAE of this shape."""
    return VectorQuantizer(config.codes, config.latent_channels)


def build(config: VQConfig) -> tuple[kl.Encoder, kl.Decoder]:
    """Both halves: the encoder says where it is, and nothing about how sure it is."""
    return kl.build(config, moments=1)
