"""A recipe and a folder of pictures -> a run."""

from collections.abc import Callable
from pathlib import Path

from vaekit.domains.images.skipped import Skipped
from vaekit.domains.images.training_data import open_data
from vaekit.training.data import Stream
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run

SKIPPED = "skipped.txt"
"""In the folder of a run: what could not be read."""


def prepared_run(
    recipe: Recipe, data: Path, folder: Path, seed: int, say: Callable[[str], None] = lambda _: None
) -> Run:
    """Everything that a run needs.

    Args:
        recipe: what to train.
        data: what `open_pictures` takes.
        folder: of the run.
        seed: of all randomness.
        say: told what a person should know about the data.

    Raises:
        NotFound, NothingToTrain, BadRecipe, MissingPackage: see there.
    """
    found = open_data(data, recipe.words.get("pictures", {}), seed, Skipped(folder / SKIPPED, say))
    return Run(
        recipe,
        folder,
        Stream(found.source, seed),
        found.words,
        recipe.objective(),
        recipe.schedule(),
        found.held_out,
        workers=found.workers,
    )
