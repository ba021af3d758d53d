"""Measures of sentences: perplexity per word, and BLEU of reconstructions."""

import torch
from torch import Tensor

from vaekit.domains.text.schema import TextSchema
from vaekit.domains.text.units import BPE, BYTES, WORDS
from vaekit.domains.token_measures import SumPool
from vaekit.evaluation.measures import PooledMeasure, PooledResult, Result
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.bleu import bleu, counts_of
from vaekit.metrics.measure import Measure

BLEU = Measure(
    "bleu",
    "BLEU-4",
    "%",
    "higher",
    "BLEU of reconstructions, over all of them, as sacrebleu computes it: tokens 13a, case kept, smoothing exp.",
)


def tokenization(schema: TextSchema) -> str:
    """What the tokens of a schema are, a phrase."""
    kinds = {WORDS: "words and punctuation marks" if schema.punctuation else "words between white space"}
    lower = " in lower case" if schema.lowercase else ""
    count = "" if schema.unit == BYTES else f"{len(schema.tokens):,} "
    return f"{count}{kinds.get(schema.unit, schema.noun)}{lower}{'' if schema.unit in (BPE, BYTES) else ' and unknown'}"


def word_counts(schema: TextSchema, x: Tensor) -> Tensor:
    """The number of words between white space of sentences (b, t), as integers (b,)."""
    return torch.tensor([len(text.split()) for text in schema.to_items(x)])


def bleu_of(schema: TextSchema) -> PooledMeasure:
    """BLEU-4 of reconstructions, where unknown tokens are U+FFFD in both texts."""

    def rows(vae_pass: VAEPass) -> Tensor:
        pairs = zip(schema.to_items(vae_pass.result), schema.to_items(vae_pass.x), strict=True)
        return torch.tensor([counts_of(result, original) for result, original in pairs], dtype=torch.float32)

    def result(sums: Tensor, count: int) -> PooledResult:
        return PooledResult((Result(BLEU, bleu(sums.tolist()), count=count),))

    return PooledMeasure(BLEU.name, rows, lambda: SumPool(result), {"tokens": "13a"})
