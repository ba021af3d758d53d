"""The TOML tables of the catalog.

Facts about a family's latent spaces and published weights are in its own folder, `families/<name>/facts.toml`; those
about anything else are in this package. All are read as data: nothing here imports torch or a family.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from vaekit.cache import recall

TABLES = ("host_models.toml", "unsupported.toml", "non_vae.toml", "companions.toml", "quantized.toml")
"""The tables in this package."""
FACTS = "facts.toml"
LEARNED = "learnt"
"""The cache key of the number of entries whose fingerprints were learned on this machine (as in older caches)."""


def packaged(name: str) -> Traversable:
    """A file in this package."""
    return resources.files("vaekit.catalog").joinpath(name)


@cache
def table(name: str) -> dict[str, Any]:
    """One of the tables in this package. The result is shared: do not modify it."""
    return tomllib.loads(packaged(name).read_text("utf-8"))


def facts_files() -> dict[str, Traversable]:
    """The facts of each family, by the name of its folder, sorted."""
    folders = resources.files("vaekit").joinpath("families").iterdir()
    files = {folder.name: folder.joinpath(FACTS) for folder in folders if folder.is_dir()}
    return {name: file for name, file in sorted(files.items()) if file.is_file()}


@cache
def family_facts() -> tuple[dict[str, Any], ...]:
    """The table of facts of each family: "family" is its name. The result is shared: do not modify it."""
    return tuple(tomllib.loads(file.read_text("utf-8")) for file in facts_files().values())


def contents() -> dict[str, bytes]:
    """All tables as they are stored."""
    facts = {f"{name}/{FACTS}": file.read_bytes() for name, file in facts_files().items()}
    return facts | {name: packaged(name).read_bytes() for name in TABLES}


@cache
def digest() -> str:
    """The digest of all tables: if they change, cached results are invalid."""
    return digest_of(contents())


def digest_of(contents: Mapping[str, bytes]) -> str:
    """The SHA-256 of tables by name, in hexadecimal digits."""
    hashed = hashlib.sha256()
    for name, content in sorted(contents.items()):
        hashed.update(f"{name} {len(content)} ".encode() + content)
    return hashed.hexdigest()


def knowledge_digest() -> str:
    """The state of the catalog that cached results depend on, beside the file and the version of vaekit."""
    return f"{digest()} {recall([LEARNED]).get(LEARNED, 0)}"


@cache
def packaged_weights() -> dict[str, str]:
    """The names of the VAEs inside the package, each with its file."""
    entries = (entry for facts in family_facts() for entry in facts.get("entry", ()))
    listed = ((entry["name"], file) for entry in entries for file in reversed(entry["file"]))
    return {name: file["path"] for name, file in listed if not (file.get("repo") or file.get("url"))}
