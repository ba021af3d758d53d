"""The description of an index: which VAE, embedding and data its vectors are from, in `index.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.errors import BadIndex, IndexMismatch, printable, reason_of
from vaekit.json import dumps
from vaekit.reading import read_json
from vaekit.records import differences, from_dict
from vaekit.retrieval.matrix import REBUILD

FILE = "index.json"
FORMAT = 1
"""The version of the format of an index: of its description, rows and vectors."""
READABLE = (1,)
"""The versions that this one reads."""
LONGEST_VECTOR = 2**20
"""The maximum dimension."""


@dataclass(frozen=True)
class Description:
    """The facts on which vectors depend, and where data and VAE were found."""

    embedding: Mapping[str, Any]
    """The identity of the embedding. It includes that of the VAE."""
    dimension: int
    preparation: Mapping[str, Any]
    """The domain, and the digest of the schema by which items become tensors."""
    format: int = FORMAT
    vae: str = ""
    """The name or path of the VAE, as given."""
    embed: str = ""
    """The name of the embedding, as given."""
    data: str = ""
    """The path of the data."""
    label: str = ""
    """The column of labels, as given."""

    @property
    def identity(self) -> dict[str, Any]:
        """The facts that may not change."""
        return {"embedding": self.embedding, "dimension": self.dimension, "preparation": self.preparation}


def write_description(folder: Path, description: Description) -> None:
    """Write the description atomically.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    with atomic_file(folder / FILE) as part:
        part.write_text(dumps(asdict(description)) + "\n", "utf-8")


def read_description(folder: Path) -> Description:
    """The description of an index.

    Raises:
        BadIndex: the folder holds no index, one of another version, or a damaged one.
    """
    path = folder / FILE
    try:
        plain = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadIndex(
            f"{folder} holds no index.",
            f"Expected a folder with {FILE}, as `vaekit index` writes it.",
            "Check the path.",
        ) from error
    except (OSError, ValueError) as error:
        raise BadIndex(f"{path} cannot be read: {printable(reason_of(error))}.", "", REBUILD) from error
    check_format(plain, path)
    try:
        description = from_dict(Description, plain)
        if not 1 <= description.dimension <= LONGEST_VECTOR:
            raise ValueError(f"the dimension is {description.dimension:,}")
    except (ValueError, TypeError) as error:
        raise BadIndex(f"{path} is not the description of an index: {printable(str(error))}.", "", REBUILD) from error
    return description


def check_format(plain: Any, path: Path) -> None:
    """Check the version of an index.

    Raises:
        BadIndex: this version of vaekit does not read it.
    """
    version = plain.get("format") if isinstance(plain, dict) else None
    if version in READABLE and type(version) is int:
        return
    if type(version) is not int:
        raise BadIndex(f"{path} states no version of its format.", "", REBUILD)
    newer = version > FORMAT
    raise BadIndex(
        f"The index {path.parent} has the format {version}.",
        f"This version of vaekit reads {', '.join(map(str, READABLE))}.",
        "Use a newer version of vaekit." if newer else REBUILD,
    )


def check_same(folder: Path, before: Description, now: Description) -> None:
    """Check that vectors of both may be compared.

    Raises:
        IndexMismatch: VAE, embedding or preparation differ.
    """
    changed = differences(before.identity, json.loads(dumps(now.identity)))
    if changed:
        raise IndexMismatch(
            f"The index {folder} was made in another way: {'; '.join(changed)}.",
            "Vectors of different VAEs or embeddings cannot be compared.",
            f"Repeat the options of that index (--vae {before.vae or '...'} --embed {before.embed or '...'}), or write "
            "another index.",
        )
