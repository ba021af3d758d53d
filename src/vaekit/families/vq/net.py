"""The vector-quantized autoencoders of LDM and VQGAN: the nets of the kl family, with a codebook between them.

The encoder outputs one vector per position, which the head replaces by the nearest codebook vector (van den Oord et al.
2017, arXiv 1711.00937; Esser et al. 2021, arXiv 2012.09841). The decoder takes codebook vectors and does not quantize
its input. LDM diffuses the encoder's outputs and quantizes just before decoding; for such latents, call the head first:
`vae.decode(vae.to_posterior(z).mean)`.
"""

from dataclasses import dataclass

from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.nets.vector_quantizer import VectorQuantizer


@dataclass(frozen=True)
class VQConfig(KLConfig):
    """The config of a vector-quantized autoencoder; `latent_channels` is the length of a codebook vector."""

    codes: int
    """The number of vectors in the codebook."""


def quantizer(config: VQConfig) -> VectorQuantizer:
    """The head of a VAE of this config."""
    return VectorQuantizer(config.codes, config.latent_channels)


def build(config: VQConfig) -> tuple[kl.Encoder, kl.Decoder]:
    """Both halves; the encoder outputs no variances."""
    return kl.build(config, moments=1)
