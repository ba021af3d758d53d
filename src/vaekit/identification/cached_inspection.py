"""Inspections as JSON-compatible records, cached until the file changes.

Nothing here imports torch until a file has to be read: the import takes longer than a cached inspection.
"""

from pathlib import Path
from typing import Any

from vaekit.cache import cached_result
from vaekit.catalog.tables import knowledge_digest

QUESTION = "inspection 3"
"""The start of the cache key; the number counts changes of the record."""


def cached_inspection(path: Path, *, hash: bool = True, measure: bool = True) -> dict[str, Any]:
    """The result of `inspect_path` as a dictionary, plus the normalization as text ("normalization_words").

    Args:
        path: a weights file; the inspection of a folder is not cached.
        hash, measure: see `inspect`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors: see `inspect`.
    """

    def find() -> dict[str, Any]:
        import dataclasses

        from vaekit.identification.inspect import inspect_path

        inspection = inspect_path(path, hash=hash, measure=measure)
        return dataclasses.asdict(inspection) | {
            "normalization_words": str(inspection.normalization) if inspection.normalization else "unknown"
        }

    if not path.is_file():
        return find()
    known: dict[str, Any] = cached_result(path, f"{QUESTION} {hash} {measure} {knowledge_digest()}", find)
    return known | {"path": str(path)}
