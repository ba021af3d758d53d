"""An inspection as a record that JSON can hold, cached until the file changes.

Nothing here imports torch before a file has to be read: that takes longer than all the rest.
"""

from pathlib import Path
from typing import Any

from vaekit.cache import remembered
from vaekit.catalog.tables import knowledge_digest


def cached_inspection(path: Path, *, hash: bool = True, measure: bool = True) -> dict[str, Any]:
    """What `inspect_path` returns for a file or folder, with the normalization as text as well ("normalization_words").

    Args:
        path: a weights file; the inspection of a folder is not cached.
        hash, measure: see `inspect`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors: see `inspect`.
    """

    def find() -> dict[str, Any]:
        import dataclasses

        from vaekit.identification.inspect import inspect_path

        seen = inspect_path(path, hash=hash, measure=measure)
        return dataclasses.asdict(seen) | {
            "normalization_words": str(seen.normalization) if seen.normalization else "unknown"
        }

    if not path.is_file():
        return find()
    known: dict[str, Any] = remembered(path, f"inspection {hash} {measure} {knowledge_digest()}", find)
    return known | {"path": str(path)}
