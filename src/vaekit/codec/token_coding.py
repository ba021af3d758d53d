"""Sequences of tokens for bits-back coding: a step for each token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.bits_back import Steps
from vaekit.codec.cells import Cells
from vaekit.codec.types import Integers
from vaekit.codec.vae_coding import LatentCoding
from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import END, before_padding
from vaekit.errors import BadPlan

TOKEN, MOST_TOKENS = "<u2", 2**16
"""The dtype of a token in bytes, and the size of a vocabulary."""


def padded(x: Tensor) -> Tensor:
    """Tokens (b, t) with END in all places after the first one."""
    return torch.where(before_padding(x), x, END)


@dataclass(frozen=True)
class TokenCells:
    """The next token of each sequence of a batch; of those that have ended, END alone."""

    cumulative_probabilities: Tensor
    """Of each token and those before it, (b, vocabulary)."""
    running: Tensor
    """Which sequences go on, (b,)."""

    @property
    def counts(self) -> Integers:
        return np.where(self.running.numpy(), self.cumulative_probabilities.shape[1], 1)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        return self.cumulative_probabilities[chosen, edges - 1]


class TokenSteps:
    """Token by token, in order: `cells` is called once for each step.

    Args:
        likelihood: of a batch.
    """

    def __init__(self, likelihood: AutoregressiveCategorical) -> None:
        self._likelihood = likelihood
        self._hidden, self._state = likelihood.model.start(likelihood.context)
        self._running = torch.ones(len(likelihood.context), dtype=torch.bool)

    @torch.no_grad()
    def cells(self, before: Sequence[Integers]) -> Cells | None:
        p = self._likelihood
        if before:
            tokens = torch.from_numpy(before[-1])
            self._running = self._running if p.end is None else self._running & (tokens != p.end)
            if len(before) < p.length and self._running.any():
                self._hidden, self._state = p.model.step(tokens, self._state)
        if len(before) == p.length or not self._running.any():
            return None
        logits = p.model.logits(self._hidden).double()
        return TokenCells(logits.softmax(dim=-1).cumsum(dim=-1), self._running)

    def divide(self, x: Tensor) -> list[Integers]:
        counted = before_padding(x) if self._likelihood.end is not None else torch.ones_like(x, dtype=torch.bool)
        longest = int(counted.sum(dim=1).max())
        return [column.numpy() for column in x[:, :longest].unbind(dim=1)]

    def join(self, values: Sequence[Integers]) -> Tensor:
        tokens = torch.from_numpy(np.stack(values, axis=1))
        padded = torch.full((len(tokens), self._likelihood.length), END, dtype=torch.long)
        padded[:, : tokens.shape[1]] = tokens
        return padded


@dataclass(frozen=True)
class TokenCoding(LatentCoding):
    """A VAE of sequences."""

    length: int
    vocabulary: int

    def __post_init__(self) -> None:
        if self.vocabulary > MOST_TOKENS:
            raise BadPlan(
                f"The vocabulary has {self.vocabulary:,} tokens.",
                f"Lossless compression has {MOST_TOKENS:,} at most.",
                "Train a VAE with a smaller one: data.vocabulary.",
            )

    def canonical(self, x: Tensor) -> Tensor:
        return padded(x)

    def plain(self, x: Tensor) -> bytes:
        return x.numpy().astype(TOKEN).tobytes()

    def from_plain(self, content: bytes, items: int) -> Tensor:
        tokens = np.frombuffer(content, TOKEN).astype(np.int64)
        if len(tokens) != items * self.length or (len(tokens) and tokens.max() >= self.vocabulary):
            raise ValueError("the sequences have other sizes")
        return torch.from_numpy(tokens).view(items, self.length)

    @torch.no_grad()
    def likelihood(self, latent: Integers, batch: int) -> Steps:
        found = self.conditional(latent, batch)
        if not isinstance(found, AutoregressiveCategorical):
            raise BadPlan(f"A likelihood of the kind {type(found).__name__} gives tokens no probabilities.", "", "")
        return TokenSteps(found)
