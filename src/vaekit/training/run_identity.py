"""The identity of a training run in its folder: recipe, seed and data, which a resumed run must share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.errors import RecipeChanged, printable, reason_of
from vaekit.reading import read_json
from vaekit.records import differences
from vaekit.run_folder import RECIPE
from vaekit.training.recipe import table_or_empty, upgraded

OLD_KINDS, OLD_COUNTS = {"pictures": "files"}, {"pictures": "items"}
"""Names of kinds of data, and of the number of items, in the first edition."""
DESCRIPTIONS = ("about", "dataset", "takes", "reached")
"""Entries of recipes that only describe them."""


def claim_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write the identity of a run to its folder, or compare it with the one there.

    Raises:
        RecipeChanged: the folder holds another run.
    """
    before, now = stored_identity(folder), json.loads(json.dumps(identity))
    if before is not None:
        changed = differences(compared(before), compared(now))
        if changed:
            raise RecipeChanged(
                f"{folder} holds a run that was started with another recipe: {'; '.join(changed[:8])}.",
                "A run can only be resumed with its original settings.",
                "Use the original recipe, data and seed, or another folder.",
            )
        return
    with atomic_file(folder / RECIPE) as part:
        part.write_text(json.dumps(now, indent=2) + "\n", "utf-8")


def compared(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an identity that affects training: without the descriptions in the recipe."""
    recipe = table_or_empty(identity.get("recipe"))
    return {**identity, "recipe": {name: value for name, value in recipe.items() if name not in DESCRIPTIONS}}


def stored_identity(folder: Path) -> dict[str, Any] | None:
    """The identity of the run in a folder; None if there is no run.

    Raises:
        RecipeChanged: the file with the identity is damaged.
    """
    path = folder / RECIPE
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        content = reason_of(error)
    if not isinstance(content, dict):
        raise RecipeChanged(
            f"{path} does not describe a run: {printable(str(content), 100)}.",
            "Expected the file that vaekit writes at the start of a run.",
            "Give another folder.",
        )
    return upgraded_identity(content)


def upgraded_identity(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored identity in the current form; the first edition had other names."""
    recipe, data = stored.get("recipe"), stored.get("data")
    if isinstance(recipe, Mapping):
        stored = {**stored, "recipe": upgraded(recipe)}
    if isinstance(data, Mapping):
        kind = OLD_KINDS.get(data.get("kind", ""), data.get("kind"))
        renamed = {OLD_COUNTS.get(name, name): value for name, value in data.items()}
        stored = {**stored, "data": {**renamed, **({"kind": kind} if "kind" in data else {})}}
    return stored
