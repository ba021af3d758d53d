"""Text as a domain: one sentence a line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.datasets.dataset import Line, Record, RecordFormat
from vaekit.datasets.text_lines import SUFFIXES
from vaekit.domains.domain import Schema
from vaekit.domains.in_memory import InMemoryDomain
from vaekit.domains.text.measures import SENTENCE_ERRORS
from vaekit.domains.text.schema import UNITS, TextSchema, fit, schema_from
from vaekit.evaluation.measures import ItemMeasure


@dataclass(frozen=True)
class TextSettings:
    """The table [data] of a recipe for text."""

    unit: str = "characters"
    """What a token is: "characters", or "words" between white space."""
    vocabulary: int = 10_000
    """The maximum number of different tokens; rarer ones are unknown."""
    length: int = 64
    """The maximum number of tokens in a sentence; longer ones are left out."""
    held_out: float | None = None
    """Sentences that are never trained on: how many, or below 1 which share. None: one in twenty, at most 256."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS or min(self.vocabulary, self.length) < 1:
            raise ValueError(f"unit is {' or '.join(UNITS)}, and vocabulary and length are 1 or more")


class Text(InMemoryDomain):
    """Sentences in text files."""

    def fit(self, settings: TextSettings, records: Iterator[Record]) -> TextSchema:
        return fit(records, settings.unit, settings.vocabulary, settings.length)

    def read_schema(self, plain: Mapping[str, Any]) -> TextSchema:
        return schema_from(plain)

    def original(self, record: Record) -> str:
        assert isinstance(record, Line)
        return record.text

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        return SENTENCE_ERRORS

    def write(self, items: Sequence[str], path: Path, schema: Schema) -> None:
        """One sentence a line."""
        write_lines(path, items)

    def write_pairs(self, originals: Sequence[str], results: Sequence[str], path: Path, schema: Schema) -> None:
        """One pair a line, with a tab between the sentences."""
        write_lines(path, [f"{one}\t{other}" for one, other in zip(originals, results, strict=True)])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    with atomic_file(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines), "utf-8")


TEXT = Text("text", "sentence", "sentences", RecordFormat("lines of text", (Line,), SUFFIXES), ".txt", TextSettings)
