"""Build the adversary and its rollback guard from the table [adversarial] of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from vaekit.errors import BadRecipe
from vaekit.nets.discriminator import Discriminator, DiscriminatorConfig
from vaekit.records import from_dict
from vaekit.training.adversarial.adversary import Adversarial, Adversary
from vaekit.training.adversarial.rollback_guard import GuardConfig, RollbackGuard
from vaekit.training.recipe import Recipe
from vaekit.training.seeds import derive_seed
from vaekit.training.state import Stateful
from vaekit.training.weights import position_from

POSITIONS = ("learn_from", "pull_from", "ramp")
TABLE, NET, GUARD = "adversarial", "discriminator", "guard"
Settings = TypeVar("Settings")


@dataclass(frozen=True, eq=False)
class AdversarialSetup:
    """The adversarial parts of a run; empty for other recipes."""

    adversary: Adversary | None = None
    guard: RollbackGuard | None = None

    @property
    def extras(self) -> dict[str, Stateful]:
        """The parts that are saved with the state."""
        both: dict[str, Stateful | None] = {"adversary": self.adversary, "guard": self.guard}
        return {name: each for name, each in both.items() if each is not None}


def adversarial_setup(
    recipe: Recipe,
    channels: int,
    held_out: Tensor | None,
    seed: int,
    device: torch.device = torch.device("cpu"),  # noqa: B008 (immutable)
) -> AdversarialSetup:
    """Build the adversary of a recipe, with new random weights.

    Args:
        channels: of the images.
        held_out: items for the guard, (b, ...); None for no guard.

    Raises:
        BadRecipe: a value is missing, unknown or of another type.
    """
    given = recipe.table.get(TABLE)
    if given is None:
        return AdversarialSetup()
    if not isinstance(given, Mapping):
        raise bad(recipe, TABLE, "expected a table")
    table = dict(given)
    net = settings(recipe, f"{TABLE}.{NET}", DiscriminatorConfig, table.pop(NET, {}))
    guard = settings(recipe, f"{TABLE}.{GUARD}", GuardConfig, table.pop(GUARD, {}))
    config = settings(recipe, TABLE, Adversarial, table | positions(recipe, table))
    if config.adaptive and recipe.schedule().compiled:
        raise bad(recipe, TABLE, "an adaptive weight requires an uncompiled decoder (adaptive or compiled = false)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "discriminator", 0))
        adversary = Adversary(config, Discriminator(net, channels).to(device))
    if held_out is not None:
        check_size(recipe, adversary, held_out[:1].to(device))
    if held_out is None or guard.bound == 0:
        return AdversarialSetup(adversary)
    return AdversarialSetup(adversary, RollbackGuard(guard, adversary, held_out))


@torch.no_grad()
def check_size(recipe: Recipe, adversary: Adversary, x: Tensor) -> None:
    """Reject images (b, c, h, w) that are too small for the discriminator's convolutions.

    Raises:
        BadRecipe: they are too small.
    """
    try:
        adversary.net(x)
    except RuntimeError as error:
        size = f"{x.shape[2]}x{x.shape[3]}"
        raise bad(recipe, f"{TABLE}.{NET}", f"too many layers for images of {size} ({error})") from error


def positions(recipe: Recipe, table: Mapping[str, Any]) -> dict[str, int]:
    """Convert positions given as shares of the run, such as "50%", to samples.

    Raises:
        BadRecipe: one of them is not a valid share.
    """
    shares = {name: table[name] for name in POSITIONS if isinstance(table.get(name), str)}
    try:
        return {name: round(position_from(share, recipe.schedule().samples)) for name, share in shares.items()}
    except ValueError as error:
        raise bad(recipe, TABLE, str(error)) from error


def settings(recipe: Recipe, place: str, kind: type[Settings], table: Any) -> Settings:
    """A table of the recipe as a record of type `kind`.

    Raises:
        BadRecipe: a value is missing, unknown or of another type.
    """
    if not isinstance(table, Mapping):
        raise bad(recipe, place, "expected a table")
    try:
        return from_dict(kind, table)
    except ValueError as error:
        raise bad(recipe, place, str(error)) from error


def bad(recipe: Recipe, place: str, why: str) -> BadRecipe:
    """The error for an invalid table."""
    return BadRecipe(f"The recipe {recipe.name} cannot be used: in [{place}], {why}.", "", "See docs/training.md.")
