"""Training objectives: weighted sums of named terms.

A beta-VAE, an LDM-style autoencoder and a plain autoencoder differ only in their objectives.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Generator, Tensor

from vaekit.distributions import Likelihood, Posterior, Prior
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.code_stats import Anneals
from vaekit.training.weights import Weight
from vaekit.vae import VAE

Shared = TypeVar("Shared")


@dataclass(eq=False)
class Pass:
    """A forward pass of a batch. Each quantity is computed once, on first use by a term."""

    vae: VAE
    x: Tensor
    """(b, ...)."""
    samples: int
    """Seen before this batch."""
    generator: Generator
    """The source of all that is random."""
    shared: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    """What `once` has computed."""

    @cached_property
    def posterior(self) -> Posterior:
        """q(z|x)."""
        head: object = self.vae.to_posterior
        if isinstance(head, Anneals):
            head.at(self.samples)
        return self.vae.encode(self.x)

    @cached_property
    def z(self) -> Tensor:
        """One draw for each item, raw latents (b, ...)."""
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
        """What comes back of the items: the mode of p(x|z)."""
        return self.likelihood.mode

    def once(self, function: Callable[..., Shared], *settings: Hashable) -> Shared:
        """What a function says of this pass, for all terms that ask for it with the same settings."""
        key = (function, *settings)
        if key not in self.shared:
            self.shared[key] = function(self, *settings)
        return cast(Shared, self.shared[key])


@dataclass(frozen=True)
class Term:
    """One thing that can be asked of a pass."""

    of: Callable[[Pass], PerItem | Tensor]
    """One number for each item, or one for the batch."""
    nats: bool
    """Whether it is a log-probability of whole items, which an objective may divide by their dimensions."""
    of_latents: bool = False
    """Whether it never looks at what comes back."""
    least: int = 1
    """Items that it needs at once."""


@dataclass(frozen=True)
class Losses:
    """One number to minimize and the parts it is made of, each a mean over the batch."""

    total: Tensor
    parts: Mapping[str, Tensor]
    """As the terms said them, before weights and divisions."""
    seen: Pass
    fidelity: Tensor
    """What of the total is about the result, and so about the decoder: the total without the terms that never look at
    it. An adversarial term measures its own pull against it."""


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms."""

    terms: Mapping[str, Term]
    weights: Mapping[str, Weight]
    """For each term."""
    per_dimension: bool = False
    """Whether terms in nats are divided by the number of values of an item, as losses of images customarily are. KL
    and log-probability keep their proportion, and with it the meaning of the weights."""

    @property
    def least(self) -> int:
        """Items that all terms need at once."""
        return max((term.least for term in self.terms.values()), default=1)

    def settled(self, samples: int) -> bool:
        """Whether all weights are what they will be from here on."""
        return all(weight.period is None and samples >= weight.points[-1][0] for weight in self.weights.values())

    def __call__(self, vae: VAE, x: Tensor, samples: int, generator: Generator) -> Losses:
        """The losses of a batch x (b, ...) after so many samples. Terms whose weight is zero are not computed."""
        seen = Pass(vae, x, samples, generator)
        parts: dict[str, Tensor] = {}
        total, fidelity = torch.zeros((), device=x.device), torch.zeros((), device=x.device)
        for name, term in self.terms.items():
            weight = self.weights[name].at(samples)
            if not weight:
                continue
            parts[name] = term.of(seen).float().mean()
            scale = weight / x[0].numel() if self.per_dimension and term.nats else weight
            total = total + scale * parts[name]
            if not term.of_latents:
                fidelity = fidelity + scale * parts[name]
        return Losses(total, {name: part.detach() for name, part in parts.items()}, seen, fidelity)
