"""How a quantizer's codes are used over all items: a measure of any VAE whose posterior has codes."""

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.evaluation.measures import PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.latent.code_usage import perplexity, usage
from vaekit.metrics.measure import Measure

USAGE = Measure(
    "code_usage", "code usage", "", "higher", "The share of all codes that were chosen anywhere in the data."
)
PERPLEXITY = Measure(
    "code_perplexity",
    "perplexity",
    "codes",
    "higher",
    "exp of the entropy of the codes over the data: so many equally likely codes would say as much.",
)
BITS = Measure(
    "bits_per_code",
    "code entropy",
    "bits per code",
    None,
    "The entropy of the codes over the data: what a code costs to send if nothing but its frequency is known.",
)


@runtime_checkable
class HasCodes(Protocol):
    """A head whose posteriors have codes."""

    @property
    def size(self) -> int:
        """From how many a code is chosen."""

    @property
    def choices(self) -> int:
        """Codes at each position."""


def code_use(head: HasCodes) -> PooledMeasure:
    """Usage, perplexity and entropy of a head's codes, over all positions of all items. Where a position has several
    codes, each from a codebook of its own: the mean usage and entropy of the codebooks, and exp of the latter."""

    def rows(seen: VAEPass) -> Tensor:
        return seen.posterior.codes.flatten(1).float()  # type: ignore[attr-defined]  # it says codes

    settings = {"codes": head.size, "codes_per_position": head.choices}
    return PooledMeasure(USAGE.name, rows, lambda: CodePool(head.size, head.choices), settings)


@dataclass(eq=False)
class CodePool:
    """How often each code was chosen."""

    size: int
    choices: int
    counts: Tensor = field(init=False)
    items: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.counts = torch.zeros(self.choices, self.size, dtype=torch.int64)

    def add(self, rows: Tensor) -> None:
        codes = rows.long().unflatten(1, (self.choices, -1)).transpose(0, 1)
        for counts, each in zip(self.counts, codes, strict=True):
            counts += torch.bincount(each.flatten(), minlength=self.size)
        self.items += len(rows)

    def together(self) -> PooledResult:
        used = sum(usage(counts) for counts in self.counts) / self.choices
        nats = sum(math.log(perplexity(counts)) for counts in self.counts) / self.choices
        found = {USAGE: used, PERPLEXITY: math.exp(nats), BITS: nats / math.log(2)}
        return PooledResult(tuple(Result(quantity, value, count=self.items) for quantity, value in found.items()))
