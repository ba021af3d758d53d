"""Measures of token sequences and their reconstructions, for every domain of discrete sequences."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from vaekit.distributions import Likelihood
from vaekit.distributions.sequences import before_padding
from vaekit.domains.unknown_tokens import share_of_unknown, unknown_counts
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.measures import ItemMeasure, PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure
from vaekit.nets.sequence import NoEncoder
from vaekit.vae import VAE

PER_DIMENSION = "_bits_per_dimension"
"""The end of the names of quantities per value of an item, which padded sequences have no fixed number of."""
NLL = "nll"
"""The quantity that is divided by the number of tokens and words."""
CountWords = Callable[[Tensor], Tensor]
"""Sequences (b, t) -> the number of words of each, (b,)."""


def token_errors(item: str, items: str) -> ItemMeasure:
    """The shares of tokens and of items that come back.

    Args:
        item: noun for one item.
        items: its plural.
    """
    accuracy = Measure(
        "token_accuracy", "token accuracy", "", "higher", f"Share of a {item}'s tokens, with its end, that come back."
    )
    exact = Measure("exact_match", "exact match", "", "higher", f"Share of {items} that come back without an error.")
    return ItemMeasure((accuracy, exact), partial(_matches, accuracy.name, exact.name))


def _matches(accuracy: str, exact: str, vae_pass: VAEPass) -> Mapping[str, Tensor]:
    """Both measures of sequences (b, t)."""
    counted = before_padding(vae_pass.x)
    hits = ((vae_pass.result == vae_pass.x) & counted).sum(dim=1)
    count = counted.sum(dim=1)
    return {accuracy: hits / count, exact: (hits == count).to(torch.float32)}


def sequence_measures(
    vae: VAE,
    measured: tuple[Measures, dict[str, str]],
    item: str,
    tokenization: str,
    count_words: CountWords | None = None,
) -> tuple[Measures, dict[str, str]]:
    """Measures of any VAE, see `Domain.measures`, for padded sequences; see `of_tokens`. The NLL of a language model is
    exact."""
    measures, missing = measured
    if is_language_model(vae):
        measures = Measures((*measures.items, exact_nll(item)), measures.pooled)
        missing = {name: reason for name, reason in missing.items() if name != NLL}
    return of_tokens(measures, item, tokenization, count_words), missing


def of_tokens(measures: Measures, item: str, tokenization: str, count_words: CountWords | None = None) -> Measures:
    """Measures of latents for padded sequences: without quantities per dimension, and with the NLL, where it is among
    them, for each token and for each word.

    Args:
        measures: of any VAE.
        item: noun for one item.
        tokenization: what a token is, a phrase.
        count_words: of sequences; None where items have no words.
    """
    items, pooled = list[ItemMeasure](), list(measures.pooled)
    for measure in measures.items:
        wanted = tuple(each for each in measure.quantities if not each.name.endswith(PER_DIMENSION))
        compute = OncePerPass(measure.compute, frozenset(each.name for each in wanted))
        items.append(replace(measure, quantities=wanted, compute=compute))
        if any(each.name == NLL for each in wanted):
            pooled.append(nll_of_parts(compute, item, tokenization, count_words, measure))
    return Measures(tuple(items), (*pooled, unknown_tokens(tokenization)))


def exact_nll(item: str) -> ItemMeasure:
    """The NLL of a language model: a decoder whose latents do not depend on the data.

    Args:
        item: noun for one item.
    """
    nll = Measure(
        NLL,
        "NLL",
        f"nats per {item}",
        "lower",
        "-log p(x), which is exact: the latents of this VAE are the same for all data, as in a language model.",
    )
    return ItemMeasure((nll,), lambda vae_pass: {NLL: -likelihood_of(vae_pass).log_prob(vae_pass.x).double()})


def likelihood_of(vae_pass: VAEPass) -> Likelihood:
    """p(x|z) at the latents of a pass."""
    return vae_pass.runner.likelihood(vae_pass.latents, vae_pass.x)


def is_language_model(vae: VAE) -> bool:
    """Whether the latents of a VAE are the same for all data, without noise."""
    return isinstance(vae.encoder, NoEncoder) and vae.prior is None


@dataclass(eq=False)
class OncePerPass:
    """Values that two measures share, computed once for each batch."""

    compute: Callable[[VAEPass], Mapping[str, Tensor]]
    names: frozenset[str]
    """Of the values that are kept."""
    _last: tuple[VAEPass, Mapping[str, Tensor]] | None = field(default=None, init=False)

    def __call__(self, vae_pass: VAEPass) -> Mapping[str, Tensor]:
        if self._last is None or self._last[0] is not vae_pass:
            values = self.compute(vae_pass)
            self._last = vae_pass, {name: each for name, each in values.items() if name in self.names}
        return self._last[1]


def nll_of_parts(
    values: OncePerPass, item: str, tokenization: str, count_words: CountWords | None, measure: ItemMeasure
) -> PooledMeasure:
    """The NLL of all items, divided by the number of their tokens, and as a perplexity by that of their words."""
    per_token = Measure(
        "nll_per_token",
        "NLL",
        "nats per token",
        "lower",
        f"The NLL of all {item}s, divided by the number of their tokens and ends. Tokens: {tokenization}.",
    )
    perplexity = Measure(
        "word_perplexity",
        "perplexity",
        "per word",
        "lower",
        f"exp of the NLL of all {item}s, divided by the number of their words and ends. Words are what is between "
        f"white space, whatever the tokens are ({tokenization}).",
    )

    def rows(vae_pass: VAEPass) -> Tensor:
        words = torch.zeros(len(vae_pass.x)) if count_words is None else count_words(vae_pass.x) + 1
        tokens = before_padding(vae_pass.x).sum(dim=1)
        return torch.stack([values(vae_pass)[NLL].cpu().float(), tokens.cpu().float(), words.cpu().float()], dim=1)

    def result(sums: Tensor, count: int) -> PooledResult:
        nll, tokens, words = sums.tolist()
        results = [Result(per_token, nll / tokens, count=count)]
        if count_words is not None:
            results.append(Result(perplexity, exp(nll / words), count=count))
        return PooledResult(tuple(results))

    settings = {"tokens": tokenization, **measure.settings}
    return PooledMeasure(per_token.name, rows, lambda: SumPool(result), settings)


def unknown_tokens(tokenization: str) -> PooledMeasure:
    """The share of tokens that are not in the vocabulary. They are easy to predict: the likelihood of items with many
    of them is too high."""
    share = share_of_unknown(tokenization)

    def rows(vae_pass: VAEPass) -> Tensor:
        return unknown_counts(vae_pass.x).float()

    def result(sums: Tensor, count: int) -> PooledResult:
        unknown, every = sums.tolist()
        return PooledResult((Result(share, 100 * unknown / every if every else 0.0, count=count),))

    return PooledMeasure(share.name, rows, lambda: SumPool(result))


@dataclass(eq=False)
class SumPool:
    """A pooled measure that is a function of the sums of rows."""

    of_sums: Callable[[Tensor, int], PooledResult]
    """(sums (n,), the number of items) -> the results."""
    sums: Tensor | None = field(default=None, init=False)
    items: int = field(default=0, init=False)

    def add(self, rows: Tensor) -> None:
        for row in rows.double():  # one by one, so that rounding does not depend on the division into batches
            self.sums = row.clone() if self.sums is None else self.sums + row
        self.items += len(rows)

    def result(self) -> PooledResult:
        return PooledResult() if self.sums is None else self.of_sums(self.sums, self.items)


def exp(value: float) -> float:
    """exp, infinite where it is too large."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
