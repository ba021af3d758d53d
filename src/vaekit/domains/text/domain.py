"""Text as a domain: one sentence a line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vaekit.atomic import write_lines
from vaekit.datasets.dataset import Line, Record, RecordFormat, Splits, TextRow
from vaekit.datasets.open import TEXT_SUFFIXES
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import Schema
from vaekit.domains.in_memory import InMemoryDomain
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemValues
from vaekit.domains.lossless_lines import LosslessLines
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.text.byte_pairs import BYTES as FEWEST
from vaekit.domains.text.fit import fit
from vaekit.domains.text.measures import bleu_of, tokenization, word_counts
from vaekit.domains.text.schema import KINDS, TextSchema, schema_from, sentence_of, text_of
from vaekit.domains.text.similarity import WORDS_KEPT
from vaekit.domains.text.units import BPE, WORDS
from vaekit.domains.token_measures import sequence_measures, token_errors
from vaekit.domains.token_source import token_training_data
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.measures import ItemMeasure
from vaekit.training.data import TrainingData
from vaekit.vae import VAE

LINE_END = re.compile("[\n\r]+")


@dataclass(frozen=True)
class TextSettings:
    """The table [data] of a recipe for text."""

    unit: str = WORDS
    """What a token is: "words" (and punctuation marks), "bpe" (frequent byte sequences), "bytes" or "characters"."""
    vocabulary: int = 10_000
    """The maximum number of different tokens; rarer ones are unknown."""
    min_count: int = 1
    """How often a token has to occur to be known."""
    lowercase: bool = False
    """Convert sentences to lower case."""
    length: int = 64
    """The maximum number of tokens in a sentence; longer ones are left out."""
    column: str | None = None
    """The column of tables with the sentences; None for `text`, `sentence`, or the only column of text."""
    held_out: float | None = None
    """Sentences that are never trained on: how many, or below 1 which share. None: one in twenty, at most 256."""

    def __post_init__(self) -> None:
        if self.unit not in KINDS:
            raise ValueError(f"unit is {self.unit!r}, and not one of {', '.join(KINDS)}")
        for name in ("vocabulary", "length", "min_count"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}, and not 1 or more")
        if self.unit == BPE and self.vocabulary < FEWEST:
            raise ValueError(f"a vocabulary of byte pairs has at least {FEWEST} tokens, which are the bytes")


class Text(InMemoryDomain):
    """Sentences in text files, and in columns of tables."""

    def fit(self, settings: TextSettings, records: Iterator[Record]) -> TextSchema:
        return fit(
            records,
            settings.unit,
            settings.vocabulary,
            settings.length,
            settings.lowercase,
            settings.min_count,
            settings.column,
        )

    def read_schema(self, plain: Mapping[str, Any]) -> TextSchema:
        return schema_from(plain)

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        """Sentences in small integer types."""
        assert isinstance(schema, TextSchema)
        return token_training_data(
            splits, schema, schema.table.size, self.settings_from(table).held_out, self.items, log
        )

    def original(self, record: Record, schema: Schema) -> str:
        """A sentence of any length; empty if a row has none."""
        assert isinstance(schema, TextSchema) and isinstance(record, Line | TextRow)
        return text_of(record, schema.column) or ""

    def lossless(self, schema: Schema) -> LosslessLines:
        assert isinstance(schema, TextSchema)
        return LosslessLines(schema.length, schema.table.size, partial(sentence_of, column=schema.column))

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        return token_errors(self.item, self.items)

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        assert isinstance(schema, TextSchema)
        measured = super().measures(vae, schema, options, device)
        every, missing = sequence_measures(vae, measured, self.item, tokenization(schema), partial(word_counts, schema))
        return Measures(every.items, (*every.pooled, bleu_of(schema))), missing

    def write(self, items: Sequence[str], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """One sentence a line."""
        write_lines(path, map(on_one_line, items))

    def write_pairs(
        self,
        originals: Sequence[str],
        results: Sequence[str],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """One pair a line, with a tab between the sentences."""
        pairs = zip(map(on_one_line, originals), map(on_one_line, results), strict=True)
        write_lines(path, ["\t".join(pair) for pair in pairs])


def on_one_line(sentence: str) -> str:
    """A sentence without line ends, which generated bytes and characters may contain."""
    return LINE_END.sub(" ", sentence)


SENTENCES = RecordFormat("sentences", (Line, TextRow), TEXT_SUFFIXES, columns=("text", "sentence"))
TEXT = Text(
    *("text", "sentence", "sentences", SENTENCES, ".txt", TextSettings),
    samples_vary=True,
    is_text=True,
    similarity=WORDS_KEPT,
    placeholder=str,  # the sentence itself
)
