"""The vector-quantised autoencoders of LDM and VQGAN: the nets of `kl.py`, with a codebook between them.

The encoder says one vector a position, and the head replaces it by the nearest of the codebook (van den Oord et al.
2017, arXiv 1711.00937; Esser et al. 2021, arXiv 2012.09841). The decoder takes codebook vectors as they are: it does
not quantise what it is given. LDM diffuses what the encoder said and quantises just before decoding; for latents of
that kind, call the head first: `vae.decode(vae.to_posterior(z).mean)`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Quantised
from vaekit.nets.kl import KLConfig
from vaekit.shapes import Codes

DISTANCES_AT_ONCE = 1 << 24
"""How many distances are held in memory: 64 MiB in fp32, whatever the size of picture and codebook."""


@dataclass(frozen=True)
class VQConfig(KLConfig):
    """The shape of a vector-quantised autoencoder; `latent_channels` is the length of a codebook vector."""

    codes: int
    """Vectors in the codebook."""

    @property
    def moments_per_latent(self) -> int:
        """The encoder says where it is, and nothing about how sure it is."""
        return 1


class VectorQuantiser(nn.Module):
    """Moments (b, d, ...) -> the nearest codebook vector at every position, in single precision at least."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codes, width).uniform_(-1 / codes, 1 / codes))

    def forward(self, moments: Tensor) -> Quantised:
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        codes = self.nearest(exact)
        return Quantised(exact, codes, self.embed(codes).to(exact.dtype))

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, ...) -> their vectors (b, d, ...)."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def nearest(self, continuous: Tensor) -> Codes:
        """The index of the nearest vector at every position of (b, d, ...); of equally near ones the first."""
        vectors = continuous.movedim(1, -1)
        codebook = self.codebook.to(vectors.dtype)
        chunks = vectors.reshape(-1, vectors.shape[-1]).split(max(1, DISTANCES_AT_ONCE // len(codebook)))
        # Differences are taken before squaring: with |z|^2 - 2 z.e + |e|^2, two close codes may change places.
        distances = (torch.cdist(chunk, codebook, compute_mode="donot_use_mm_for_euclid_dist") for chunk in chunks)
        return torch.cat([each.argmin(dim=1) for each in distances]).reshape(vectors.shape[:-1])


def quantiser(config: VQConfig) -> VectorQuantiser:
    """The head of a VAE of this shape."""
    return VectorQuantiser(config.codes, config.latent_channels)
