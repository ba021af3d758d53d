"""Measures of sentences and their reconstructions."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vaekit.domains.text.schema import END
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure

ACCURACY = Measure(
    "token_accuracy", "token accuracy", "", "higher", "Share of a sentence's tokens, with its end, that come back."
)
EXACT = Measure("exact_match", "exact match", "", "higher", "Share of sentences that come back without an error.")


def matches(vae_pass: VAEPass) -> Mapping[str, Tensor]:
    """Both measures of sentences (b, t)."""
    same = vae_pass.result == vae_pass.x
    ends = (vae_pass.x == END).to(torch.long)
    counted = ends.cumsum(dim=1) - ends == 0  # up to the first end, which is one of them
    hits = (same & counted).sum(dim=1)
    count = counted.sum(dim=1)
    return {ACCURACY.name: hits / count, EXACT.name: (hits == count).to(torch.float32)}


SENTENCE_ERRORS = ItemMeasure((ACCURACY, EXACT), matches)
