"""The VAE: an encoder, a posterior, a decoder, a likelihood, a prior, and the normalization of its latents.

    encode: x -> q(z|x)    likelihood: z -> p(x|z)    prior: p(z)

It runs whole batches in the precision of its weights; `vaekit.runtime` runs it in bounded memory. It is independent of
domains, files and training objectives: a beta-VAE is an objective, not a subclass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.chunks import moments_of, parameters_of
from vaekit.distributions import Likelihood, Posterior, Prior, ToPrior
from vaekit.errors import HalfMissing, LatentMismatch, UnknownNormalization, counted
from vaekit.geometry import AXIS_NAMES, Geometry, HasGeometry
from vaekit.normalization import LatentNormalization


@dataclass(frozen=True)
class Origin:
    """Facts about a VAE from its file: for messages, and for reading and writing items."""

    name: str
    """Latent spaces and family, as a phrase: "SD1 / SD2 or SDXL ('kl' family)"."""
    makers: Callable[[int], str]
    """The names of the known latent spaces with a number of channels, as a phrase; empty if there are none."""
    domain: str = ""
    """The domain in the file: "tables"; empty if the file has none."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """The schema in the file, with which the domain converts items to tensors and back."""
    note: str = ""
    """Which weights were taken, if the file holds several sets of them or averages; and entries of its config.json that
    contradict them, as a phrase; empty if there is nothing to say."""


class VAE(nn.Module):
    """An encoder and a decoder, each with a head that converts its output to a distribution.

    Args:
        encoder: data x -> moments, or chunks of data if its geometry has chunks; None for a decoder-only file.
        to_posterior: moments -> Posterior, for example `DiagonalGaussian.from_moments` or a vector quantizer.
        decoder: raw latents z -> parameters, or those of chunks; None for an encoder-only file.
        to_likelihood: parameters -> Likelihood, for example `Laplace`, or an autoregressive network's wrapper.
        normalization: between raw latents and those of a diffusion model; None if unknown.
        origin: facts about the file of the weights; None for a VAE that is not from a file.
        to_prior: `encode` of this VAE -> p(z), as a learned prior may consist of posteriors (VampPrior); None for a
            posterior without a divergence, that of a plain autoencoder.
        config: the config that the parts were built from; None for that of the encoder or decoder.

    The parameters of heads that are modules are trained and saved, too.
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        to_posterior: Callable[[Tensor], Posterior],
        decoder: nn.Module | None,
        to_likelihood: Callable[[Tensor], Likelihood],
        normalization: LatentNormalization | None = None,
        origin: Origin | None = None,
        to_prior: ToPrior | None = None,
        config: Any = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_posterior = to_posterior
        self.decoder = decoder
        self.to_likelihood = to_likelihood
        self.normalization = normalization
        self.origin = origin
        self.to_prior = to_prior
        self._config = config

    @property
    def config(self) -> Any:
        """The config that the nets were built from, the same for both halves; None if they have none."""
        if self._config is not None:
            return self._config
        return getattr(self.encoder if self.encoder is not None else self.decoder, "config", None)

    @property
    def geometry(self) -> Geometry:
        """The shapes of its items and latents.

        Raises:
            TypeError: its nets have no config with a geometry.
        """
        if not isinstance(self.config, HasGeometry):
            raise TypeError("the nets of this VAE have no `config` with a `geometry`")
        return self.config.geometry

    @property
    def prior(self) -> Prior | None:
        """p(z) over raw latents; None if the posterior has no divergence."""
        return None if self.to_prior is None else self.to_prior(self.encode)

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) over raw latents, for data x (b, ...).

        Raises:
            HalfMissing: this VAE has no encoder.
        """
        if self.encoder is None:
            raise half_missing("encoder", "decoder")
        if not isinstance(self.config, HasGeometry):
            return self.to_posterior(self.encoder(x))
        return self.to_posterior(moments_of(self.encoder, x, self.config.geometry))

    def likelihood(self, z: Tensor) -> Likelihood:
        """p(x|z) for raw latents z (b, ...).

        Raises:
            HalfMissing: this VAE has no decoder.
            LatentMismatch: the latents have another number of channels than in its config, or are no whole chunks.
        """
        if self.decoder is None:
            raise half_missing("decoder", "encoder")
        self.check_latents(z)
        if not isinstance(self.config, HasGeometry):
            return self.to_likelihood(self.decoder(z))
        return self.to_likelihood(parameters_of(self.decoder, z, self.config.geometry))

    def decode(self, z: Tensor) -> Tensor:
        """The mode of p(x|z): one reconstruction for each raw latent."""
        return self.likelihood(z).mode

    def normalize(self, raw: Tensor) -> Tensor:
        """Raw latents (b, z, i, j) -> latents of a diffusion model, see the function `normalize`.

        Raises:
            UnknownNormalization: the normalization is unknown.
        """
        return normalize(raw, self._known_normalization())

    def denormalize(self, latents: Tensor) -> Tensor:
        """The inverse of `normalize`: the input of `decode`.

        Raises:
            UnknownNormalization: the normalization is unknown.
        """
        return denormalize(latents, self._known_normalization())

    def _known_normalization(self) -> LatentNormalization:
        if self.normalization is None:
            raise UnknownNormalization(
                f"The latent normalization of this VAE{f', {self.origin.name},' if self.origin else ''} is unknown.",
                "Expected a scale and a shift between raw latents and those of a diffusion model.",
                "Set `vae.normalization = vaekit.LatentNormalization(shift=(...,), scale=(...,))`.",
            )
        return self.normalization

    def check_latents(self, z: Tensor) -> None:
        """Reject latents with other channels, or with part of a chunk; a VAE without a geometry accepts any.

        Raises:
            LatentMismatch: the latents have another number of channels, or are no whole number of chunks.
        """
        if not isinstance(self.config, HasGeometry):
            return
        geometry = self.config.geometry
        if z.dim() < 2 or z.shape[1] != geometry.latent_channels:
            raise wrong_latents(z, geometry, self.normalization, self.origin)
        if geometry.chunk and (z.dim() != 3 or z.shape[2] % geometry.chunk_positions):
            raise LatentMismatch(
                f"The latents have shape {list(z.shape)}.",
                f"This VAE decodes whole chunks, of {geometry.chunk_positions} positions each.",
                "Decode latents as they were encoded.",
            )

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode to the posterior's mode (the mean, for a Gaussian) and decode it: a round trip through the VAE. The
        result has the size of `x`, also if the decoder upscales; see `at_item_size`."""
        decoded = self.decode(self.encode(x).mode)
        return at_item_size(decoded, self.geometry) if isinstance(self.config, HasGeometry) else decoded


