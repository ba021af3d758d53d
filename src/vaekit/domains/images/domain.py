"""Images as a domain."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Record, Splits
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.domains.attribution import Attribution, Explanation
from vaekit.domains.domain import ItemStream, LoadedItems, Schema, SequenceWriter, Show, TermSettings
from vaekit.domains.files import ItemFiles
from vaekit.domains.fitting import FitOptions, Fitting
from vaekit.domains.images.buckets import image_buckets
from vaekit.domains.images.decode import pixels_of
from vaekit.domains.images.evaluate import (
    COMPUTING,
    SIZE,
    ImageRunner,
    held_out_measures,
    image_items,
    measures_for,
)
from vaekit.domains.images.explanation import explain_image
from vaekit.domains.images.files import NO_ALPHA, ImageFiles
from vaekit.domains.images.grids import COLUMNS, row_of, show_in
from vaekit.domains.images.ground_truth import without_masks
from vaekit.domains.images.lossless import lossless_images
from vaekit.domains.images.perception import image_perception
from vaekit.domains.images.perceptual_terms import perceptual_terms
from vaekit.domains.images.preparation import Preparation, check_fit, cut, preparation_from, put, whole
from vaekit.domains.images.properties import image_property
from vaekit.domains.images.read import IMAGE_ENDINGS, RGBA, check_takes_images, for_vae, read_image, with_channels
from vaekit.domains.images.records import IMAGE_RECORDS
from vaekit.domains.images.sequences import DEFAULT_ANIMATION, resized, sequence_writer, write_grid, write_many
from vaekit.domains.images.training_data import image_training_data
from vaekit.domains.images.write import PAIR, side_by_side, write_image
from vaekit.domains.item_batches import item_stream
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemValues, MeasureItems
from vaekit.domains.lossless import LosslessItems
from vaekit.domains.measuring import EvaluationItems, MeasureOptions
from vaekit.errors import BadCheckpoint, BadRecipe
from vaekit.evaluation.evaluate import Measures
from vaekit.evaluation.perception import Perception
from vaekit.evaluation.vae_pass import VAERunner
from vaekit.geometry import Geometry
from vaekit.metrics.image.color import as_rgb, split_alpha
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.training.data import TrainingData
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE


@dataclass(frozen=True)
class ImageSchema:
    """How images are prepared: size, channels, crops."""

    preparation: Preparation

    def as_plain(self) -> dict[str, Any]:
        return asdict(self.preparation)

    def vae_settings(self) -> dict[str, Any]:
        return {}

    def example(self) -> Tensor:
        made = self.preparation
        return torch.zeros(1, made.channels, made.size, made.size)

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Images brought to the size, the middle square of each, or all of it if whole images are cropped: (b, c, size,
        size) in [-1, 1]."""
        crop = "whole" if self.preparation.crop == "whole" else "center"
        made = replace(self.preparation, resize=(), crop=crop, flip=False)
        x = torch.empty(len(records), made.size, made.size, made.channels)
        for out, record in zip(x, records, strict=True):
            put(cut(pixels_of(record, made.size), made, made.size, Random(0)), out.numpy())
        return made.exposing.apply(x.permute(0, 3, 1, 2))

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        """Whole images in one size, with another aspect ratio if need be: (b, c, side, side) in [-1, 1]."""
        x = torch.empty(len(records), side, side, self.preparation.channels)
        for out, record in zip(x, records, strict=True):
            put(whole(pixels_of(record, side), self.preparation, side), out.numpy())
        return self.preparation.exposing.apply(x.permute(0, 3, 1, 2))

    def to_items(self, x: Tensor) -> Sequence[Tensor]:
        """Images (1, c, h, w) in [-1, 1], of a middle exposure where the VAE's is relative."""
        return self.preparation.exposing.undo(x).clamp(-1, 1).split(1)

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        return image_property(name)


