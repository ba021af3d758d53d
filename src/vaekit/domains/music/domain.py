"""Symbolic music as a domain."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Parsed, Record, Splits
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.domains.domain import LoadedItems, Schema
from vaekit.domains.files import ItemFiles
from vaekit.domains.in_memory import InMemoryDomain
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemValues
from vaekit.domains.listening import Listening
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.music.drawings import roll, sheet
from vaekit.domains.music.excerpts import Excerpt
from vaekit.domains.music.fit import fit, schema_of, training_data
from vaekit.domains.music.lossless import LosslessExcerpts
from vaekit.domains.music.measures import excerpt_errors, teacher_forced
from vaekit.domains.music.properties import EQUAL_STEPS, PROPERTIES
from vaekit.domains.music.sample_quality import MusicComparison
from vaekit.domains.music.schema import MusicSchema, excerpt_of, schema_from
from vaekit.domains.music.settings import MusicSettings
from vaekit.domains.music.sound import render, wav
from vaekit.domains.music.sources import FORMAT, open_music
from vaekit.domains.music.windows import windows
from vaekit.domains.music.write import numbered, write_rows
from vaekit.domains.record_files import RecordFiles
from vaekit.domains.sample_quality import CompareSamples
from vaekit.domains.token_measures import sequence_measures
from vaekit.errors import NoTrainingData
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.measures import ItemMeasure
from vaekit.runtime.engine import Engine
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
        """Meter and steps."""
        return item.text

    def lossless(self, schema: Schema) -> LosslessExcerpts:
        assert isinstance(schema, MusicSchema)
        return LosslessExcerpts(schema.length, schema.table.size, schema.tempo)

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        assert isinstance(schema, MusicSchema)
        return excerpt_errors(schema)

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        assert isinstance(schema, MusicSchema)
        every, missing = super().measures(vae, schema, options, device)
        every = Measures((*every.items, teacher_forced(schema)), every.pooled)
        tokens = f"{schema.table.size:,} of {schema.kind}, {schema.per_quarter} steps per quarter note"
        return sequence_measures(vae, (every, missing), self.item, tokens)

    def files(self, engine: Engine, schema: Schema) -> ItemFiles:
        measures = (self.reconstruction_measures(schema), self.part_measures(schema))
        return MusicFiles(self, engine, schema, *measures, self.placeholder)

    def sample_comparison(self, path: Path, schema: Schema) -> CompareSamples:
        """The data are those that the VAE was trained on, too."""
        return self.sample_evaluation(path, path, schema)

    def sample_evaluation(self, data: Path, trained_on: Path | None, schema: Schema) -> CompareSamples:
        assert isinstance(schema, MusicSchema)
        excerpts = [excerpt for excerpt in self._excerpts(data, schema, hop=0) if not schema.problem(excerpt)]
        if not excerpts:
            raise NoTrainingData(f"{data} has no excerpt that this VAE takes.", "", "Check the path.")
        known = None
        if trained_on is not None:
            known = frozenset(excerpt.text for excerpt in self._excerpts(trained_on, schema, hop=1))
        return MusicComparison(excerpts, known)

    def _excerpts(self, path: Path, schema: MusicSchema, hop: int) -> list[Excerpt]:
        """Those at a path that fit the grid."""
        pieces = self.open(path, SkipLog()).train
        return windows(pieces, range(len(pieces)), replace(schema.cut, hop=hop), SkipLog()).excerpts()

    def write(self, items: Sequence[Excerpt], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """One MIDI file with all excerpts, one after the other; beside it .wav, .png and .html."""
        write_rows(numbered(items, value_texts(captions.values)), path)

    def write_pairs(
        self,
        originals: Sequence[Excerpt],
        results: Sequence[Excerpt],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """The same with each excerpt and its result behind it; on the page they are side by side."""
        texts = [value_texts((values,)) for values in measured or ()]
        before, after = texts or ([""] * len(originals), [""] * len(results))
        every = zip(originals, tempo_of(originals, results), before, after, strict=True)
        rows = [
            (f"{number}", [(f"original {old}", one), (f"result {new}", other)])
            for number, (one, other, old, new) in enumerate(every, 1)
        ]
        write_rows(rows, path, columns=2)

    def write_many(self, items: Iterable[Excerpt], folder: Path, name: str, schema: Schema) -> Sequence[Path]:
        """One MIDI file, and what is beside it."""
        return write_rows(numbered(list(items)), folder / f"{name}{self.ending}")

    def write_grid(
        self, rows: Iterable[tuple[str, Sequence[Excerpt]]], folder: Path, name: str, schema: Schema
    ) -> Sequence[Path]:
        """The same, with a row of the page for each row."""
        cells = [(row, [("", item) for item in items]) for row, items in rows]
        widest = max((len(each) for _, each in cells), default=1)
        return write_rows(cells, folder / f"{name}{self.ending}", widest)

    def preview(self, items: Sequence[Excerpt]) -> Tensor:
        return sheet(items)


@dataclass(frozen=True, eq=False)
class MusicFiles(RecordFiles):
    """Files of music; what is decoded keeps the tempo of the file, which tokens do not have."""

    def in_order(
        self, loaded: LoadedItems, results: Sequence[Excerpt]
    ) -> tuple[Sequence[Excerpt], Sequence[Excerpt], Sequence[str]]:
        return super().in_order(loaded, tempo_of(loaded.originals, results))


def tempo_of(originals: Sequence[Excerpt], results: Sequence[Excerpt]) -> list[Excerpt]:
    """Results with the tempos of their originals."""
    return [replace(result, tempo=original.tempo) for original, result in zip(originals, results, strict=True)]


def value_texts(values: Sequence[ItemValues]) -> list[str]:
    """The values of items as a caption of each."""
    texts = [[f"{each.name} {value:.3g}" for value in each.values] for each in values]
    return [", ".join(each) for each in zip(*texts, strict=True)]


def listen(item: Excerpt, schema: Schema) -> Listening:
    """What an excerpt sounds like, and its piano roll."""
    del schema
    image = torch.from_numpy(roll(item)).permute(2, 0, 1).float() / 127.5 - 1
    return Listening(wav(render([item])), "audio/wav", item.seconds, image)


def same(excerpt: Excerpt) -> Excerpt:
    """What `reconstruct` writes in place of an excerpt that does not fit: the rests that it was read as."""
    return excerpt


MUSIC = Music(
    *("music", "excerpt", "excerpts", FORMAT, ".mid", MusicSettings),
    computing=("torch", "numpy"),
    similarity=EQUAL_STEPS,
    listen=listen,
    properties=PROPERTIES,
    placeholder=same,
    samples_vary=True,
)
