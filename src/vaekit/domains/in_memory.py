"""Domains whose items are small enough to be kept in memory as one tensor, such as rows and sentences."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset, Record, RecordFormat, Splits, Unchecked
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.distributions import DiagonalGaussian
from vaekit.domains.attribution import Attribution, Explanation, Reason
from vaekit.domains.domain import ItemStream, Listen, LoadedItems, Schema, SequenceWriter, Show, TermSettings
from vaekit.domains.files import ItemFiles
from vaekit.domains.fitting import FitOptions, Fitting
from vaekit.domains.imputation import Imputer
from vaekit.domains.item_batches import item_stream, open_items
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemSimilarity, ItemValues, MeasureItems
from vaekit.domains.lossless import LosslessItems
from vaekit.domains.measuring import EvaluationItems, MeasureOptions
from vaekit.domains.one_size import OneSize, refuse_sizes
from vaekit.domains.record_files import RecordFiles
from vaekit.domains.record_tensors import kept_records, tensor_of, training_tensors
from vaekit.domains.sample_quality import CompareSamples
from vaekit.domains.token_explanation import HasTokens, explain_tokens
from vaekit.domains.unknown_tokens import UnknownTokens
from vaekit.errors import (
    BadCheckpoint,
    BadItem,
    BadRecipe,
    CannotWrite,
    NotFound,
    VaekitError,
    counted,
    printable,
)
from vaekit.evaluation.code_use import HasCodes, code_use
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.latent_information import latent_information
from vaekit.evaluation.measures import ItemMeasure, PooledMeasure, evidence, rate
from vaekit.evaluation.perception import Perception
from vaekit.evaluation.vae_pass import EngineRunner, VAERunner
from vaekit.geometry import Geometry
from vaekit.records import from_dict
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.training.data import TrainingData
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

NLL_SAMPLES = 64
"""The default number of samples of the posterior for ELBO and NLL."""
NO_PRIOR = "The encoder of this VAE gives a point and no distribution."


@dataclass(frozen=True)
class InMemoryDomain(ABC):
    """A domain with one tensor for all items, run in whole batches."""

    name: str
    item: str
    items: str
    records: RecordFormat
    ending: str
    settings: type[Any]
    """The record of the recipe's [data]; has a field `held_out`."""
    computing: tuple[str, ...] = ("torch", "numpy")
    batch_size: int = 1024
    samples_vary: bool = False
    is_text: bool = False
    similarity: ItemSimilarity | None = None
    listen: Listen | None = None
    properties: Mapping[str, MeasureItems] = field(default_factory=dict)
    placeholder: Callable[[Any], Any] | None = None
    """What `reconstruct` writes in place of an item that cannot be read, given as its file has it; None to leave such
    items out."""

    @property
    def suffixes(self) -> frozenset[str]:
        return self.records.suffixes

    @abstractmethod
    def fit(self, settings: Any, records: Iterator[Record]) -> Schema:
        """The schema of the records to train on.

        Raises:
            NoTrainingData: they do not suit the domain.
        """

    @abstractmethod
    def read_schema(self, plain: Mapping[str, Any]) -> Schema:
        """The schema that a file holds.

        Raises:
            ValueError: it is damaged.
        """

    @abstractmethod
    def original(self, record: Record, schema: Schema) -> Any:
        """A record as `write_pairs` writes it: exactly as it is in its file.

        Raises:
            BadItem: it has no such content.
        """

    @abstractmethod
    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        """Measures of items and their reconstructions."""

    def part_measures(self, schema: Schema) -> PooledMeasure | None:
        """Measures of single parts of items, the worst first; None where items have no parts with names."""
        del schema
        return None

    @abstractmethod
    def write(self, items: Sequence[Any], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """Write items; see `Domain.write`."""

    @abstractmethod
    def write_pairs(
        self,
        originals: Sequence[Any],
        results: Sequence[Any],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """Write items and their results; see `Domain.write_pairs`."""

    def text(self, item: Any) -> str | None:
        """Items that are text; domains with others override it."""
        return item if isinstance(item, str) else None

    def is_valid(self, item: Any) -> bool:
        """Everything that can be written."""
        del item
        return True

    def check_table(self, table: Mapping[str, Any]) -> None:
        self.settings_from(table)

    def settings_from(self, table: Mapping[str, Any]) -> Any:
        """The recipe's [data] as a record.

        Raises:
            BadRecipe: a value is unknown, of another type, or out of range.
        """
        try:
            settings = from_dict(self.settings, table)
            if settings.held_out is not None and settings.held_out < 0:
                raise ValueError("held_out is a number or a share")
        except ValueError as error:
            raise BadRecipe(f"In [data], {printable(str(error), 300)}.", "", "See docs/training.md.") from error
        return settings

    def open(self, path: Path, log: SkipLog) -> Splits:
        return open_dataset(path, self.records, log)

    def schema(self, table: Mapping[str, Any], splits: Splits, say: Callable[[str], None] = silent) -> Schema:
        settings = self.settings_from(table)
        return self.fit(settings, kept_records(splits, settings.held_out, self.items))

    def schema_from(self, plain: Mapping[str, Any], config: Any) -> Schema:
        try:
            schema = self.read_schema(plain)
            check_config(schema, config)
            return schema
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise BadCheckpoint(
                f"The file of this VAE holds no schema of {self.items} that makes sense: {printable(str(error), 200)}.",
                "Expected what vaekit writes when it trains one.",
                "Copy it again, or train it again.",
            ) from error

    def check_fit(self, schema: Schema, recipe: Recipe) -> None:
        """Check that the recipe does not override what follows from the data, such as the size of the vocabulary."""
        try:
            check_config(schema, recipe.config())
        except ValueError as error:
            raise BadRecipe(
                f"The VAE of the recipe {recipe.name} does not fit the data: {printable(str(error), 200)}.",
                "These keys follow from the data.",
                "Leave them out of [vae].",
            ) from error

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        return training_tensors(splits, schema, self.settings_from(table).held_out, self.items, log)

    def term_settings(self, recipe: Recipe, device: torch.device) -> TermSettings:
        return TermSettings()

    def board(self, folder: Path) -> Show | None:
        return None

    def evaluation_items(self, path: Path, vae: VAE, schema: Schema, options: MeasureOptions) -> EvaluationItems:
        splits = open_items(self, path, SkipLog(), schema)
        return evaluation_records(splits.train if splits.test is None else splits.test, schema)

    def files(self, engine: Engine, schema: Schema) -> ItemFiles:
        measures = (self.reconstruction_measures(schema), self.part_measures(schema))
        return RecordFiles(self, engine, schema, *measures, self.placeholder)

    def runner(self, vae: VAE, plan: Plan) -> tuple[VAERunner, Callable[[], Sequence[str]]]:
        engine = Engine(vae, replace(plan, batch_size=max(plan.batch_size, self.batch_size)))
        return EngineRunner(engine), lambda: engine.notes

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        latent, missing = latent_measures(vae, self.item, options.nll_samples)
        parts = self.part_measures(schema)
        pooled = latent.pooled if parts is None else (*latent.pooled, parts)
        return Measures((self.reconstruction_measures(schema), *latent.items), pooled), missing

    def held_out_measures(
        self, vae: VAE, schema: Schema, held_out: Tensor, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        return self.measures(vae, schema, MeasureOptions(), device)

    def perception(self, schema: Schema, options: MeasureOptions, device: torch.device) -> Perception:
        missing = dict.fromkeys(("features", "distance"), f"There are no features of {self.items}.")
        return Perception(metric=schema.example().is_floating_point(), missing=missing)

    def imputer(self, vae: VAE, schema: Schema) -> Imputer | None:
        return None

    def sample_comparison(self, path: Path, schema: Schema) -> CompareSamples | None:
        return None

    def sample_evaluation(self, data: Path, trained_on: Path | None, schema: Schema) -> CompareSamples | None:
        return None

    def read(self, path: Path, schema: Schema) -> LoadedItems:
        said: list[str] = []
        dataset = open_items(self, path, SkipLog(say=said.append), schema).train
        loaded = loaded_items(path, dataset, schema, partial(self.original, schema=schema))
        said += self._note_on_unknown(loaded.x, schema)
        return replace(loaded, notes={path.name: said} if said else {})

    def _note_on_unknown(self, x: Tensor, schema: Schema) -> tuple[str, ...]:
        """Whether the VAE knows few tokens of items."""
        unknown = UnknownTokens(schema, self.items)
        unknown.add(x)
        return unknown.note

    def read_all(
        self, paths: Sequence[Path], schema: Schema, geometry: Geometry, limit: int | None = None
    ) -> LoadedItems:
        said: dict[str, list[str]] = {path.name: [] for path in paths}
        opened = {path: open_items(self, path, SkipLog(say=said[path.name].append), schema).train for path in paths}
        files = [
            loaded_items(path, dataset, schema, partial(self.original, schema=schema), limit)
            for path, dataset in opened.items()
        ]
        skipped = {name: reason for file in files for name, reason in file.skipped.items()}
        if skipped:
            raise BadItem(
                f"{counted(len(skipped), self.item, self.items)} cannot be read.", next(iter(skipped.values())), ""
            )
        names = [name for file in files for name in file.names]
        originals = [original for file in files for original in file.originals]
        for path, file in zip(paths, files, strict=True):
            said[path.name] += self._note_on_unknown(file.x, schema)
        return LoadedItems(names, torch.cat([file.x for file in files]), originals=originals, notes=said)

    def batches(
        self,
        path: Path,
        schema: Schema,
        size: int,
        log: SkipLog,
        label: str | None = None,
        train: bool = False,
        keep: Sequence[str] = (),
    ) -> ItemStream:
        return item_stream(open_items(self, path, log, schema), schema, size, label, train, keep)

    def fitting(self, schema: Schema, geometry: Geometry, options: FitOptions) -> Fitting:
        refuse_sizes(options, self.items)
        return OneSize(schema, schema_digest(schema))

    def lossless(self, schema: Schema) -> LosslessItems | None:
        """None, unless a domain has one."""
        del schema
        return None

    def write_many(self, items: Iterable[Any], folder: Path, name: str, schema: Schema) -> Sequence[Path]:
        """One file."""
        path = folder / f"{name}{self.ending}"
        self.write(list(items), path, schema)
        return [path]

    def write_grid(
        self, rows: Iterable[tuple[str, Sequence[Any]]], folder: Path, name: str, schema: Schema
    ) -> Sequence[Path]:
        """One file per row, its items one after the other."""
        complete = dict(rows)
        paths = {row: folder / f"{name}-{row.replace(' ', '-')}{self.ending}" for row in complete}
        for row, items in complete.items():
            self.write(items, paths[row], schema)
        return list(paths.values())

    def sequence_writer(self, schema: Schema, animation: str | None) -> SequenceWriter:
        """Of one file."""
        if animation is not None:
            raise CannotWrite(
                f"There are no animations of {self.items}: {printable(animation)!r} is a format for images.",
                f"The {self.items} are written to one {self.ending} file.",
                "Omit --animation.",
            )
        return lambda items, folder, name: self.write_many(items, folder, name, schema)

    def explain(self, found: Attribution, schema: Schema, folder: Path | None) -> Explanation:
        """Tokens by their text, other elements by number; domains whose elements have names override it."""
        del folder
        if isinstance(schema, HasTokens):
            return explain_tokens(found, schema.table)
        values = [each.float().flatten().tolist() for each in (found.x, found.likelihood.mode, found.nats)]
        reasons = [
            Reason(f"value {number}", f"{value:.4g}", f"{expected:.4g}", nats)
            for number, (value, expected, nats) in enumerate(zip(*values, strict=True))
        ]
        ordered = sorted(reasons, key=lambda reason: -reason.nats)
        return Explanation(found.name, float(found.nats.double().sum()), ordered)

    def preview(self, items: Sequence[Any]) -> Tensor | None:
        return None


def evaluation_records(dataset: Dataset, schema: Schema) -> EvaluationItems:
    """All records of a data set as items of an evaluation."""
    numbers = {dataset.key(number): number for number in range(len(dataset))}
    return EvaluationItems(
        list(numbers),
        lambda name: schema.to_tensor([dataset.read(numbers[name])])[0],
        lambda names: digest_of_records(dataset, [numbers[name] for name in names]),
        {"schema": schema_digest(schema)},
    )


def schema_digest(schema: Schema) -> str:
    """SHA-256 of a schema."""
    return hashlib.sha256(json.dumps(schema.as_plain(), sort_keys=True).encode()).hexdigest()


def digest_of_records(dataset: Dataset, numbers: Sequence[int]) -> str:
    """SHA-256 over keys and contents of records; of those that cannot be read, over the reason."""
    whole = hashlib.sha256()
    for number in numbers:
        try:
            content = repr(dataset.read(number))
        except VaekitError as error:
            content = f"{dataset.key(number)}: {error}"
        whole.update(content.encode("utf-8", "backslashreplace") + b"\n")
    return whole.hexdigest()


def check_config(schema: Schema, config: Any) -> None:
    """Check that a schema is that of a network: what follows from the data is the same in both.

    Raises:
        ValueError: they differ.
    """
    built = asdict(config)
    for table, settings in schema.vae_settings().items():
        for name, value in settings.items():
            actual = built.get(table, {}).get(name)
            if (list(actual) if isinstance(actual, tuple) else actual) != value:
                raise ValueError(f"{table}.{name} is {actual} in the network and {value} by the schema")


def loaded_items(
    path: Path, dataset: Dataset, schema: Schema, original: Callable[[Record], Any], limit: int | None = None
) -> LoadedItems:
    """The items of a file that can be read, as tensors and as they are: all, or those among the first `limit`.

    Raises:
        BadItem: there are none.
    """
    log = SkipLog()
    count = len(dataset) if limit is None else min(len(dataset), limit)
    names = [dataset.key(number) for number in range(count)]
    x = tensor_of(dataset, np.arange(count), schema, log)
    if not len(x):
        among = "no item that can be read" if count == len(dataset) else f"no readable item among its first {count:,}"
        raise BadItem(f"{path} has {among}.", next(iter(log.reasons.values()), ""), "")
    read = [number for number, name in enumerate(names) if name not in log.reasons]
    originals = [original(dataset.read(number)) for number in read]
    unusable: dict[int, Any] = {}
    for number in sorted(set(range(count)).difference(read)):
        with suppress(BadItem, NotFound):
            unusable[number] = original(
                dataset.unchecked(number) if isinstance(dataset, Unchecked) else dataset.read(number)
            )
    places = {number: place for place, number in enumerate(sorted([*read, *unusable]))}
    others = {places[number]: item for number, item in unusable.items()}
    return LoadedItems([names[number] for number in read], x, dict(log.reasons), originals, others)


def latent_measures(vae: VAE, item: str, samples: int | None) -> tuple[Measures, dict[str, str]]:
    """Measures of the latents of any VAE: KL, ELBO and NLL if there is a prior; of Gaussian posteriors the mutual
    information, and the use of codes.

    Args:
        vae: the VAE.
        item: noun for units, such as `row`.
        samples: of each posterior, for ELBO and NLL; 0 leaves both out, None is `NLL_SAMPLES`.
    """
    prior, head, count = vae.prior, vae.to_posterior, NLL_SAMPLES if samples is None else samples
    items: list[ItemMeasure] = []
    missing: dict[str, str] = {}
    if prior is None:
        missing = dict.fromkeys(("kl", *(("elbo", "nll") if count else ())), NO_PRIOR)
    else:
        items = [rate(prior, item), *([evidence(prior, count, item)] if count else [])]
    pooled = [code_use(head)] if isinstance(head, HasCodes) else []
    if head == DiagonalGaussian.from_moments:
        pooled.append(latent_information())
    return Measures(tuple(items), tuple(pooled)), missing