def at_item_size(decoded: Tensor, geometry: Geometry) -> Tensor:
    """Decoded items at the size of the encoded ones: for a decoder that upscales images, averages of squares of pixels;
    for all others, the items themselves."""
    return decoded if geometry.upscale == 1 else F.avg_pool2d(decoded, geometry.upscale)


def normalize(raw: Tensor, normalization: LatentNormalization) -> Tensor:
    """Raw latents (b, z, ...) -> latents (b, z * patch^2, ...) of a diffusion model.

    With a patch, latents are (b, z, i, j) and become (b, z * patch^2, i / patch, j / patch).
    """
    rearranged = F.pixel_unshuffle(raw, normalization.patch) if normalization.patch > 1 else raw
    return (rearranged - _per_channel(normalization.shift, raw)) * _per_channel(normalization.scale, raw)


def denormalize(latents: Tensor, normalization: LatentNormalization) -> Tensor:
    """The inverse of `normalize`."""
    raw = latents / _per_channel(normalization.scale, latents) + _per_channel(normalization.shift, latents)
    return F.pixel_shuffle(raw, normalization.patch) if normalization.patch > 1 else raw


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, *[1] * (like.dim() - 2))


def half_missing(wanted: str, present: str) -> HalfMissing:
    """The error for a call that needs the missing half."""
    return HalfMissing(
        f"This VAE has only its {present}.",
        f"This call needs the {wanted}.",
        f"Load the folder that holds both halves, or the {wanted}'s own file.",
    )


def wrong_latents(
    z: Tensor, geometry: Geometry, normalization: LatentNormalization | None, origin: Origin | None
) -> LatentMismatch:
    """The error for latents with another number of channels or axes, with a guess at their origin."""
    channels = geometry.latent_channels
    given = z.shape[1] if z.dim() > 1 else 0
    makers = origin.makers(given) if origin is not None else ""
    whose = f", as those of {makers} have" if makers else ""
    patch = normalization.patch if normalization is not None else 1
    if patch > 1 and given == channels * patch**2:
        remedy = "These look like normalized latents of a diffusion model: decode `vae.denormalize(latents)`."
    else:
        remedy = "Decode with the VAE that encoded them" + (f": one of {makers}." if makers else ".")
    expected = ", ".join(("items", counted(channels, "channel"), *AXIS_NAMES[geometry.axes]))
    return LatentMismatch(
        f"The latents have shape {list(z.shape)}: {given} channels{whose}.",
        f"This VAE{f', {origin.name},' if origin is not None else ''} takes ({expected}).",
        remedy,
    )
