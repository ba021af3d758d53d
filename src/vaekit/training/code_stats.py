"""Heads with codes in training: their settings in a recipe, and usage statistics for the log."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

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
        """From now on, and before an optimizer is made: learn them so."""


@runtime_checkable
class Anneals(Protocol):
    """A head with a temperature that follows from the samples seen."""

    def anneal(self, temperature: Callable[[int | float], float]) -> None:
        """From now on, take it from this function."""

    def at(self, samples: int | float) -> None:
        """So many samples were seen."""


def set_codes(vae: VAE, words: Mapping[str, Any], samples: int | None = None) -> None:
    """Set how a VAE's head learns its codes from the table [codes] of a recipe: the fields of `CodebookLearning`, or a
    `temperature`, which is a number or points [[samples, temperature], ...].

    Args:
        vae: changed in place.
        words: the table.
        samples: of the whole run, which places may be shares of.

    Raises:
        ValueError: a field is unknown or of another type, or this head has nothing of the kind.
    """
    settings = dict(words)
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


def code_heads(vae: VAE) -> dict[str, CodeHead]:
    """The parts that say codes, by name."""
    return {name: head for name, head in vae.named_modules() if isinstance(head, CodeHead)}


def code_statistics(heads: Mapping[str, CodeHead]) -> dict[str, float]:
    """How the codes were used of late, for the log: `usage`, the share of codes that were chosen among the last
    `WINDOW` choices for each code, and `perplexity` over about as many. Of several heads with the end of their name."""
    told = {}
    for name, head in heads.items():
        if head.recent is not None and head.waiting is not None:
            end = name.removeprefix("to_posterior")
            told[f"usage{end}"] = usage(head.waiting < WINDOW * head.size)
            told[f"perplexity{end}"] = perplexity(head.recent)
    return told
