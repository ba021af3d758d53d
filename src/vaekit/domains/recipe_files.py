"""The files of the recipes inside vaekit: each in the folder `recipes` of its domain. Imports no torch."""

from importlib import resources
from importlib.resources.abc import Traversable

from vaekit.domains import DOMAINS

FOLDER, SUFFIX = "recipes", ".toml"


def recipe_files() -> dict[str, Traversable]:
    """The files of recipes by name, domain by domain."""
    folders = (resources.files("vaekit").joinpath("domains", domain, FOLDER) for domain in DOMAINS)
    found = (sorted(folder.iterdir(), key=lambda file: file.name) for folder in folders)
    return {file.name.removesuffix(SUFFIX): file for files in found for file in files if file.name.endswith(SUFFIX)}
