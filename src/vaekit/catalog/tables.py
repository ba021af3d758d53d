"""The TOML tables of facts in this package, and what the user's machine has learnt beside them.

Nothing here imports torch.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from vaekit.cache import recall

TABLES = ("entries.toml", "latent_spaces.toml", "host_models.toml", "unsupported.toml", "non_vae.toml")
LEARNED = "learnt"
"""The cache counts the cards whose weights were learnt under this name."""


def packaged(name: str) -> Traversable:
    """A file in this package."""
    return resources.files("vaekit.catalog").joinpath(name)


@cache
def table(name: str) -> dict[str, Any]:
    """One of the tables, which nobody changes."""
    return tomllib.loads(packaged(name).read_text("utf-8"))


@cache
def digest() -> str:
    """The digest of all tables: with other facts, cached answers do not hold."""
    return digest_of({name: packaged(name).read_bytes() for name in TABLES})


def digest_of(contents: Mapping[str, bytes]) -> str:
    """The SHA-256 of tables by name, in hexadecimal digits."""
    hashed = hashlib.sha256()
    for name, content in sorted(contents.items()):
        hashed.update(f"{name} {len(content)} ".encode() + content)
    return hashed.hexdigest()


def knowledge_digest() -> str:
    """What answers about a file depend on beside the file and the version of vaekit."""
    return f"{digest()} {recall([LEARNED]).get(LEARNED, 0)}"


@cache
def packaged_weights() -> dict[str, str]:
    """The names of the VAEs inside the package, each with its file."""
    listed = ((vae["name"], file) for vae in table("entries.toml")["vae"] for file in reversed(vae["file"]))
    return {name: file["path"] for name, file in listed if not (file.get("repo") or file.get("url"))}
