"""Training data of diffusion models: latents with conditions, encoded from a data set or read from a cache."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.datasets.captions import read_captions
from vaekit.datasets.choose import HELD_OUT, HELD_OUT_SHARE, rank, split_held_out
from vaekit.datasets.dataset import Dataset
from vaekit.datasets.labels import read_labels, title_of
from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.batches import (
    ChannelStatistics,
    Conditioned,
    LatentBatch,
    LatentsInMemory,
    channel_statistics,
    looked_up,
)
from vaekit.diffusion.recipe import ConditionSettings
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadLatent, BadRecipe, NotFound, NoTrainingData, TrainingStopped, VaekitError
from vaekit.latent_cache.description import DESCRIPTION
from vaekit.latent_cache.open import LatentCache
from vaekit.latent_cache.reader import latent_source, require_one_size
from vaekit.latent_cache.statistics import statistics_of, sums_of
from vaekit.pipeline import available_cores
from vaekit.reading import exists
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.diffusion_conditions import Conditions, Texts, fit_conditions
from vaekit.tasks.encode_training_data import encode_records
from vaekit.tasks.latent_space import LatentSpace
from vaekit.training.data import describe_data
from vaekit.training.recipe import Recipe, table_or_empty

EXAMPLES = 8
"""Raw latents that are kept in the file of a model."""
IMAGE_DIMS = 4
"""Axes of a batch of images."""


@dataclass(frozen=True, eq=False)
class LatentData:
    """Latents to train on, and held-out ones."""

    source: Conditioned
    held_out: LatentBatch | None
    conditions: Conditions
    statistics: ChannelStatistics
    examples: Tensor
    """A few raw latents (b, z, ...)."""
    item_size: tuple[int, ...]
    """The size of the items along their axes."""
    description: Mapping[str, Any]
    """Part of the identity of a run."""
    workers: int = 0
    """Threads that load latents; 0 for latents in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent."""
        return tuple(self.examples.shape[1:])


@dataclass(frozen=True)
class Reporting:
    """Callbacks while data are prepared."""

    encoding: Progress = no_progress
    """Called with the number of encoded items, and of all."""
    stop: Callable[[], bool] = lambda: False
    """Returns True to end."""

    def check(self) -> None:
        """End if the user wishes to.

        Raises:
            TrainingStopped: `stop` returned True.
        """
        if self.stop():
            raise TrainingStopped(
                "Stopped while the data were encoded.", "Nothing was trained yet.", "The same command starts again."
            )


def is_cache(path: Path) -> bool:
    """Whether a path is a cache of latents."""
    return exists(path / DESCRIPTION)


def encoded_data(
    recipe: Recipe, settings: ConditionSettings, space: LatentSpace, data: Path, log: SkipLog, reporting: Reporting
) -> LatentData:
    """Encode a data set into memory.

    Raises:
        NotFound, NoTrainingData: the data, their labels or captions cannot be read.
        BadRecipe: a setting is invalid.
        BadPlan: latents do not fit into memory.
        TrainingStopped: the user ended it.
    """
    flip, wanted = data_settings(recipe)
    if flip and space.schema.example().dim() != IMAGE_DIMS:
        raise BadRecipe(
            f"The recipe {recipe.name} has data.flip = true, and {space.domain.items} cannot be mirrored.",
            "Expected images.",
            "Set data.flip=false.",
        )
    splits = open_items(space.domain, data, log, space.schema)
    texts = texts_of(splits.train, settings)
    train, tested = (numbers.tolist() for numbers in split_held_out(splits, wanted, space.domain.items))
    test = splits.train if splits.test is None else splits.test
    test_texts = texts if splits.test is None else texts_of_test(test, settings)
    conditions = fit_conditions(recipe, settings, [texts[i] for i in train], [test_texts[i] for i in tested])
    total = len(train) + len(tested)

    items = encode_records(
        space, splits.train, train, flip, log, lambda done, _: reporting.encoding(done, total), reporting.stop
    )
    reporting.check()
    held_out = None
    if tested:
        held_out = held_out_batch(space, test, tested, test_texts, conditions, log)
        reporting.encoding(total, total)
    condition = conditions.of([texts[number] for number in items.kept])
    sums = [sums_of(each.mean, each.log_variance) for each in (items.latents, items.mirrored) if each is not None]
    statistics = statistics_of(sums)
    assert statistics is not None
    made = "" if space.origin is None else space.origin.fingerprint
    return LatentData(
        Conditioned(LatentsInMemory(items.latents, items.mirrored), condition, conditions.table),
        held_out,
        conditions,
        channel_statistics(statistics),
        items.latents.mean[:EXAMPLES].clone(),
        tuple(space.schema.example().shape[2:]),
        {
            **describe_data(splits, len(tested)),
            "vae": made,
            "encoded": len(items.kept),
            "conditions": digest_of(str(text) for text in texts),
        },
    )


def held_out_batch(
    space: LatentSpace, dataset: Dataset, numbers: Sequence[int], texts: Texts, conditions: Conditions, log: SkipLog
) -> LatentBatch | None:
    """The held-out items; None if none can be encoded."""
    try:
        items = encode_records(space, dataset, numbers, False, log, no_progress)
    except NoTrainingData:
        return None
    condition = conditions.of([texts[number] for number in items.kept])
    return LatentBatch(items.latents.mean, items.latents.log_variance, looked_up(condition, conditions.table))


def cached_data(recipe: Recipe, settings: ConditionSettings, cache: LatentCache, log: SkipLog) -> LatentData:
    """The items of a cache of latents, which are read while training.

    Raises:
        NoTrainingData: it has no labels or captions.
        BadRecipe: a setting is invalid.
        BadLatent: items have several sizes, or no latent statistics.
        BadCache: a shard is damaged.
    """
    flip, wanted = data_settings(recipe, flip=True)
    size = require_one_size(latent_source(cache))
    texts = [item.label if settings.kind == "classes" else item.caption for item in cache.items]
    train, tested = split_cache(cache, wanted)
    conditions = fit_conditions(recipe, settings, [texts[i] for i in train], [texts[i] for i in tested])
    held_out = None
    if tested:
        mean, log_variance = cache.moments(tested)
        condition = conditions.of([texts[i] for i in tested])
        held_out = LatentBatch(mean, log_variance, looked_up(condition, conditions.table))
    statistics = cache.statistics
    if statistics is None:
        raise BadLatent("The cache holds no statistics of its latents.", "", "Run the same `vaekit cache` again.")
    if cache.missing:
        log.say(f"{cache.missing:,} items of the data set have no latents in the cache.")
    return LatentData(
        Conditioned(latent_source(cache, train, flip), conditions.of([texts[i] for i in train]), conditions.table),
        held_out,
        conditions,
        channel_statistics(statistics),
        cache.moments(list(train[:EXAMPLES]))[0],
        size,
        {
            "kind": "latents",
            "items": len(cache),
            "digest": digest_of(f"{item.key} {item.label} {item.caption}" for item in cache.items),
            "held_out": len(tested),
            "vae": cache.origin.fingerprint,
        },
        available_cores(),
    )


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256 over texts."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def split_cache(cache: LatentCache, wanted: float | None) -> tuple[list[int], list[int]]:
    """The positions of the items for training, and of held-out ones: those whose content has the smallest hashes, so
    that equal items are on the same side.

    Raises:
        NoTrainingData: no items are left for training.
    """
    keys = sorted({item.key for item in cache.items}, key=lambda key: rank(key, 0))
    share = min(HELD_OUT, int(HELD_OUT_SHARE * len(keys))) if wanted is None else wanted
    count = int(share * len(keys)) if share < 1 else int(share)
    if count >= len(keys):
        raise NoTrainingData(
            f"With {count:,} of {len(keys):,} items held out, none are left for training.", "", "Use a lower held_out."
        )
    chosen = set(keys[:count])
    sides: tuple[list[int], list[int]] = ([], [])
    for position, item in enumerate(cache.items):
        sides[item.key in chosen].append(position)
    return sides


def data_settings(recipe: Recipe, flip: bool = False) -> tuple[bool, float | None]:
    """`flip` and `held_out` in [data], which concern training, whatever the VAE.

    Raises:
        BadRecipe: one is of another type.
    """
    table = table_or_empty(recipe.table.get("data"))
    flip, held_out = table.get("flip", flip), table.get("held_out")
    right = held_out is None or (type(held_out) in (int, float) and held_out >= 0)
    if not isinstance(flip, bool) or not right:
        raise BadRecipe(
            f"In [data] of the recipe {recipe.name}, flip or held_out makes no sense.",
            "Expected flip = true or false, and a number or share of items for held_out.",
            "",
        )
    return flip, held_out


def texts_of(dataset: Dataset, settings: ConditionSettings) -> Texts:
    """The label or caption of each record.

    Raises:
        NotFound, NoTrainingData: there are none, or they cannot be read.
    """
    if settings.kind == "none":
        return [None] * len(dataset)
    if settings.kind == "classes":
        return read_labels(dataset, settings.column)
    captions = read_captions(dataset, settings.column)
    if not captions:
        raise NotFound(
            f"{title_of(dataset)} has no captions.",
            "Expected a column of captions, captions.json, or a text file beside each item.",
            "Give metadata.csv with columns file_name and caption, or name a column: "
            "--set diffusion.condition.column=NAME.",
        )
    return captions


def texts_of_test(dataset: Dataset, settings: ConditionSettings) -> Texts:
    """The same of a test split, which may have none."""
    try:
        return texts_of(dataset, settings)
    except VaekitError:
        return [None] * len(dataset)
