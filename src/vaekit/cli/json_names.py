"""Names of keys in JSON output, where those of the records inside vaekit differ."""

from collections.abc import Mapping
from typing import Any

NAMES = {"card": "catalog_entry", "known_as": "candidate_models", "akin": "relatives", "kind": "latent_space"}


def with_json_names(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts under the names that programs see.

    >>> with_json_names({"family": "kl", "known_as": ["SDXL"]})
    {'family': 'kl', 'candidate_models': ['SDXL']}
    """
    return {NAMES.get(name, name): value for name, value in facts.items()}
