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
"""A suggested weight (van den Oord et al. 2017, arXiv 1711.00937, section 3.2)."""


def codebook_settings(recipe: Recipe, parent: BaseModel, whole: bool) -> Mapping[str, Any]:
    """The recipe's [codes] for an existing codebook, which keeps its codes unless the table sets their initialization
    (`first`). Empty without a table.

    Raises:
        BadRecipe: the codes are frozen, the VAE has none, or the table is invalid.
    """
    if "codes" not in recipe.table:
        return {}
    table = recipe.table["codes"]
    if not whole:
        raise BadRecipe(
            f"The recipe {recipe.name} has [codes], which configures the learning of codes.",
            "If only the decoder is trained, latents and codes do not change.",
            "Omit it, or train the whole VAE.",
        )
    if not isinstance(table, Mapping):
        raise BadRecipe(f"The recipe {recipe.name} has codes = {printable(repr(table), 60)}.", "Expected a table.", "")
    settings = dict(table) if set(table) == {"temperature"} else {"first": RANDOM, **table}
    try:
        set_codes(build(parent.identified), settings, recipe.schedule().samples)
    except ValueError as error:
        raise BadRecipe(
            f"The recipe {recipe.name} cannot be used: in [codes], {error}.",
            "",
            "See docs/training.md for valid settings.",
        ) from error
    return settings


def describe_codes(recipe: Recipe, parent: BaseModel, say: Callable[[str], None]) -> None:
    """Call `say` with advice if the recipe does not keep codebook and encoder close: recipes for VAEs of any kind have
    no terms for codes."""
    head: object = build(parent.identified).to_posterior
    kinds = recipe.kinds_of_terms().values()
    missing = [] if "commitment" in kinds else [f"--set objective.terms.commitment.weight={COMMITMENT}"]
    if "codes" not in recipe.table and "codebook" not in kinds:
        missing.append("--set codes.by=average")
    if isinstance(head, LearnsCodes) and missing:
        say(
            f"{parent.name} has a codebook, and the recipe {recipe.name} does not keep it close to the encoder: "
            f"they may diverge. Consider {' '.join(missing)}."
        )
