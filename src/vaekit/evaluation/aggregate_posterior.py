"""The aggregate posterior: moments of the latents of all items, distance from N(0, I), effective dimension."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian
from vaekit.errors import BadItem
from vaekit.evaluation.latent_store import LatentStore
from vaekit.evaluation.measures import PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.latent.gaussianity import components, effective_dimension, kl_to_standard_normal
from vaekit.metrics.latent.moments import Moments
from vaekit.metrics.measure import Measure
from vaekit.normalization import LatentNormalization
from vaekit.vae import normalize

AGGREGATE = "The aggregate posterior by its mean and covariance (a lower bound), against N(0, I)."
KL = Measure("aggregate_kl", "aggregate KL, raw", "nats per dim", "lower", AGGREGATE)
KL_NORMALIZED = Measure(
    "aggregate_kl_normalized",
    "aggregate KL, normalized",
    "nats per dim",
    "lower",
    f"{AGGREGATE} Of normalized latents, as diffusion models see them.",
)
OFFSET = Measure(
    "latent_offset", "largest channel mean", "std", "zero", "The channel mean farthest from 0, in its std; raw latents."
)
SKEWNESS = Measure("latent_skewness", "skewness", "", "zero", "The root mean square over channels; 0 for a Gaussian.")
KURTOSIS = Measure(
    "latent_kurtosis", "excess kurtosis", "", "zero", "The mean over channels; 0 for a Gaussian, more for heavy tails."
)
DIMENSION = Measure(
    "effective_dimension",
    "effective dimension",
    "",
    None,
    "The participation ratio of the covariance of latent channels: at most their number.",
)
COMPONENTS = Measure(
    "components_95",
    "components for 95 %",
    "",
    None,
    "Principal components of latent channels with 95 % of the variance.",
)
NO_NORMALIZATION = "The normalization of this VAE's latents is unknown."
SINGULAR = (
    "{:,} latent vectors of {} channels have a singular covariance, and the distance is infinite. It takes more "
    "vectors than channels, and channels that vary."
)
CONSTANT = "The latents do not vary."
SINGLE = "It takes two or more latent vectors."


def latents_measure(pool: "LatentPool") -> PooledMeasure:
    """The measure that keeps all latents, and their moments. It can be used once: the caller reads the pool.

    A row has the sizes of the latent's axes, the mean variance of the posterior for each channel, and the latent.
    """
    settings = {"latents": "mode", "aggregate": "Gaussian by moments, with the variance of the posterior"}
    return PooledMeasure("latents", _latent_rows, lambda: pool, settings)


def _latent_rows(vae_pass: VAEPass) -> Tensor:
    latents, posterior = finite_latents(vae_pass), vae_pass.posterior
    variance = torch.zeros(latents.shape[:2])
    if isinstance(posterior, DiagonalGaussian):
        variance = posterior.log_variance.double().exp().reshape(*latents.shape[:2], -1).mean(dim=2).float().cpu()
    sizes = torch.tensor(latents.shape[2:], dtype=torch.float32).expand(len(latents), -1)
    return torch.cat([sizes, variance, latents.float().cpu().flatten(1)], dim=1)


def finite_latents(vae_pass: VAEPass) -> Tensor:
    """The latents of a batch.

    Raises:
        BadItem: some are NaN or infinite.
    """
    latents = vae_pass.latents
    if not latents.isfinite().all():
        raise BadItem(
            f"The latent of {vae_pass.names[0]} has non-finite values.",
            "Expected finite latents.",
            "Check the VAE with `vaekit doctor`; half precision may overflow.",
        )
    return latents


@dataclass(eq=False)
class LatentPool:
    """Moments of the latents of all items, raw and normalized. Memory is constant; the latents are in a file."""

    channels: int
    axes: int
    normalization: LatentNormalization | None
    store: LatentStore
    raw: Moments = field(init=False)
    normalized: Moments | None = field(init=False)
    variance: Tensor = field(init=False)
    """The sum over items of the posterior's mean variance in each channel."""

    def __post_init__(self) -> None:
        self.raw = Moments(self.channels)
        patch = self.normalization.patch**2 if self.normalization is not None else 1
        self.normalized = None if self.normalization is None else Moments(self.channels * patch)
        self.variance = torch.zeros(self.channels, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        for row in rows:
            sizes = [int(size) for size in row[: self.axes]]
            self.variance += row[self.axes : self.axes + self.channels].double()
            latent = row[self.axes + self.channels :].view(self.channels, *sizes)
            self.store.add(latent)
            self.raw.add(vectors(latent))
            patch = self.normalization.patch if self.normalization is not None else 1
            if self.normalized is not None and self.normalization is not None:
                even = latent[(slice(None), *(slice(size - size % patch) for size in sizes))]
                if even.numel():
                    self.normalized.add(vectors(normalize(even.double()[None], self.normalization)[0]))

    def result(self) -> PooledResult:
        count, raw = len(self.store), self.raw
        names = (KL, KL_NORMALIZED, OFFSET, SKEWNESS, KURTOSIS, DIMENSION, COMPONENTS)
        if raw.count < 2:
            return PooledResult(not_measured=dict.fromkeys((each.name for each in names), SINGLE))
        if not raw.std.any():
            return PooledResult(not_measured=dict.fromkeys((each.name for each in names), CONSTANT))
        varying = raw.std > 0
        values = {
            KL: self.kl(raw),
            KL_NORMALIZED: self.kl(self.normalized),
            OFFSET: max((raw.mean / raw.std)[varying].tolist(), key=abs),
            SKEWNESS: raw.skewness[varying].square().mean().sqrt().item(),
            KURTOSIS: raw.kurtosis[varying].mean().item(),
            DIMENSION: effective_dimension(raw.covariance),
            COMPONENTS: float(components(raw.covariance)),
        }
        missing = {} if self.normalized is not None else {KL_NORMALIZED.name: NO_NORMALIZATION}
        finite = {each: value for each, value in values.items() if math.isfinite(value)}
        missing |= {
            each.name: SINGULAR.format(raw.count, self.channels)
            for each in values
            if each not in finite and each.name not in missing
        }
        return PooledResult(tuple(Result(each, value, count=count) for each, value in finite.items()), missing)

    def kl(self, moments: Moments | None) -> float:
        """The KL divergence of the aggregate posterior from N(0, I): the covariance of modes, and the mean variance of
        the posterior."""
        if moments is None or moments.count < 2:
            return math.nan
        variance = self.variance / len(self.store)
        if moments is self.normalized and self.normalization is not None:
            _, scale = self.normalization.per_channel(self.channels)
            spread = variance.repeat_interleave(self.normalization.patch**2)
            variance = spread * torch.tensor(scale, dtype=torch.float64).square()
        return kl_to_standard_normal(moments.mean, moments.covariance + torch.diag(variance))

    def channel_table(self) -> dict[str, list[float]]:
        """Mean, standard deviation, skewness and excess kurtosis of each channel of raw latents."""
        raw = self.raw
        columns = {"mean": raw.mean, "std": raw.std, "skewness": raw.skewness, "kurtosis": raw.kurtosis}
        return {name: column.tolist() for name, column in columns.items()}


def vectors(latent: Tensor) -> Tensor:
    """A latent (z, ...) as one vector for each position, (n, z)."""
    return latent.reshape(len(latent), -1).T
