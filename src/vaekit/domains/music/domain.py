"""Symbolic music as a domain."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vaekit.datasets.dataset import Parsed, Record, Splits
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.domains.domain import Schema
from vaekit.domains.in_memory import InMemoryDomain
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemValues
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.music.excerpts import Excerpt
from vaekit.domains.music.fit import fit, schema_of, training_data
from vaekit.domains.music.schema import MusicSchema, excerpt_of, schema_from
from vaekit.domains.music.settings import MusicSettings
from vaekit.domains.music.similarity import PITCHES
from vaekit.domains.music.sources import FORMAT, open_music
from vaekit.domains.music.write import write_excerpts
from vaekit.domains.token_measures import sequence_measures, token_errors
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.measures import ItemMeasure
from vaekit.training.data import TrainingData
from vaekit.vae import VAE


class Music(InMemoryDomain):
    """Excerpts of pieces in MIDI, ABC and files of chorales."""

    def open(self, path: Path, log: SkipLog) -> Splits:
        """Pieces; `MusicSchema.divide` cuts them into excerpts."""
        return open_music(path, log)

    def schema(self, table: Mapping[str, Any], splits: Splits, say: Callable[[str], None] = silent) -> MusicSchema:
        return schema_of(self.settings_from(table), splits, SkipLog(say=say))

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        assert isinstance(schema, MusicSchema)
        return training_data(self.settings_from(table), splits, schema, log)

    def fit(self, settings: MusicSettings, records: Iterator[Record]) -> MusicSchema:
        return fit(settings, [excerpt_of(record)[1] for record in records])

    def read_schema(self, plain: Mapping[str, Any]) -> MusicSchema:
        return schema_from(plain)

    def original(self, record: Record, schema: Schema) -> Excerpt:
        """An excerpt."""
        assert isinstance(record, Parsed)
        return excerpt_of(record)[1]

    def text(self, item: Excerpt) -> str:
        """The steps."""
        return f"{item.meter} {item.steps}"

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        return token_errors(self.item, self.items)

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        assert isinstance(schema, MusicSchema)
        tokens = f"{schema.table.size:,} of {schema.kind}, {schema.per_quarter} steps per quarter note"
        return sequence_measures(vae, super().measures(vae, schema, options, device), self.item, tokens)

    def write(self, items: Sequence[Excerpt], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """One MIDI file with all excerpts, one after the other."""
        write_excerpts(items, path)

    def write_pairs(
        self,
        originals: Sequence[Excerpt],
        results: Sequence[Excerpt],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """One MIDI file: each excerpt, and its result behind it."""
        write_excerpts([each for pair in zip(originals, results, strict=True) for each in pair], path)


def same(excerpt: Excerpt) -> Excerpt:
    """What is written in place of an excerpt that does not fit: rests, so that the others stay in their places."""
    return excerpt


MUSIC = Music(
    *("music", "excerpt", "excerpts", FORMAT, ".mid", MusicSettings),
    computing=("torch", "numpy"),
    placeholder=same,
    samples_vary=True,
    similarity=PITCHES,
)
