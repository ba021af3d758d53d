"""Heads with codes in training: their settings in a recipe, and usage statistics for the log."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import nn

from vaekit.metrics.latent.code_usage import perplexity, usage
from vaekit.nets.code_head import WINDOW, CodeHead
from vaekit.nets.codebooks import CodebookLearning
from vaekit.records import from_dict
from vaekit.training.weights import weight_from
from vaekit.vae import VAE


@runtime_checkable
class LearnsCodes(Protocol):
    """A head whose codebooks can be learned."""

    def learn(self, learning: CodebookLearning) -> None:
        """Set how codebooks are learned. Call it before an optimizer is created."""


@runtime_checkable
class Anneals(Protocol):
    """A head with a temperature that depends on the number of samples."""

    def anneal(self, temperature: Callable[[int | float], float]) -> None:
        """Set the temperature as a function of the number of samples."""

    def at(self, samples: int | float) -> None:
        """Set the number of samples so far."""


def set_codes(vae: VAE, table: Mapping[str, Any], samples: int | None = None) -> None:
    """Configure how a VAE's head learns its codes from the table [codes] of a recipe: the fields of
    `CodebookLearning`, or a `temperature`, a number or points [[samples, temperature], ...].

    Args:
        vae: changed in place.
        table: the table.
        samples: of the whole run, for positions that are shares of it.

    Raises:
        ValueError: a field is unknown or of another type, or does not apply to this head.
    """
    settings = dict(table)
    head: object = vae.to_posterior
    temperature = settings.pop("temperature", None)
    if temperature is not None:
        if not isinstance(head, Anneals):
            raise ValueError("it has a temperature, but the posterior has none")
        weight = weight_from(temperature, samples=samples)
        if min(value for _, value in weight.points) <= 0:
            raise ValueError(f"the temperature is {temperature}, but must be positive")
        head.anneal(weight.at)
    if settings or temperature is None:
        if not isinstance(head, LearnsCodes):
            raise ValueError("it configures a codebook, but the posterior has none")
        head.learn(from_dict(CodebookLearning, settings))


def code_heads(model: nn.Module) -> dict[str, CodeHead]:
    """The modules that output codes, by name."""
    return {name: head for name, head in model.named_modules() if isinstance(head, CodeHead)}


def code_statistics(heads: Mapping[str, CodeHead]) -> dict[str, float]:
    """Statistics of recently used codes for the log, by name with the suffix of the head's name.

    `usage` is the share of codes among the last `WINDOW` choices per code, and `perplexity` that of a moving average
    over about as many.
    """
    statistics = {}
    for name, head in heads.items():
        if head.recent is not None and head.waiting is not None:
            suffix = name.removeprefix("to_posterior")
            statistics[f"usage{suffix}"] = usage(head.waiting < WINDOW * head.size)
            statistics[f"perplexity{suffix}"] = perplexity(head.recent)
    return statistics
