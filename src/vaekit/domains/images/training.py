"""A recipe and a folder of pictures -> a run."""

from pathlib import Path

from vaekit.domains.images.training_data import open_data
from vaekit.training.data import Stream
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run


def prepared_run(recipe: Recipe, data: Path, folder: Path, seed: int) -> Run:
    """Everything that a run needs.

    Raises:
        NotFound, BadRecipe: see there.
    """
    found = open_data(data, recipe.words.get("pictures", {}), seed)
    return Run(
        recipe,
        folder,
        Stream(found.source, seed),
        found.words,
        recipe.objective(),
        recipe.schedule(),
        found.held_out,
    )
