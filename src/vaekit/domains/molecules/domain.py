"""Molecules as a domain."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.atomic import write_lines
from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Dataset, Record, Row, Splits
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.domains.domain import LoadedItems, Schema
from vaekit.domains.in_memory import InMemoryDomain, loaded_items
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemSimilarity, ItemValues
from vaekit.domains.lossless_lines import LosslessLines
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.molecules.chemistry import rdkit
from vaekit.domains.molecules.codecs import selfies
from vaekit.domains.molecules.drawings import captions, image, write_drawing
from vaekit.domains.molecules.measures import molecule_errors
from vaekit.domains.molecules.pairs import on_one_line, write_pairs
from vaekit.domains.molecules.properties import PROPERTIES
from vaekit.domains.molecules.records import FORMAT, line_of, name_of, no_column, open_molecules, text_of
from vaekit.domains.molecules.sample_quality import MOST, MoleculeComparison, known_molecules, some_molecules
from vaekit.domains.molecules.schema import MoleculeSchema, schema_from
from vaekit.domains.molecules.settings import MoleculeSettings
from vaekit.domains.molecules.similarity import tanimoto
from vaekit.domains.molecules.token_store import TokenStore, convert_all, token_store
from vaekit.domains.molecules.training_data import fit, source_of
from vaekit.domains.record_tensors import without_columns
from vaekit.domains.sample_quality import CompareSamples
from vaekit.domains.token_measures import sequence_measures
from vaekit.errors import BadItem, NotFound, NoTrainingData, counted
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.measures import ItemMeasure
from vaekit.training.data import TrainingData, describe_data
from vaekit.vae import VAE

INVALID_LINE = "\tinvalid"
"""The line of an invalid molecule: empty SMILES and a name, which RDKit and Open Babel read as an empty molecule."""


class Molecules(InMemoryDomain):
    """Molecules in SMILES files, SD files and tables."""

    def open(self, path: Path, log: SkipLog) -> Splits:
        return open_molecules(path, log)

    def schema(self, table: Mapping[str, Any], splits: Splits, say: Callable[[str], None] = silent) -> MoleculeSchema:
        settings = self.settings_from(table)
        check_column(splits.train, settings.column)
        kept, _ = split_held_out(splits, settings.held_out, self.items)
        store = self._store(splits.train, settings, say)
        return fit(store, kept, settings, say)

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        """The tokens of a memory map."""
        assert isinstance(schema, MoleculeSchema)
        settings = self.settings_from(table)
        kept, apart = split_held_out(splits, settings.held_out, self.items)
        store = self._store(splits.train, settings, log.say)
        train = source_of(store, splits.train, kept, schema, log)
        if not len(train):
            reason = next(iter(log.reasons.values()), "")
            raise NoTrainingData(f"None of {counted(len(kept), 'molecule')} can be trained on.", reason, "")
        others = splits.train if splits.test is None else splits.test
        if splits.test is not None:
            store = self._store(others, settings, log.say)
        held_out = source_of(store, others, apart, schema, log)
        evaluated = held_out.batch(torch.arange(len(held_out)), seed) if len(held_out) else None
        log.write()
        return TrainingData(train, evaluated, describe_data(splits, len(apart)))

    def _store(self, dataset: Dataset, settings: MoleculeSettings, say: Callable[[str], None]) -> TokenStore:
        return token_store(dataset, settings.codec, settings.normal, settings.column, say)

    def fit(self, settings: MoleculeSettings, records: Iterator[Record]) -> MoleculeSchema:
        texts = [text_of(record, settings.column) for record in records]
        store = convert_all(texts, settings.codec, settings.normal)
        return fit(store, np.arange(len(texts)), settings)

    def sample_comparison(self, path: Path, schema: Schema) -> CompareSamples:
        """The data are those that the VAE was trained on, too."""
        return self.sample_evaluation(path, path, schema)

    def sample_evaluation(self, data: Path, trained_on: Path | None, schema: Schema) -> CompareSamples:
        assert isinstance(schema, MoleculeSchema)
        store = self._whole_store(data, schema)
        known = None
        if trained_on is not None:
            same = store if trained_on == data else self._whole_store(trained_on, schema)
            known = known_molecules(same, schema.codec)
        return MoleculeComparison(some_molecules(store, schema.codec, MOST), known)

    def _whole_store(self, path: Path, schema: MoleculeSchema) -> TokenStore:
        """All molecules at a path.

        Raises:
            NotFound, NoTrainingData: there are none.
        """
        store = token_store(self.open(path, SkipLog()).train, schema.codec, schema.normal, schema.column, silent)
        if not len(store.flat):
            reason = store.message(0, "The first molecule")
            raise NoTrainingData(f"{path} has no molecule that can be read.", reason, "")
        return store

    def read_schema(self, plain: Mapping[str, Any]) -> MoleculeSchema:
        """Also checks once that the packages are there, instead of with each molecule."""
        rdkit()
        selfies()
        return schema_from(plain)

    def read(self, path: Path, schema: Schema) -> LoadedItems:
        """With all molecules that cannot be read; of those without a line, such as one with a NUL, an empty one."""
        said: list[str] = []
        dataset = self.open(path, SkipLog(say=said.append)).train
        loaded = loaded_items(path, dataset, schema, partial(self.original, schema=schema))
        skipped = [place for place in range(len(dataset)) if dataset.key(place) in loaded.skipped]
        return replace(
            loaded,
            unusable={place: loaded.unusable.get(place, "\t") for place in skipped},
            titles=[parts_of_original(original)[1] for original in loaded.originals],
            notes={path.name: said} if said else {},
        )

    def lossless(self, schema: Schema) -> LosslessLines:
        """The lines of files of SMILES; of others, SMILES and names."""
        assert isinstance(schema, MoleculeSchema)
        return LosslessLines(schema.length, schema.table.size, partial(line_of, column=schema.column))

    def is_valid(self, item: str) -> bool:
        return bool(item)

    def original(self, record: Record, schema: Schema) -> str:
        """The SMILES and the name in the file, each on one line."""
        assert isinstance(schema, MoleculeSchema)
        parts = text_of(record, schema.column), name_of(record)
        return "\t".join(map(on_one_line, parts))

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        assert isinstance(schema, MoleculeSchema)
        return molecule_errors(schema)

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        assert isinstance(schema, MoleculeSchema)
        symbols = f"{len(schema.tokens):,} symbols of {schema.codec.upper()}"
        return sequence_measures(vae, super().measures(vae, schema, options, device), self.item, symbols)

    def write(self, items: Sequence[str], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """One canonical SMILES a line; an invalid molecule is an empty one named `invalid`. Beside it, with the ending
        .svg, a drawing of the first ones."""
        write_lines(path, [item or INVALID_LINE for item in items])
        write_drawing(items, path.with_suffix(".svg"), notes=captions.titles, values=captions.values)

    def write_pairs(
        self,
        originals: Sequence[str],
        results: Sequence[str],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """A table and a drawing; see `pairs.write_pairs`."""
        write_pairs([parts_of_original(original) for original in originals], results, path, measured)

    def write_many(self, items: Iterable[str], folder: Path, name: str, schema: Schema) -> Sequence[Path]:
        """One file, and a drawing."""
        (path,) = super().write_many(items, folder, name, schema)
        return [path, path.with_suffix(".svg")]

    def write_grid(
        self, rows: Iterable[tuple[str, Sequence[str]]], folder: Path, name: str, schema: Schema
    ) -> Sequence[Path]:
        """One file per row, and a drawing of all."""
        complete = dict(rows)
        paths = {row: folder / f"{name}-{row.replace(' ', '-')}{self.ending}" for row in complete}
        for row, items in complete.items():
            write_lines(paths[row], [item or INVALID_LINE for item in items])
        every = [item for items in complete.values() for item in items]
        widest = max(map(len, complete.values()), default=1)
        notes = [note for row, items in complete.items() for note in (row, *[""] * (len(items) - 1))]
        return [*paths.values(), write_drawing(every, folder / f"{name}.svg", widest, notes)]

    def preview(self, items: Sequence[str]) -> Tensor:
        return image(items, captions(items))


def parts_of_original(original: str) -> tuple[str, str]:
    """The SMILES and the name of `Molecules.original`."""
    smiles, _, name = original.partition("\t")
    return smiles, name


def invalid(original: str) -> str:
    """What is written in place of a molecule that cannot be read."""
    del original
    return ""


def check_column(dataset: Dataset, column: str) -> None:
    """Check that data are a table with the column that a recipe names.

    Raises:
        NoTrainingData: they are not.
    """
    with suppress(BadItem, NotFound):
        record = dataset.read(0)
        if column and not isinstance(record, Row):
            raise without_columns(column, "molecules")
        if column and isinstance(record, Row) and column not in record.values:
            error = no_column(replace(record, name=record.name.rpartition(":")[0] or record.name), column)
            raise NoTrainingData(error.found, error.expected, error.remedy)


MOLECULES = Molecules(
    *("molecules", "molecule", "molecules", FORMAT, ".smi", MoleculeSettings),
    computing=("torch", "numpy", "rdkit"),
    similarity=ItemSimilarity("Tanimoto", tanimoto),
    properties=PROPERTIES,
    is_text=True,
    placeholder=invalid,
    samples_vary=True,
)
