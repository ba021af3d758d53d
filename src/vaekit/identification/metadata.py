"""Read and write vaekit's metadata in weights files.

Weights do not determine the number of norm groups or the normalization; vaekit's files state both. All entries are
optional: a file without them is identified by its shapes alone.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from vaekit.errors import counted, printable
from vaekit.families import Config
from vaekit.families.padding import ZEROS
from vaekit.json import json_object
from vaekit.normalization import LatentNormalization
from vaekit.records import renamed

VERSION = "2"
READABLE = ("1", "2")
NORMALIZATION, NORMALIZATION_V1 = "vaekit.normalization", "vaekit.frame"
"""The key of the normalization, and its name in version 1, which is still read."""
OLD_FIELDS = {"picture_size": "image_size"}
"""Fields of configs that had other names in version 1."""
DOMAIN, SCHEMA = "vaekit.domain", "vaekit.schema"
"""The keys of the domain of a VAE, and of the schema of its items as JSON."""
UNKNOWN = "null"
"""The value for an unknown normalization. Without an entry, it might be inferred from the shapes of the weights."""


def describe(
    family: str, config: Config, normalization: LatentNormalization | None, padding_known: bool = True
) -> dict[str, str]:
    """Metadata for a file with these weights.

    Args:
        padding_known: whether the padding is known rather than assumed; an assumption is not written,
            as readers would take it for a fact.
    """
    return {
        "format": "pt",
        "vaekit.version": VERSION,
        "vaekit.family": family,
        "vaekit.config": json.dumps(known_config(config, padding_known)),
        NORMALIZATION: normalization_text(normalization),
    }


def known_config(config: Config, padding_known: bool) -> dict[str, Any]:
    """The fields of a config that are known."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if padding_known or (name, value) != ("padding", ZEROS)}


def normalization_text(normalization: LatentNormalization | None) -> str:
    """A normalization as JSON."""
    return UNKNOWN if normalization is None else json.dumps(normalization.as_json())


def read_normalization(metadata: Mapping[str, str]) -> LatentNormalization | None:
    """The normalization in the metadata; None if it is missing or invalid."""
    return LatentNormalization.from_json(json_object(_normalization_entry(metadata)))


def doubtful_entries(metadata: Mapping[str, str], latent_channels: int) -> list[str]:
    """Phrases about entries that cannot be followed: a later version, and a normalization that is damaged.

    Args:
        metadata: of a file.
        latent_channels: of its VAE.
    """
    doubts = []
    version = metadata.get("vaekit.version", VERSION)
    if version not in READABLE:
        doubts.append(
            f"its metadata is of version {printable(version, 40)}, and this vaekit knows {' and '.join(READABLE)}: a "
            "newer one may read it differently"
        )
    entry, normalization = _normalization_entry(metadata), read_normalization(metadata)
    if entry is not None and entry != UNKNOWN and not (normalization and normalization.fits(latent_channels)):
        doubts.append(
            f"the normalization in its metadata makes no sense for {counted(latent_channels, 'latent channel')}, and "
            f"is ignored: {printable(entry, 100)}"
        )
    return doubts


def is_stated_unknown(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata states that the normalization was unknown when the file was written."""
    return _normalization_entry(metadata) == UNKNOWN


def _normalization_entry(metadata: Mapping[str, str]) -> str | None:
    return metadata.get(NORMALIZATION, metadata.get(NORMALIZATION_V1))


def read_family(metadata: Mapping[str, str]) -> str | None:
    """The family in the metadata. It is used only for families that shapes do not identify."""
    return metadata.get("vaekit.family")


def read_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The config fields in the metadata, which weights do not determine; empty if there are none."""
    return renamed(json_object(metadata.get("vaekit.config")), OLD_FIELDS)


def domain_notes(domain: str, schema: Mapping[str, Any]) -> dict[str, str]:
    """The entries for the domain of a VAE, and the schema of its items."""
    return {DOMAIN: domain, SCHEMA: json.dumps(schema, ensure_ascii=False)}


def read_domain(metadata: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The domain and the schema; empty if the metadata has none, which means images."""
    return metadata.get(DOMAIN, ""), json_object(metadata.get(SCHEMA))
