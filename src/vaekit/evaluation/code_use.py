"""Code usage, perplexity and entropy of quantizers over all items."""

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.evaluation.measures import PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.latent.code_usage import perplexity, usage
from vaekit.metrics.measure import Measure

USAGE = Measure("code_usage", "code usage", "", "higher", "The share of codes that occur in the data.")
PERPLEXITY = Measure(
    "code_perplexity",
    "perplexity",
    "codes",
    "higher",
    "exp of the entropy of the codes over the data: the equivalent number of equally likely codes.",
)
BITS = Measure(
    "bits_per_code",
    "code entropy",
    "bits per code",
    None,
    "The entropy of the codes over the data: the cost of a code under a static entropy coder.",
)


@runtime_checkable
class HasCodes(Protocol):
    """A head whose posteriors have codes."""

    @property
    def size(self) -> int:
        """The number of codes of a codebook."""

    @property
    def choices(self) -> int:
        """The number of codes at each position."""


def code_use(head: HasCodes) -> PooledMeasure:
    """Usage, perplexity and entropy of a head's codes, over all positions of all items. With several codebooks, the
    means of usage and entropy over codebooks, and exp of the mean entropy."""

    def rows(vae_pass: VAEPass) -> Tensor:
        return vae_pass.posterior.codes.flatten(1).float()  # type: ignore[attr-defined]  # the posterior of such a head

    settings = {"codes": head.size, "codes_per_position": head.choices}
    return PooledMeasure(USAGE.name, rows, lambda: CodePool(head.size, head.choices), settings)


@dataclass(eq=False)
class CodePool:
    """Counts of all codes."""

    size: int
    choices: int
    counts: Tensor = field(init=False)
    """(choices, size), int64."""
    items: int = field(default=0, init=False)
    """The number of items so far."""

    def __post_init__(self) -> None:
        self.counts = torch.zeros(self.choices, self.size, dtype=torch.int64)

    def add(self, rows: Tensor) -> None:
        codes = rows.long().unflatten(1, (self.choices, -1)).transpose(0, 1)
        for counts, each in zip(self.counts, codes, strict=True):
            counts += torch.bincount(each.flatten(), minlength=self.size)
        self.items += len(rows)

    def result(self) -> PooledResult:
        used = sum(usage(counts) for counts in self.counts) / self.choices
        nats = sum(math.log(perplexity(counts)) for counts in self.counts) / self.choices
        values = {USAGE: used, PERPLEXITY: math.exp(nats), BITS: nats / math.log(2)}
        return PooledResult(tuple(Result(quantity, value, count=self.items) for quantity, value in values.items()))
