"""The interface of a domain: find items of one kind, convert them to tensors and back, write and measure them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.datasets.dataset import Record, Splits
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.domains.attribution import Attribution, Explanation
from vaekit.domains.files import ItemFiles
from vaekit.domains.fitting import FitOptions, Fitting
from vaekit.domains.imputation import Imputer
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemSimilarity, ItemValues, MeasureItems
from vaekit.domains.listening import Listening
from vaekit.domains.lossless import LosslessItems
from vaekit.domains.measuring import EvaluationItems, MeasureOptions
from vaekit.domains.sample_quality import CompareSamples
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.perception import Perception
from vaekit.evaluation.vae_pass import VAERunner
from vaekit.geometry import Geometry
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.training.data import TrainingData
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

Show = Callable[[VAE, Tensor, int], Mapping[str, Tensor]]
"""(VAE, held-out items, samples seen) -> images (3, h, w) in [-1, 1] by name; see `Run.show`."""

SequenceWriter = Callable[[Iterable[Any], Path, str], Sequence[Path]]
"""(items in order, a folder, a name without ending) -> the files that were written; CannotWrite if the disk is full.
Nothing is written before the last item is there."""


@dataclass(frozen=True, eq=False)
class LoadedItems:
    """Items of a file that a user names."""

    names: Sequence[str]
    x: Tensor
    """(b, ...), as the VAE takes them."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Name to reason, for items that cannot be read."""
    originals: Sequence[Any] = ()
    """The items as the file has them, before they became tensors, where the domain keeps them."""
    unusable: Mapping[int, Any] = field(default_factory=dict)
    """Skipped items as the file has them, by position among these and the originals, where the domain keeps them."""
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name of an item or a file -> how it was read or changed, for the user."""
    titles: Sequence[str] = ()
    """Names that people gave the items, "" for none; empty where items have no such names."""


@dataclass(frozen=True, eq=False)
class ItemBatch:
    """Consecutive items of a data set."""

    names: Sequence[str]
    """Of all of them."""
    x: Tensor
    """(b, ...), as the VAE takes them; of items with problems, any values."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Reasons, by position, for items that cannot be read."""
    labels: Sequence[str | None] | None = None
    """Of all of them, if they were requested."""
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other columns of the data that were requested, as text; empty for missing values."""


@dataclass(frozen=True, eq=False)
class ItemStream:
    """The items of a data set, batch by batch."""

    batches: Iterator[ItemBatch]
    total: int | None = None
    """The number of items, if it is known in advance."""
    labels: frozenset[str] = frozenset()
    """The distinct labels, if they were requested and are known in advance."""
    fraction: Callable[[], float] | None = None
    """The share of the data that has been read, from 0 to 1, if `total` is not known."""

    def expected_total(self, done: int) -> int:
        """The number of items, known or estimated after `done` items."""
        if self.total is not None:
            return self.total
        fraction = 1.0 if self.fraction is None else self.fraction()
        return max(done, round(done / fraction)) if fraction > 0 else done


@dataclass(frozen=True)
class TermSettings:
    """Objects that terms of an objective need and a recipe cannot hold, such as a perceptual network."""

    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For `Recipe.objective`: settings by kind of term."""
    description: Mapping[str, str] = field(default_factory=dict)
    """Part of the identity of a run."""


