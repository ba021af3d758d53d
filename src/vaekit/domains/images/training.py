"""A recipe and a folder of pictures -> a run."""

from pathlib import Path

from vaekit.domains.images.perceptual_terms import perceptual_terms
from vaekit.domains.images.training_data import open_data
from vaekit.training.data import Stream
from vaekit.training.opponents import opposition
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run


def prepared_run(recipe: Recipe, data: Path, folder: Path, seed: int) -> Run:
    """Everything that a run needs.

    Raises:
        NotFound, BadRecipe: see there.
    """
    perceptual = perceptual_terms(recipe)
    found = open_data(data, recipe.words.get("pictures", {}), seed)
    against = opposition(recipe, found.held_out.shape[1], found.held_out, seed)
    return Run(
        recipe,
        folder,
        Stream(found.source, seed),
        {**found.words, **perceptual.words},
        recipe.objective(perceptual.given),
        recipe.schedule(),
        found.held_out,
        opponent=against.opponent,
        guard=against.guard,
        extras=against.extras,
    )
