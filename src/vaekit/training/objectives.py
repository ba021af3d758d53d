"""Training objectives: weighted sums of named terms.

A beta-VAE, an LDM-style autoencoder and a plain autoencoder differ only in their objectives. Objectives are picklable,
so that a run can be sent to other processes: the functions of their terms are functions of modules, with their settings
bound by `functools.partial`.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.distributions import Likelihood, Posterior, Prior
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.code_stats import Anneals
from vaekit.training.weights import Weight
from vaekit.vae import VAE

Shared = TypeVar("Shared")
ROUNDING = 1e-9
"""A share of items may be too small by this: 0.29 of 100 are 29."""


@runtime_checkable
class StepLosses(Protocol):
    """The loss of a batch, and its parts."""

    @property
    def total(self) -> Tensor:
        """What is minimized."""

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """Values to log, by name."""


@runtime_checkable
class Loss(Protocol):
    """What a run minimizes: a function of a model and a batch. `Objective` is that of VAEs. Picklable."""

    @property
    def min_items(self) -> int:
        """The minimum batch size."""

    def has_final_weights(self, samples: int) -> bool:
        """Whether the function no longer changes after `samples` samples."""

    def __call__(self, model: Any, x: Any, samples: int, generator: Generator, /) -> StepLosses:
        """The losses of a batch after `samples` samples."""


@dataclass(eq=False)
class Pass:
    """A forward pass of a batch. Each quantity is computed once, on first use by a term."""

    vae: VAE
    x: Tensor
    """(b, ...)."""
    samples: int
    """The number of samples before this batch."""
    generator: Generator
    """The source of all randomness."""
    shared: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    """The cache of `once`."""

    @cached_property
    def posterior(self) -> Posterior:
        """q(z|x)."""
        head: object = self.vae.to_posterior
        if isinstance(head, Anneals):
            head.at(self.samples)
        return self.vae.encode(self.x)

    @cached_property
    def z(self) -> Tensor:
        """One sample of the posterior for each item: raw latents (b, ...)."""
        return self.posterior.sample(self.generator)

    @cached_property
    def likelihood(self) -> Likelihood:
        """p(x|z)."""
        return self.vae.likelihood(self.z)

    @cached_property
    def prior(self) -> Prior:
        """p(z).

        Raises:
            BadRecipe: the VAE has none.
        """
        prior = self.vae.prior
        if prior is None:
            raise BadRecipe(
                "A term of this objective needs a prior, which a plain autoencoder does not have.",
                "",
                'Use a posterior with a divergence, or prior = { kind = "standard" }.',
            )
        return prior

    @cached_property
    def result(self) -> Tensor:
        """The reconstruction: the mode of p(x|z), (b, ...)."""
        return self.likelihood.mode

    def once(self, function: Callable[..., Shared], *settings: Hashable) -> Shared:
        """`function(self, *settings)`, computed once and shared between terms with equal settings."""
        key = (function, *settings)
        if key not in self.shared:
            self.shared[key] = function(self, *settings)
        return cast(Shared, self.shared[key])


@dataclass(frozen=True)
class Term:
    """A term of an objective."""

    compute: Callable[[Pass], PerItem | Tensor]
    """One value for each item (b,), or a scalar for the batch."""
    nats: bool
    """Whether it is a log-probability of whole items, which an objective may divide by their dimensions."""
    latents_only: bool = False
    """Whether it is independent of the reconstruction."""
    min_items: int = 1
    """The minimum batch size."""


@dataclass(frozen=True)
class Losses:
    """The loss of a batch and its parts, each a mean over the batch."""

    total: Tensor
    parts: Mapping[str, Tensor]
    """The values of the terms, without weights and without division by the dimensions; of the items that count."""
    forward: Pass
    fidelity: Tensor
    """The total without the terms on latents only: what the decoder is trained on. An adaptive adversarial weight is
    measured against its gradient."""


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms."""

    terms: Mapping[str, Term]
    weights: Mapping[str, Weight]
    """By name of term."""
    per_dimension: bool = False
    """Whether terms in nats are divided by the number of values of an item, as is usual for losses of images. The
    ratio of KL and log-probability, and with it the meaning of the weights, stays the same."""
    trim: float = 0.0
    """The share of the items of each batch with the largest losses that do not count, rounded down: the trimmed
    likelihood (Hadi & Luceno 1997, doi 10.1016/S0167-9473(97)00011-X), which tolerates as many contaminated data. Terms
    that are one value for the batch, such as a KL with free nats, count as they are."""

    @property
    def min_items(self) -> int:
        """The minimum batch size of all terms, and of a batch in which an item is trimmed."""
        least = math.ceil(1 / self.trim) if self.trim else 1
        return max((least, *(term.min_items for term in self.terms.values())))

    @property
    def untrimmed(self) -> "Objective":
        """The same objective of all items, for measurements."""
        return replace(self, trim=0.0)

    def has_final_weights(self, samples: int) -> bool:
        """Whether all weights are constant after `samples` samples."""
        return all(weight.period is None and samples >= weight.points[-1][0] for weight in self.weights.values())

    def __call__(self, vae: VAE, x: Tensor, samples: int, generator: Generator) -> Losses:
        """The losses of a batch x (b, ...) after `samples` samples. Terms with a weight of zero are not computed."""
        forward = Pass(vae, x, samples, generator)
        values: dict[str, Tensor] = {}
        scales: dict[str, float] = {}
        for name, term in self.terms.items():
            weight = self.weights[name].at(samples)
            if weight:
                values[name] = term.compute(forward).float()
                scales[name] = weight / x[0].numel() if self.per_dimension and term.nats else weight
        if self.trim:
            counted = self._counted(values, scales, len(x))
            values = {name: value[counted] if value.dim() else value for name, value in values.items()}
        parts = {name: value.mean() for name, value in values.items()}
        total, fidelity = torch.zeros((), device=x.device), torch.zeros((), device=x.device)
        for name, part in parts.items():
            total = total + scales[name] * part
            if not self.terms[name].latents_only:
                fidelity = fidelity + scales[name] * part
        return Losses(total, {name: part.detach() for name, part in parts.items()}, forward, fidelity)

    def _counted(self, values: Mapping[str, Tensor], scales: Mapping[str, float], items: int) -> Tensor:
        """The indices of the items that count.

        Raises:
            BadRecipe: no term has a value for each item.
        """
        each = [scales[name] * value.detach() for name, value in values.items() if value.dim()]
        if not each:
            raise BadRecipe(
                f"trim is {self.trim:g}, but no term of the objective has a value for each item.",
                "Expected a term such as nll, by which items are compared.",
                "Set objective.trim=0, or add such a term.",
            )
        trimmed = int(self.trim * items * (1 + ROUNDING))
        return torch.stack(each).sum(dim=0).argsort(stable=True)[: items - trimmed]
