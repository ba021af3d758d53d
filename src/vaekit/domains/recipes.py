"""The recipes inside vaekit by name, and those in files."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from vaekit.domains.recipe_files import recipe_files
from vaekit.errors import NotFound, did_you_mean, printable, system_errors
from vaekit.reading import exists
from vaekit.training.recipe import Recipe, read_recipe, recipe_of


def names() -> list[str]:
    """Of the recipes inside vaekit."""
    return sorted(recipe_files())


@system_errors()
def recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of this name, or in this file, with changes such as `schedule.samples=1000`.

    Raises:
        NotFound: there is none.
        BadRecipe: a file is no TOML or JSON, or a change names nothing.
    """
    files, path = recipe_files(), Path(name_or_path)
    if name_or_path in files:
        return recipe_of(name_or_path, tomllib.loads(files[name_or_path].read_text("utf-8")), changes)
    if not exists(path):
        likely = did_you_mean(name_or_path, list(files))
        raise NotFound(
            f"There is no recipe {printable(name_or_path)}.",
            f"vaekit has {', '.join(sorted(files))}.",
            f"{likely} Name one of them, or a .toml or .json file of your own.".strip(),
        )
    return read_recipe(path, changes)
