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
from vaekit.training.weights import place_from

PLACES = ("learn_from", "pull_from", "ramp")
TABLE, NET, GUARD = "adversarial", "discriminator", "guard"
Settings = TypeVar("Settings")


@dataclass(frozen=True, eq=False)
class AdversarialSetup:
    """The adversarial parts of a run; empty for other recipes."""

    opponent: Adversary | None = None
    guard: RollbackGuard | None = None

    @property
    def extras(self) -> dict[str, Stateful]:
        """The parts that are saved with the state."""
        both: dict[str, Stateful | None] = {"opponent": self.opponent, "guard": self.guard}
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
    told = recipe.words.get(TABLE)
    if told is None:
        return AdversarialSetup()
    if not isinstance(told, Mapping):
        raise bad(recipe, TABLE, "expected a table")
    words = dict(told)
    net = settings(recipe, f"{TABLE}.{NET}", DiscriminatorConfig, words.pop(NET, {}))
    guard = settings(recipe, f"{TABLE}.{GUARD}", GuardConfig, words.pop(GUARD, {}))
    config = settings(recipe, TABLE, Adversarial, words | places(recipe, words))
    if config.adaptive and recipe.schedule().compiled:
        raise bad(recipe, TABLE, "an adaptive weight requires an uncompiled decoder (adaptive or compiled = false)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "discriminator", 0))
        opponent = Adversary(config, Discriminator(net, channels).to(device))
    if held_out is not None:
        check_size(recipe, opponent, held_out[:1].to(device))
    watched = guard.bound > 0 and held_out is not None
    return AdversarialSetup(
        opponent, RollbackGuard(guard, opponent, held_out) if watched and held_out is not None else None
    )


@torch.no_grad()
def check_size(recipe: Recipe, opponent: Adversary, x: Tensor) -> None:
    """Reject images (b, c, h, w) that are too small for the discriminator's convolutions.

    Raises:
        BadRecipe: they are too small.
    """
    try:
        opponent.net(x)
    except RuntimeError as error:
        size = f"{x.shape[2]}x{x.shape[3]}"
        raise bad(recipe, f"{TABLE}.{NET}", f"too many layers for images of {size} ({error})") from error


def places(recipe: Recipe, words: Mapping[str, Any]) -> dict[str, int]:
    """Convert positions given as shares of the run, such as "50%", to samples.

    Raises:
        BadRecipe: one of them is not a valid share.
    """
    told = {name: words[name] for name in PLACES if isinstance(words.get(name), str)}
    try:
        return {name: round(place_from(place, recipe.schedule().samples)) for name, place in told.items()}
    except ValueError as error:
        raise bad(recipe, TABLE, str(error)) from error


def settings(recipe: Recipe, place: str, kind: type[Settings], words: Any) -> Settings:
    """A record of the recipe's."""
    if not isinstance(words, Mapping):
        raise bad(recipe, place, "expected a table")
    try:
        return from_dict(kind, words)
    except ValueError as error:
        raise bad(recipe, place, str(error)) from error


def bad(recipe: Recipe, place: str, why: str) -> BadRecipe:
    """The error for an invalid table."""
    return BadRecipe(f"The recipe {recipe.name} cannot be used: in [{place}], {why}.", "", "See docs/training.md.")
