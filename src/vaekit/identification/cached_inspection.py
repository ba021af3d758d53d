"""Inspections as JSON-compatible records, cached until the file, or one of its shards, changes.

Nothing here imports torch until a file has to be read: the import takes longer than a cached inspection.
"""

from pathlib import Path
from typing import Any

from vaekit.cache import cached_result, stamp
from vaekit.catalog.tables import knowledge_digest
from vaekit.formats.shard_sets import files_of

QUESTION = "inspection 6"
"""The start of the cache key; the number counts changes of the record."""


def cached_inspection(
    path: Path, *, hash: bool = True, measure: bool = True, weights: str | None = None
) -> dict[str, Any]:
    """The result of `inspect_path` as a dictionary, plus the normalization as text ("normalization_words").

    Args:
        path: a weights file; the inspection of a folder is not cached.
        hash, measure, weights: see `inspect`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors: see `inspect`.
    """

    def find() -> dict[str, Any]:
        import dataclasses

        from vaekit.identification.inspect import inspect_path

        inspection = inspect_path(path, hash=hash, measure=measure, weights=weights)
        return dataclasses.asdict(inspection) | {
            "normalization_words": str(inspection.normalization) if inspection.normalization else "unknown"
        }

    if not path.is_file():
        return find()
    others = (stamp(file, "") for file in files_of(path) if file != path)
    question = " ".join((f"{QUESTION} {hash} {measure} {weights} {knowledge_digest()}", *others))
    known: dict[str, Any] = cached_result(path, question, find)
    return known | {"path": str(path)}
