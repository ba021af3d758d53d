"""What a measure is, and those that know nothing of the data: what the latents cost, and how probable the data are.

A measure of single items gives a few numbers for each of them. A pooled measure keeps some numbers of each item and
says something about all of them together.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.distributions import Prior
from vaekit.evaluation.vae_pass import VAEPass, select_item
from vaekit.metrics.measure import Measure

AT_ONCE = 2**19
"""Numbers in the samples of one item that come out of the decoder at once."""
NAT = 1 / math.log(2)
"""Bits."""


@dataclass(frozen=True)
class ItemMeasure:
    """Numbers of single items."""

    quantities: tuple[Measure, ...]
    of: Callable[[VAEPass], Mapping[str, Tensor]]
    """For each quantity, one number for each item (b,)."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the numbers depend on beside data and VAE; part of the protocol."""


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
    """Items that it is about."""
    not_finite: int = 0
    """Items whose number is infinite or none, and left out: the PSNR of equal images."""


@dataclass(frozen=True)
class PooledResult:
    """What a pooled measure found."""

    results: tuple[Result, ...] = ()
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """Name to reason."""
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Pool(Protocol):
    """What a pooled measure keeps while items go by. Its memory must not grow with their number."""

    def add(self, rows: Tensor) -> None:
        """Take the rows (b, n) of further items, in order. The result must not depend on how they are divided."""

    def together(self) -> PooledResult:
        """What is to be said of all items."""


@dataclass(frozen=True)
class PooledMeasure:
    """Numbers of all items together."""

    name: str
    rows: Callable[[VAEPass], Tensor]
    """What is kept of each item: (b, n), float32."""
    pool: Callable[[], Pool]
    settings: Mapping[str, Any] = field(default_factory=dict)


def rate(prior: Prior, item: str = "item") -> ItemMeasure:
    """What the latents say about an item beyond the prior: KL(q(z|x) || p(z)), in three units.

    Args:
        prior: p(z).
        item: what one item is called, such as `image`.
    """
    quantities = (
        Measure("kl", "KL", f"nats per {item}", None, f"KL(q(z|x) || p(z)), summed over the latent of one {item}."),
        Measure(
            "kl_bits_per_latent", "KL", "bits per latent", None, "The KL in bits, divided by the numbers in the latent."
        ),
        Measure(
            "kl_bits_per_dimension",
            "KL",
            "bits per dimension",
            None,
            f"The KL in bits, divided by the numbers in the {item}. It is the rate alone, not the negative ELBO.",
        ),
    )
    settings = {"prior": repr(prior)}
    return ItemMeasure(quantities, partial(_rate, prior), settings)


def _rate(prior: Prior, seen: VAEPass) -> Mapping[str, Tensor]:
    # Posteriors without a closed form estimate it from one draw, which has to be that of the item alone.
    each = [select_item(seen.posterior, i).kl(prior, seen.generator(i, "kl")) for i in range(len(seen.names))]
    kl = torch.cat(each).double()
    bits = kl * NAT
    return {
        "kl": kl,
        "kl_bits_per_latent": bits / seen.latents[0].numel(),
        "kl_bits_per_dimension": bits / seen.x[0].numel(),
    }


def evidence(prior: Prior, samples: int, item: str = "item") -> ItemMeasure:
    """How probable the VAE finds an item: the ELBO, and the log-likelihood by importance sampling (Burda et al. 2016,
    arXiv 1509.00519, eq. 8), from exactly so many samples of the posterior for each item.

        ELBO = mean_k log p(x|z_k) - KL(q(z|x) || p(z))
        NLL  = -log ( 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) )

    The second is an upper bound of the true -log p(x) that falls as K grows: minus the IWAE bound of K samples.

    Args:
        prior: p(z).
        samples: K.
        item: what one item is called.
    """
    quantities = (
        Measure("elbo", "ELBO", f"nats per {item}", "higher", f"The evidence lower bound; {samples} samples each."),
        Measure(
            "elbo_bits_per_dimension",
            "negative ELBO",
            "bits per dimension",
            "lower",
            f"Minus the ELBO in bits, divided by the numbers in the {item}.",
        ),
        Measure(
            "nll",
            "NLL",
            f"nats per {item}",
            "lower",
            f"-log p(x) by importance sampling with exactly {samples} samples: minus the IWAE-{samples} bound.",
        ),
        Measure(
            "nll_bits_per_dimension",
            "NLL",
            "bits per dimension",
            "lower",
            f"The NLL in bits, divided by the numbers in the {item}.",
        ),
    )
    settings = {"prior": repr(prior), "samples": samples}
    return ItemMeasure(quantities, partial(_evidence, prior, samples), settings)


def _evidence(prior: Prior, samples: int, seen: VAEPass) -> Mapping[str, Tensor]:
    bounds = [_bounds(prior, samples, seen, i) for i in range(len(seen.names))]
    elbo, nll = torch.tensor(bounds, dtype=torch.float64).unbind(dim=1)
    per_dimension = NAT / seen.x[0].numel()
    return {
        "elbo": elbo,
        "elbo_bits_per_dimension": -elbo * per_dimension,
        "nll": nll,
        "nll_bits_per_dimension": nll * per_dimension,
    }


def _bounds(prior: Prior, samples: int, seen: VAEPass, item: int) -> tuple[float, float]:
    """ELBO and negative IWAE bound of one item."""
    generator, conditional, weights = seen.generator(item, "evidence"), [], []
    at_once = max(1, AT_ONCE // seen.x[item].numel())
    for start in range(0, samples, at_once):
        times = min(at_once, samples - start)
        posterior = select_item(seen.posterior, item, times)
        z = posterior.sample(generator)
        x = seen.x[item : item + 1].expand(times, *seen.x.shape[1:])
        told = seen.runs.likelihood(z, x).log_prob(x).double()
        conditional.append(told)
        weights.append(told + prior.log_prob(z).double() - posterior.log_prob(z).double())
    kl = select_item(seen.posterior, item).kl(prior, seen.generator(item, "kl")).double()
    elbo = torch.cat(conditional).mean() - kl[0]
    return float(elbo), float(math.log(samples) - torch.logsumexp(torch.cat(weights), dim=0))
