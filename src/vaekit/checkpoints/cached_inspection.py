"""An inspection as a record that JSON can hold, cached until the file changes.

Nothing here imports torch before a file has to be read: that takes longer than all the rest.
"""

from pathlib import Path
from typing import Any

from vaekit.checkpoints.remembered import remembered
from vaekit.checkpoints.tables import knowledge


def cached_inspection(path: Path, *, hash: bool = True, measure: bool = True) -> dict[str, Any]:
    """What `inspect_path` returns for a file or folder, with the frame in words as well ("frame_words").

    Args:
        path: a weights file; the inspection of a folder is not cached.
        hash, measure: see `inspect`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors: see `inspect`.
    """

    def find() -> dict[str, Any]:
        import dataclasses

        from vaekit.checkpoints.frames import frame_words
        from vaekit.checkpoints.inspecting import inspect_path

        seen = inspect_path(path, hash=hash, measure=measure)
        return dataclasses.asdict(seen) | {"frame_words": frame_words(seen.frame) if seen.frame else "unknown"}

    if not path.is_file():
        return find()
    known: dict[str, Any] = remembered(path, f"inspection {hash} {measure} {knowledge()}", find)
    return known | {"path": str(path)}
