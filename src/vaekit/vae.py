"""The VAE: an encoder, a posterior, a decoder, a likelihood, a prior, and the frame that diffusion models see its
latents in.

    encode: x -> q(z|x)    likelihood: z -> p(x|z)    prior: p(z)

It runs whole batches at full precision of its weights; `vaekit.runtime` runs it in bounded memory. It knows no
pictures, files or training objectives: a beta-VAE is an objective, never a subclass of this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Likelihood, Posterior, Prior, ToPrior
from vaekit.errors import HalfMissing, LatentMismatch


@dataclass(frozen=True)
class LatentFrame:
    """How raw latents (what the decoder takes) relate to latents (what a diffusion model sees):

        latents = (unshuffle(raw, patch) - shift) * scale        raw = shuffle(latents / scale + shift)

    One affine form holds every published convention: a scalar scale and shift (SD1: 0.18215; FLUX.1: 0.3611 and
    0.1159), a mean and standard deviation per channel (Playground 2.5), and FLUX.2's 2x2 rearrangement followed by
    batch-norm statistics. `shift` and `scale` have one entry, or one for each channel after rearrangement.
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    patch: int = 1

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw latents (b, z, i, j) -> latents (b, z * patch^2, i / patch, j / patch)."""
        rearranged = F.pixel_unshuffle(raw, self.patch) if self.patch > 1 else raw
        return (rearranged - self._per_channel(self.shift, raw)) * self._per_channel(self.scale, raw)

    def denormalise(self, latents: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        raw = latents / self._per_channel(self.scale, latents) + self._per_channel(self.shift, latents)
        return F.pixel_shuffle(raw, self.patch) if self.patch > 1 else raw

    @staticmethod
    def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, *[1] * (like.dim() - 2))


@dataclass(frozen=True)
class Origin:
    """What is known of where weights come from; only messages need it."""

    name: str
    """Family and kinds, as a phrase: "SD1 / SD2 or SDXL ('kl' family)"."""
    makers: Callable[[int], str]
    """Which known VAEs have latents of so many channels, as a phrase; empty where none has."""


class VAE(nn.Module):
    """An encoder and a decoder, each with a head that reads its output as a distribution.

    Args:
        encoder: data x -> moments; None in a file that holds a decoder only.
        to_posterior: moments -> Posterior, for example `DiagonalGaussian.from_moments` or a vector quantiser.
        decoder: raw latents z -> parameters; None in a file that holds an encoder only.
        to_likelihood: parameters -> Likelihood, for example `Laplace`, or an autoregressive network's wrapper.
        frame: how a diffusion model sees the raw latents; None where it is not known.
        origin: where the weights come from, for messages; None for a VAE that came from no file.
        to_prior: `encode` of this VAE -> p(z), as a learned prior may be made of posteriors (VampPrior); None for a
            posterior that has no divergence from any, a plain autoencoder's.
        config: what the parts were built from; None takes the encoder's or the decoder's own.

    Heads that are modules have their parameters trained and saved with the rest.
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        to_posterior: Callable[[Tensor], Posterior],
        decoder: nn.Module | None,
        to_likelihood: Callable[[Tensor], Likelihood],
        frame: LatentFrame | None = None,
        origin: Origin | None = None,
        to_prior: ToPrior | None = None,
        config: Any = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_posterior = to_posterior
        self.decoder = decoder
        self.to_likelihood = to_likelihood
        self.frame = frame
        self.origin = origin
        self.to_prior = to_prior
        self._config = config

    @property
    def config(self) -> Any:
        """The config that the nets were built from, the same for both halves; None for nets that have none."""
        if self._config is not None:
            return self._config
        return getattr(self.encoder if self.encoder is not None else self.decoder, "config", None)

    @property
    def prior(self) -> Prior | None:
        """p(z) over raw latents; None where the posterior has no divergence from any."""
        return None if self.to_prior is None else self.to_prior(self.encode)

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) over raw latents, for data x (b, ...).

        Raises:
            HalfMissing: this VAE has no encoder.
        """
        if self.encoder is None:
            raise half_missing("encoder", "decoder")
        return self.to_posterior(self.encoder(x))

    def likelihood(self, z: Tensor) -> Likelihood:
        """p(x|z) for raw latents z (b, ...).

        Raises:
            HalfMissing: this VAE has no decoder.
            LatentMismatch: the latents have another number of channels than its config tells.
        """
        if self.decoder is None:
            raise half_missing("decoder", "encoder")
        self.check_latents(z)
        return self.to_likelihood(self.decoder(z))

    def decode(self, z: Tensor) -> Tensor:
        """The mode of p(x|z): one reconstruction for each raw latent."""
        return self.likelihood(z).mode

    def check_latents(self, z: Tensor) -> None:
        """Refuse latents that are not this VAE's, as far as channels tell; a VAE without a config takes any.

        Raises:
            LatentMismatch: another number of channels. Both sides are named, as far as they are known.
        """
        channels = getattr(self.config, "latent_channels", None)
        if channels is None or (z.dim() > 1 and z.shape[1] == channels):
            return
        raise wrong_channels(z, channels, self.frame, self.origin)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Through the posterior's mode and back: what "a round trip through the VAE" means everywhere here. Of a
        Gaussian that is its mean."""
        return self.decode(self.encode(x).mode)


def half_missing(wanted: str, present: str) -> HalfMissing:
    """The error for a call that needs the half that is not there."""
    return HalfMissing(
        f"This VAE has only its {present}.",
        f"Its {wanted} was asked for.",
        f"Load the folder that holds both halves, or the {wanted}'s own file.",
    )


def wrong_channels(z: Tensor, channels: int, frame: LatentFrame | None, origin: Origin | None) -> LatentMismatch:
    """The error for latents of another number of channels, with what their number suggests."""
    given = z.shape[1] if z.dim() > 1 else 0
    makers = origin.makers(given) if origin is not None else ""
    whose = f", as those of {makers} have" if makers else ""
    patch = frame.patch if frame is not None else 1
    if patch > 1 and given == channels * patch**2:
        remedy = "These look like latents as a diffusion model sees them: decode `vae.frame.denormalise(latents)`."
    else:
        remedy = "Decode with the VAE that made them" + (f": one of {makers}." if makers else ".")
    return LatentMismatch(
        f"The latents have shape {list(z.shape)}: {given} channels{whose}.",
        f"This VAE{f', {origin.name},' if origin is not None else ''} takes (pictures, {channels} channels, rows, "
        "columns).",
        remedy,
    )
