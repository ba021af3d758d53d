"""Named tensor shapes.

Axes: b batch, c channels, h rows, w columns, t time; z latent channels; i, j latent rows and columns.
jaxtyping checks them in the test suite (`pytest` runs with the import hook) and costs nothing at run time.
"""

from jaxtyping import Float, Int, Shaped
from torch import Tensor

Items = Shaped[Tensor, "b ..."]
"""Items of any domain: floating-point values (b, c, *size), or tokens (b, t)."""

AnyLatents = Float[Tensor, "b z ..."]
"""Raw latents of any number of axes: a map (b, z, i, j) of an image, a vector (b, z) of a row."""

Images = Float[Tensor, "b c h w"]
"""Images: range [-1, 1]; three channels are RGB in sRGB encoding, one is grayscale."""

Waveforms = Float[Tensor, "b c t"]
"""Audio: samples in [-1, 1] over time, channels first."""

Moments = Float[Tensor, "b m i j"]
"""The output of an image encoder, before it is converted to a posterior."""

Latents = Float[Tensor, "b z i j"]
"""A latent map of an image VAE; raw or normalized, as documented where it is used."""

PerItem = Float[Tensor, " b"]
"""One value per item of the batch."""

Codes = Int[Tensor, "b *positions"]
"""Indices into a codebook or a vocabulary."""
