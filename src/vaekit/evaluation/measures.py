"""Types of measures, and measures for any domain: the KL, and bounds of the likelihood.

A measure of single items has values for each item, which are averaged. A pooled measure keeps a row of values for each
item, and has results for all items together.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.distributions import Prior
from vaekit.errors import counted
from vaekit.evaluation.vae_pass import VAEPass, select_item
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean

CHUNK_VALUES = 2**19
"""The number of data values per call of the decoder, for the samples of one item."""
NAT = 1 / math.log(2)
"""One nat in bits."""
PARTS = "parts"
"""The group of quantities of single parts of items, such as columns of rows, which may be many."""


@dataclass(frozen=True)
class ItemMeasure:
    """A measure of single items."""

    quantities: tuple[Measure, ...]
    compute: Callable[[VAEPass], Mapping[str, Tensor]]
    """Returns the values of each quantity, (b,), by name."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the values depend on, besides data and VAE; part of the protocol."""


@dataclass(frozen=True)
class Result:
    """A quantity over all items."""

    quantity: Measure
    value: float
    standard_error: float | None = None
    low: float | None = None
    """The lower end of the 95 % interval."""
    high: float | None = None
    count: int = 0
    """The number of items."""
    not_finite: int = 0
    """The number of items with non-finite values, such as the PSNR of equal images; they are excluded."""


def result_of(quantity: Measure, mean: RunningMean) -> Result:
    """The mean over items as a result; NaN if no value is finite."""
    if mean.interval is None:
        value = mean.mean if mean.count else math.nan
        return Result(quantity, value, count=mean.count, not_finite=mean.not_finite)
    interval = mean.interval
    return Result(quantity, mean.mean, mean.standard_error, interval.low, interval.high, mean.count, mean.not_finite)


@dataclass(frozen=True)
class PooledResult:
    """The results of a pooled measure."""

    results: tuple[Result, ...] = ()
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """Reasons, by name of the quantity."""
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Pool(Protocol):
    """The accumulator of a pooled measure. Its memory must not grow with the number of items."""

    def add(self, rows: Tensor) -> None:
        """Add the rows (b, n) of further items, in order. The result must not depend on the division into batches."""

    def result(self) -> PooledResult:
        """The results for all items."""


@dataclass(frozen=True)
class PooledMeasure:
    """A measure of all items together."""

    name: str
    rows: Callable[[VAEPass], Tensor]
    """Returns the rows of a batch: (b, n), float32."""
    pool: Callable[[], Pool]
    """Returns a new accumulator."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the results depend on, besides data and VAE; part of the protocol."""


def rate(prior: Prior, item: str = "item") -> ItemMeasure:
    """The rate KL(q(z|x) || p(z)) of an item, in three units.

    Args:
        prior: p(z).
        item: the noun for an item in units, such as `image`.
    """
    quantities = (
        Measure("kl", "KL", f"nats per {item}", None, f"KL(q(z|x) || p(z)), summed over the latent of one {item}."),
        Measure(
            "kl_bits_per_latent",
            "KL",
            "bits per latent",
            None,
            "The KL in bits, divided by the number of values of the latent.",
        ),
        Measure(
            "kl_bits_per_dimension",
            "KL",
            "bits per dimension",
            None,
            f"The KL in bits, divided by the number of values of the {item}: the rate alone, not the negative ELBO.",
        ),
    )
    settings = {"prior": repr(prior)}
    return ItemMeasure(quantities, partial(_rate, prior), settings)


def _rate(prior: Prior, vae_pass: VAEPass) -> Mapping[str, Tensor]:
    # Posteriors without a closed form estimate it from one sample, which must not depend on the other items.
    each = [
        select_item(vae_pass.posterior, i).kl(prior, vae_pass.generator(i, "kl")) for i in range(len(vae_pass.names))
    ]
    kl = torch.cat(each).double()
    bits = kl * NAT
    return {
        "kl": kl,
        "kl_bits_per_latent": bits / vae_pass.latents[0].numel(),
        "kl_bits_per_dimension": bits / vae_pass.x[0].numel(),
    }


def evidence(prior: Prior, samples: int, item: str = "item") -> ItemMeasure:
    """The ELBO, and the log-likelihood by importance sampling (Burda et al. 2016, arXiv 1509.00519, eq. 8), from K
    samples of the posterior for each item.

        ELBO = mean_k log p(x|z_k) - KL(q(z|x) || p(z))
        NLL  = -log ( 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) )

    The second is an upper bound of -log p(x), in expectation, that decreases with K: minus the IWAE bound.

    Args:
        prior: p(z).
        samples: K.
        item: the noun for an item in units.
    """
    quantities = (
        Measure(
            "elbo",
            "ELBO",
            f"nats per {item}",
            "higher",
            f"The evidence lower bound, from {counted(samples, 'sample')} per {item}.",
        ),
        Measure(
            "elbo_bits_per_dimension",
            "negative ELBO",
            "bits per dimension",
            "lower",
            f"Minus the ELBO in bits, divided by the number of values of the {item}.",
        ),
        Measure(
            "nll",
            "NLL",
            f"nats per {item}",
            "lower",
            f"-log p(x) by importance sampling with {counted(samples, 'sample')}: minus the IWAE-{samples} bound.",
        ),
        Measure(
            "nll_bits_per_dimension",
            "NLL",
            "bits per dimension",
            "lower",
            f"The NLL in bits, divided by the number of values of the {item}.",
        ),
    )
    settings = {"prior": repr(prior), "samples": samples}
    return ItemMeasure(quantities, partial(_evidence, prior, samples), settings)


def _evidence(prior: Prior, samples: int, vae_pass: VAEPass) -> Mapping[str, Tensor]:
    bounds = [_bounds(prior, samples, vae_pass, i) for i in range(len(vae_pass.names))]
    elbo, nll = torch.tensor(bounds, dtype=torch.float64).unbind(dim=1)
    per_dimension = NAT / vae_pass.x[0].numel()
    return {
        "elbo": elbo,
        "elbo_bits_per_dimension": -elbo * per_dimension,
        "nll": nll,
        "nll_bits_per_dimension": nll * per_dimension,
    }


def _bounds(prior: Prior, samples: int, vae_pass: VAEPass, item: int) -> tuple[float, float]:
    """ELBO and negative IWAE bound of one item."""
    generator, conditional, weights = vae_pass.generator(item, "evidence"), [], []
    chunk = max(1, CHUNK_VALUES // vae_pass.x[item].numel())
    for start in range(0, samples, chunk):
        times = min(chunk, samples - start)
        posterior = select_item(vae_pass.posterior, item, times)
        z = posterior.sample(generator)
        x = vae_pass.x[item : item + 1].expand(times, *vae_pass.x.shape[1:])
        log_likelihood = vae_pass.runner.likelihood(z, x).log_prob(x).double()
        conditional.append(log_likelihood)
        weights.append(log_likelihood + prior.log_prob(z).double() - posterior.log_prob(z).double())
    kl = select_item(vae_pass.posterior, item).kl(prior, vae_pass.generator(item, "kl")).double()
    elbo = torch.cat(conditional).mean() - kl[0]
    return float(elbo), float(math.log(samples) - torch.logsumexp(torch.cat(weights), dim=0))