@runtime_checkable
class Schema(Protocol):
    """Converts items of one data set to tensors and back."""

    def as_plain(self) -> dict[str, Any]:
        """As JSON holds it; `Domain.schema_from` reads it."""

    def vae_settings(self) -> dict[str, Any]:
        """Settings for a recipe's [vae] that depend on the data; empty if there are none."""

    def example(self) -> Tensor:
        """A tensor (1, ...) of the shape and dtype of an item."""

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Items as the VAE takes them, (b, ...).

        Raises:
            BadItem, NotFound: one cannot be read, or does not fit the schema.
        """

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        """Items for a comparison: whole images as squares of this side, of other domains the same as `to_tensor`.

        Raises:
            BadItem, NotFound: see `to_tensor`.
        """

    def to_items(self, x: Tensor) -> Sequence[Any]:
        """The inverse: items of the domain, one for each in the batch (b, ...)."""

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        """What a named property of items is: a differentiable function from items (b, ...), or from what is expected of
        them (see `vaekit.distributions.expectation`), to values (b,).

        Raises:
            NotFound: items have no such property.
        """


Listen = Callable[[Any, Schema], Listening]
"""(an item, its schema) -> what people hear and see of it; MissingPackage if a package is not installed."""


@runtime_checkable
class DividesRecords(Protocol):
    """A schema whose items are parts of records, such as a few bars of a piece of music."""

    def divide(self, splits: Splits, log: SkipLog) -> Splits:
        """The items of records, as data sets of their own.

        Args:
            splits: of records, as `Domain.open` returns them.
            log: for records that cannot be read, and messages about them.
        """


@runtime_checkable
class Domain(Protocol):
    """A kind of data. What it does not have, it leaves empty."""

    @property
    def name(self) -> str:
        """As in a recipe: "images"."""

    @property
    def item(self) -> str:
        """Noun for messages: "image"."""

    @property
    def items(self) -> str:
        """Its plural."""

    @property
    def suffixes(self) -> frozenset[str]:
        """The suffixes of files that a user may name, lower case, with the dot."""

    @property
    def computing(self) -> tuple[str, ...]:
        """The libraries that measurements depend on."""

    @property
    def ending(self) -> str:
        """The suffix of written files, with the dot."""

    @property
    def batch_size(self) -> int:
        """Items that an engine runs at once by default."""

    @property
    def samples_vary(self) -> bool:
        """Whether the values of samples are drawn from p(x|z), as those of data vary; else the mode is taken, as noise
        in pixels is nothing to look at."""

    @property
    def is_text(self) -> bool:
        """Whether items are short texts (`str`), which people give and read on the command line."""

    @property
    def similarity(self) -> ItemSimilarity | None:
        """The measure of similarity of items that people of the domain use; None where there is none."""

    @property
    def listen(self) -> Listen | None:
        """What makes items audible; None where they are no sounds and make none."""

    @property
    def properties(self) -> Mapping[str, MeasureItems]:
        """Properties of items by name that are computed without gradients; those with gradients are the schema's."""

    def text(self, item: Any) -> str | None:
        """An item as one line of text, the same for equal items; None where items cannot be compared."""

    def is_valid(self, item: Any) -> bool:
        """Whether an item that a VAE wrote is one of the domain."""

    def check_table(self, table: Mapping[str, Any]) -> None:
        """Check the recipe's [data], without the domain, before data are opened.

        Raises:
            BadRecipe: the table makes no sense.
        """

    def open(self, path: Path, log: SkipLog) -> Splits:
        """The data at a path; see `open_dataset`. Its records are items, or are divided into items by a schema: see
        `open_items`."""

    def schema(self, table: Mapping[str, Any], splits: Splits, say: Callable[[str], None] = silent) -> Schema:
        """The schema of a data set.

        Args:
            table: the recipe's [data], without the domain; it was checked.
            splits: the data.
            say: called with messages about slow steps, and about what becomes of the data.

        Raises:
            NoTrainingData: the data do not suit the domain.
        """

    def schema_from(self, plain: Mapping[str, Any], config: Any) -> Schema:
        """The schema of a VAE.

        Args:
            plain: from its file; empty where it has none.
            config: of its nets.

        Raises:
            BadCheckpoint: the schema is damaged.
        """

    def check_fit(self, schema: Schema, recipe: Recipe) -> None:
        """Refuse items that the VAE of a recipe does not take.

        Raises:
            BadRecipe, BadItem: it takes others.
        """

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        """Items to train on, and held-out items; see `schema` for the table.

        Raises:
            NoTrainingData: there are none.
        """

    def term_settings(self, recipe: Recipe, device: torch.device) -> TermSettings:
        """The objects that terms of the recipe need."""

    def board(self, folder: Path) -> Show | None:
        """What shows held-out items while a run goes on, in its folder; None for nothing."""

    def evaluation_items(self, path: Path, vae: VAE, schema: Schema, options: MeasureOptions) -> EvaluationItems:
        """The items at a path.

        Raises:
            NotFound, NoTrainingData, BadItem: there are none, or the VAE does not take them.
        """

    def files(self, engine: Engine, schema: Schema) -> ItemFiles:
        """Files of items, for an engine that runs a VAE with this schema."""

    def runner(self, vae: VAE, plan: Plan) -> tuple[VAERunner, Callable[[], Sequence[str]]]:
        """The VAE as measures run it, and a function that returns notes on the run afterwards."""

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        """What is measured of the items of an evaluation; and what is not, by name, and why."""

    def held_out_measures(
        self, vae: VAE, schema: Schema, held_out: Tensor, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        """The same for the held-out items (b, ...) of a run that ended."""

    def perception(self, schema: Schema, options: MeasureOptions, device: torch.device) -> Perception:
        """What measures of a latent space need to know of items.

        Raises:
            NotFound, BadCheckpoint: a file of weights is not there, or is something else.
        """

    def imputer(self, vae: VAE, schema: Schema) -> Imputer | None:
        """What fills in the missing values of items; None where items have none."""

    def sample_comparison(self, path: Path, schema: Schema) -> CompareSamples | None:
        """What compares samples with the data at a path, which are read at once; None where there are no measures.

        Raises:
            NotFound, NoTrainingData: the data cannot be read.
        """

    def sample_evaluation(self, data: Path, trained_on: Path | None, schema: Schema) -> CompareSamples | None:
        """What `evaluate` compares samples with, which is read at once; None where samples are not evaluated.

        Args:
            data: items that samples should be like.
            trained_on: the data that the VAE was trained on, to which samples should be new, if they are known.
            schema: of the items.

        Raises:
            NotFound, NoTrainingData: the data cannot be read.
        """

    def read(self, path: Path, schema: Schema) -> LoadedItems:
        """The items of a file that a user names.

        Raises:
            NotFound, BadItem: there are none that can be read.
        """

    def read_all(
        self, paths: Sequence[Path], schema: Schema, geometry: Geometry, limit: int | None = None
    ) -> LoadedItems:
        """The items of several files as one batch, in one size: the fixed size of the VAE, or that of the first item.

        Args:
            paths: the files.
            schema: of the items.
            geometry: of the VAE.
            limit: the maximum number of items of each file; the others are not read.

        Raises:
            NotFound, BadItem: one of them cannot be read.
        """

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
        """The items of a data set in order, in memory for one batch where the container allows it.

        Args:
            path: the data set.
            schema: of the items.
            size: items of a batch.
            log: for messages about the data.
            label: the column of labels to read, too.
            train: of data with a test split, take the training split; otherwise the test split is taken.
            keep: other columns to read, too: of a table, or such as labels are in; see `vaekit.datasets.labels`.

        Raises:
            NotFound, NoTrainingData: there are no items, no labels, or no such column.
        """

    def fitting(self, schema: Schema, geometry: Geometry, options: FitOptions) -> Fitting:
        """How items are brought to the sizes in which their latents are cached.

        Args:
            schema: of the items.
            geometry: of the VAE.
            options: the sizes.

        Raises:
            BadPlan: the VAE cannot take these sizes, or items have one size anyway.
        """

    def lossless(self, schema: Schema) -> LosslessItems | None:
        """What is coded of items by lossless compression; None where they have none.

        Raises:
            BadPlan: items are changed before the VAE takes them.
        """

    def write(self, items: Sequence[Any], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """Write items as people of the domain use them, with captions where the domain draws them.

        Raises:
            CannotWrite: the disk is full, or the like.
        """

    def write_pairs(
        self,
        originals: Sequence[Any],
        results: Sequence[Any],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """Write items, as their file has them (see `LoadedItems`), and their results beside each other, with the
        property that was changed, where the domain shows it.

        Raises:
            CannotWrite: the disk is full, or the like.
        """

    def write_many(self, items: Iterable[Any], folder: Path, name: str, schema: Schema) -> Sequence[Path]:
        """Write items while they are made, into files `name` as people of the domain use them. Raises as `write`."""

    def write_grid(
        self, rows: Iterable[tuple[str, Sequence[Any]]], folder: Path, name: str, schema: Schema
    ) -> Sequence[Path]:
        """Write named rows of equally many items, made one after the other, into files `name`. Raises as `write`."""

    def sequence_writer(self, schema: Schema, animation: str | None) -> SequenceWriter:
        """The writer of items that change step by step.

        Args:
            schema: of the items.
            animation: the format of an animation; None for the domain's default, if it has animations.

        Raises:
            CannotWrite: there is no such format, or the domain has no animations.
            MissingPackage: it needs a package that is not installed.
        """

    def explain(self, found: Attribution, schema: Schema, folder: Path | None) -> Explanation:
        """The parts of an item that contribute most to its improbability, as people of the domain look at them.

        Args:
            found: the contributions of all elements.
            schema: of the items.
            folder: for files such as heat maps; None to write none.

        Raises:
            CannotWrite: the disk is full, or the like.
            BadItem, NotFound: the file of the item cannot be read any more.
        """

    def preview(self, items: Sequence[Any]) -> Tensor | None:
        """An image (3, h, w) in [-1, 1] of some items; None where the domain has none."""
