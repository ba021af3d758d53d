"""Measures of token sequences and their reconstructions, for every domain of discrete sequences."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from vaekit.distributions.sequences import before_padding
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure


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
