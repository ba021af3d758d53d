"""What vaekit writes into the metadata of a safetensors file beside the tensors, and reads back.

Weights cannot tell the number of norm groups or the normalization; a file that vaekit wrote says both. All of it is
optional: a file without it is read by its shapes alone.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from vaekit.families import Config
from vaekit.families.padding import ZEROS
from vaekit.normalization import LatentNormalization
from vaekit.records import renamed

VERSION = "2"
NORMALIZATION, NORMALIZATION_V1 = "vaekit.normalization", "vaekit.frame"
"""The key of the normalization, and what it was called in version 1, which is still read."""
OLD_FIELDS = {"picture_size": "image_size"}
"""Fields of configs that had other names in the first edition."""
DOMAIN, SCHEMA = "vaekit.domain", "vaekit.schema"
"""The keys of the kind of data that a VAE was trained on, and of the schema of its items as JSON."""
UNKNOWN = "null"
"""A normalization that is unknown. Without an entry, the shapes of the weights might be taken to imply one."""


def describe(
    family: str, config: Config, normalization: LatentNormalization | None, padding_known: bool = True
) -> dict[str, str]:
    """Metadata for a file with these weights.

    Args:
        padding_known: whether a padding of zeros is more than what every VAE has that nobody looked at; written down,
            it is taken for a fact by whoever reads the file next.
    """
    return {
        "format": "pt",
        "vaekit.version": VERSION,
        "vaekit.family": family,
        "vaekit.config": json.dumps(told_config(config, padding_known)),
        NORMALIZATION: normalization_text(normalization),
    }


def told_config(config: Config, padding_known: bool) -> dict[str, Any]:
    """The fields of a config that are known."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if padding_known or (name, value) != ("padding", ZEROS)}


def normalization_text(normalization: LatentNormalization | None) -> str:
    """A normalization as JSON."""
    return UNKNOWN if normalization is None else json.dumps(normalization.as_json())


def read_normalization(metadata: Mapping[str, str]) -> LatentNormalization | None:
    """The normalization in the metadata; None where there is none that makes sense."""
    return LatentNormalization.from_json(_json_object(_normalization_entry(metadata)))


def says_unknown(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata states that the normalization was unknown when the file was written."""
    return _normalization_entry(metadata) == UNKNOWN


def _normalization_entry(metadata: Mapping[str, str]) -> str | None:
    return metadata.get(NORMALIZATION, metadata.get(NORMALIZATION_V1))


def read_family(metadata: Mapping[str, str]) -> str | None:
    """The family that the metadata tells. Only a family that shapes do not tell is believed so."""
    return metadata.get("vaekit.family")


def read_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata tells of the config: things that weights do not tell; empty where it tells nothing."""
    return renamed(_json_object(metadata.get("vaekit.config")), OLD_FIELDS)


def _json_object(text: str | None) -> dict[str, Any]:
    try:
        entry = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def domain_notes(domain: str, schema: Mapping[str, Any]) -> dict[str, str]:
    """The entries for the domain of a VAE, and the schema of its items."""
    return {DOMAIN: domain, SCHEMA: json.dumps(schema, ensure_ascii=False)}


def read_domain(metadata: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The domain and the schema; empty where the metadata has none, which stands for images."""
    return metadata.get(DOMAIN, ""), _json_object(metadata.get(SCHEMA))
