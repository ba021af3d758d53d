"""Train a VAE on a table in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from vaekit.datasets.row_chunks import RowChunk
from vaekit.domains.recipes import recipe
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.tables.schema import MAX_ROWS_TO_FIT, TableSchema, fit_chunk
from vaekit.errors import BadRecipe, NoTrainingData
from vaekit.estimators.table_input import selected
from vaekit.tasks.train import check_round_trip
from vaekit.training.data import Stream, Tensors
from vaekit.training.initialize import initializer_for
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run, train_in_memory
from vaekit.training.schedule import Schedule
from vaekit.vae import VAE

STEPS_PER_ROW, LEAST_STEPS = 12, 200
"""Training steps for each row of a small table, and at least."""
WARMUP_SHARE = 0.05
"""The maximum share of the samples for the warm-up of the learning rate."""
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class FitSettings:
    """Settings of a training; None for those of the recipe."""

    recipe: str = "tables"
    """The name of a recipe, or the path of a file."""
    changes: Sequence[str] = ()
    """Overrides of single values of the recipe: "schedule.learning_rate=5e-4"."""
    samples: int | None = None
    """The number of training samples; None for `budget`."""
    columns: Mapping[str, str] | None = None
    """The kinds of columns that are not to be inferred."""


@dataclass(frozen=True, eq=False)
class FittedVAE:
    """A VAE trained on a table."""

    vae: VAE
    schema: TableSchema
    rows: Tensor
    """The rows as the VAE takes them."""


def budget(rows: int, schedule: Schedule, samples: int | None = None) -> dict[str, int]:
    """The part of a schedule that depends on the size of a table: that of the recipe for 417 rows or more; for less,
    fewer steps in batches of at most all rows.

    Args:
        rows: of the table.
        schedule: of the recipe.
        samples: the number of samples, if the user chose it.
    """
    batch = min(schedule.batch_size, rows)
    steps = max(STEPS_PER_ROW * rows, LEAST_STEPS)
    total = min(schedule.samples, steps * batch) if samples is None else samples
    return {
        "samples": total,
        "batch_size": batch,
        "warmup_samples": min(schedule.warmup_samples, int(WARMUP_SHARE * total)),
    }


def fit_vae(chunk: RowChunk, settings: FitSettings, seed: int) -> FittedVAE:
    """Train a VAE. The global random generators of torch are in the same state afterwards.

    Args:
        chunk: the rows.
        settings: recipe and overrides.
        seed: of all randomness.

    Raises:
        NotFound, BadRecipe: the recipe does not exist, is invalid, or for another domain.
        NoTrainingData: the table is unsuitable.
        TrainingDiverged: a loss is not finite.
    """
    chosen = recipe_for(len(chunk), settings)
    table = {name: value for name, value in chosen.data.items() if name != "domain"}
    data = TABLES.settings_from(table)
    schema = fit_chunk(evenly_spaced(chunk, MAX_ROWS_TO_FIT), data.columns, data.real)
    x, problems = schema.values(chunk)
    if problems:
        raise NoTrainingData(problems[min(problems)], "", "")
    chosen = chosen.with_defaults(schema.vae_settings())
    stream = Stream(Tensors(x), seed)
    with torch.random.fork_rng():
        check_round_trip(chosen, TABLES, schema)
        objective = chosen.objective(TABLES.term_settings(chosen, torch.device("cpu")).given)
        start = initializer_for(chosen, stream)
        vae = train_in_memory(Run(chosen, Path(), stream, {}, objective, chosen.schedule(), start=start))
    return FittedVAE(vae, schema, x)


def recipe_for(rows: int, settings: FitSettings) -> Recipe:
    """The recipe for a table with this number of rows.

    Raises:
        NotFound, BadRecipe: it does not exist, is invalid, or for another domain.
    """
    base = recipe(settings.recipe)
    if base.domain != TABLES.name:
        raise BadRecipe(
            f"The recipe {base.name} is for {base.domain}.",
            f"Expected one for {TABLES.name}.",
            "Use the recipe tables.",
        )
    own = budget(rows, base.schedule(), settings.samples)
    changes = [f"schedule.{name}={value}" for name, value in own.items()]
    chosen = recipe(settings.recipe, [*changes, *settings.changes])
    return chosen.with_data({"columns": dict(settings.columns)}) if settings.columns else chosen


def evenly_spaced(chunk: RowChunk, count: int) -> RowChunk:
    """At most `count` of the rows."""
    if len(chunk) <= count:
        return chunk
    return selected(chunk, np.linspace(0, len(chunk) - 1, count).astype(np.int64))


def seed_from(random_state: Any) -> int:
    """A seed from a `random_state` of scikit-learn: an integer is the seed; a RandomState is drawn from; None is a seed
    from the system's entropy, as the global generator of NumPy must not change.

    Raises:
        ValueError: it is something else.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0]) & LARGEST_SEED
    generator = check_random_state(random_state)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(generator.randint(LARGEST_SEED))
