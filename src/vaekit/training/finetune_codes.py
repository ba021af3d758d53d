"""Fine-tune the codebook of an existing VAE, starting from its codes."""

from collections.abc import Callable, Mapping
from typing import Any

from vaekit.checkpoints.finetuned_writer import BaseModel
from vaekit.errors import BadRecipe, printable
from vaekit.identification.build import build
from vaekit.nets.codebooks import RANDOM
from vaekit.training.code_stats import LearnsCodes, set_codes
from vaekit.training.recipe import Recipe

COMMITMENT = 0.25
"""A weight to begin with (van den Oord et al. 2017, arXiv 1711.00937, section 3.2)."""


def codebook_settings(recipe: Recipe, parent: BaseModel, whole: bool) -> Mapping[str, Any]:
    """The recipe's [codes] for a codebook that exists: it goes on from the codes that it has, unless the table says how
    to find the first ones. Empty where there is no table.

    Raises:
        BadRecipe: codes are not trained, or not in this VAE, or the table makes no sense.
    """
    if "codes" not in recipe.words:
        return {}
    told = recipe.words["codes"]
    if not whole:
        raise BadRecipe(
            f"The recipe {recipe.name} has [codes], which configures the learning of codes.",
            "If only the decoder is trained, latents and codes do not change.",
            "Omit it, or train the whole VAE.",
        )
    if not isinstance(told, Mapping):
        raise BadRecipe(f"The recipe {recipe.name} has codes = {printable(repr(told), 60)}.", "Expected a table.", "")
    words = dict(told) if set(told) == {"temperature"} else {"first": RANDOM, **told}
    try:
        set_codes(build(parent.identified), words, recipe.schedule().samples)
    except ValueError as error:
        raise BadRecipe(
            f"The recipe {recipe.name} cannot be used: in [codes], {error}.",
            "",
            "See docs/training.md for valid settings.",
        ) from error
    return words


def describe_codes(recipe: Recipe, parent: BaseModel, say: Callable[[str], None]) -> None:
    """Say so where codes are not drawn to what a trained encoder says, nor it to them: a recipe for VAEs of any kind
    does not know of codes."""
    head: object = build(parent.identified).to_posterior
    kinds = recipe.kinds_of_terms().values()
    missing = [] if "commitment" in kinds else [f"--set objective.terms.commitment.weight={COMMITMENT}"]
    if "codes" not in recipe.words and "codebook" not in kinds:
        missing.append("--set codes.by=average")
    if isinstance(head, LearnsCodes) and missing:
        say(
            f"{parent.name} has a codebook, and the recipe {recipe.name} does not keep it close to the encoder: "
            f"they may diverge. Consider {' '.join(missing)}."
        )