@dataclass(frozen=True)
class Images:
    """Image files, and containers of images."""

    name: str = "images"
    item: str = "image"
    items: str = "images"
    suffixes: frozenset[str] = IMAGE_ENDINGS
    computing: tuple[str, ...] = COMPUTING
    ending: str = ".png"
    batch_size: int = 1
    samples_vary: bool = False
    is_text: bool = False
    similarity: None = None
    listen: None = None
    properties: Mapping[str, MeasureItems] = field(default_factory=dict)

    def text(self, item: Any) -> None:
        """Two images are hardly ever equal."""
        del item

    def is_valid(self, item: Any) -> bool:
        """All pixels are an image."""
        del item
        return True

    def check_table(self, table: Mapping[str, Any]) -> None:
        preparation_from(table)

    def open(self, path: Path, log: SkipLog) -> Splits:
        return without_masks(open_dataset(path, IMAGE_RECORDS, log), log)

    def schema(self, table: Mapping[str, Any], splits: Splits, say: Callable[[str], None] = silent) -> Schema:
        return ImageSchema(preparation_from(table))

    def schema_from(self, plain: Mapping[str, Any], config: Any) -> Schema:
        geometry = config.geometry
        check_takes_images(geometry)
        facts = {"size": geometry.size[0] if geometry.size else SIZE, "channels": geometry.channels}
        try:
            return ImageSchema(preparation_from(plain or facts))
        except BadRecipe as error:
            raise BadCheckpoint(f"The file holds a schema of images that is damaged: {error.found}", "", "") from error

    def check_fit(self, schema: Schema, recipe: Recipe) -> None:
        check_fit(preparation_of(schema), recipe.config(), recipe.name)

    def training_data(
        self, table: Mapping[str, Any], splits: Splits, schema: Schema, seed: int, log: SkipLog
    ) -> TrainingData:
        return image_training_data(splits, preparation_of(schema), seed, log)

    def term_settings(self, recipe: Recipe, device: torch.device) -> TermSettings:
        return perceptual_terms(recipe, device)

    def board(self, folder: Path) -> Show | None:
        return partial(show_in, folder)

    def evaluation_items(self, path: Path, vae: VAE, schema: Schema, options: MeasureOptions) -> EvaluationItems:
        return image_items(path, vae, options, preparation_of(schema).exposing)

    def runner(self, vae: VAE, plan: Plan) -> tuple[VAERunner, Callable[[], Sequence[str]]]:
        engine = Engine(vae, plan)
        return ImageRunner(engine), lambda: engine.notes

    def files(self, engine: Engine, schema: Schema) -> ItemFiles:
        return ImageFiles(engine, exposure=preparation_of(schema).exposing)

    def measures(
        self, vae: VAE, schema: Schema, options: MeasureOptions, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        return measures_for(vae, options, device)

    def held_out_measures(
        self, vae: VAE, schema: Schema, held_out: Tensor, device: torch.device
    ) -> tuple[Measures, dict[str, str]]:
        return held_out_measures(vae, held_out, device)

    def perception(self, schema: Schema, options: MeasureOptions, device: torch.device) -> Perception:
        return image_perception(options, device)

    def imputer(self, vae: VAE, schema: Schema) -> None:
        """Images have no missing values."""

    def sample_comparison(self, path: Path, schema: Schema) -> None:
        """`vaekit evaluate --latent` measures the Frechet distance of samples."""

    def sample_evaluation(self, data: Path, trained_on: Path | None, schema: Schema) -> None:
        """There are no measures of samples of images."""
        del data, trained_on, schema

    def read(self, path: Path, schema: Schema) -> LoadedItems:
        """One image, in the size that it has."""
        made = preparation_of(schema)
        return LoadedItems([path.name], made.exposing.apply(with_channels(read_image(path), made.channels)[0]))

    def read_all(
        self, paths: Sequence[Path], schema: Schema, geometry: Geometry, limit: int | None = None
    ) -> LoadedItems:
        """Images of other sizes are resized and cropped."""
        del limit  # one image per file
        images = [read_image(path) for path in paths]
        size = geometry.size or (images[0].height, images[0].width)
        given = [for_vae(resized(image, (size[0], size[1])), geometry) for image in images]
        names = [path.name for path in paths]
        notes = {
            name: made if image.alpha is None or geometry.channels == RGBA else (*made, NO_ALPHA)
            for name, image, (_, made) in zip(names, images, given, strict=True)
        }
        x = preparation_of(schema).exposing.apply(torch.cat([pixels for pixels, _ in given]))
        return LoadedItems(names, x, notes=notes)

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
        """Images in the size of the schema, the middle square of each."""
        return item_stream(self.open(path, log), schema, size, label, train, keep)

    def fitting(self, schema: Schema, geometry: Geometry, options: FitOptions) -> Fitting:
        """Buckets of aspect ratios, or the fixed size of the VAE."""
        check_takes_images(geometry)
        return image_buckets(replace(preparation_of(schema), channels=geometry.channels), geometry, options)

    def lossless(self, schema: Schema) -> LosslessItems:
        return lossless_images(preparation_of(schema))

    def write(self, items: Sequence[Tensor], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS) -> None:
        """The first of the images (1, c, h, w)."""
        colors, alpha = split_alpha(items[0])
        write_image(path, as_rgb(colors), alpha=alpha)

    def write_pairs(
        self,
        originals: Sequence[Tensor],
        results: Sequence[Tensor],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """The first pair of images (1, c, h, w), with captions."""
        write_image(path, side_by_side([as_rgb(originals[0]), as_rgb(results[0])], PAIR))

    def write_many(self, items: Iterable[Tensor], folder: Path, name: str, schema: Schema) -> Sequence[Path]:
        """One file per image, and a sheet of the first ones."""
        return write_many(items, folder, name)

    def write_grid(
        self, rows: Iterable[tuple[str, Sequence[Tensor]]], folder: Path, name: str, schema: Schema
    ) -> Sequence[Path]:
        """One sheet."""
        return [write_grid((row for _, row in rows), folder / f"{name}.png")]

    def sequence_writer(self, schema: Schema, animation: str | None) -> SequenceWriter:
        """The writer of a strip and an animation."""
        return sequence_writer(animation or DEFAULT_ANIMATION)

    def explain(self, found: Attribution, schema: Schema, folder: Path | None) -> Explanation:
        """The regions that contribute most, and a heat map."""
        return explain_image(found, preparation_of(schema), folder)

    def preview(self, items: Sequence[Tensor]) -> Tensor | None:
        return row_of(list(items[:COLUMNS])) if items else None


def preparation_of(schema: Schema) -> Preparation:
    """How the schema of this domain prepares images."""
    assert isinstance(schema, ImageSchema)
    return schema.preparation


IMAGES = Images()
