"""An inspection as a record that JSON can hold, remembered until the file changes.

Nothing here imports torch before a file has to be looked at: that takes longer than all the rest.
"""

from importlib import resources
from pathlib import Path
from typing import Any

from vaekit.checkpoints.remembered import recall, remembered

LEARNT = "learnt"
"""Under this name the cache counts the cards whose weights were learnt: with more of them, answers may be others."""
TABLES = ("cards.toml", "kinds.toml", "recognised.toml", "strangers.toml", "models.toml")


def glance(path: Path, *, hash: bool = True, measure: bool = True) -> dict[str, Any]:
    """What `inspect` says of a file or folder, with the normalization in words as well ("normalization_words").

    Args:
        path: a weights file; a folder is looked at each time.
        hash, measure: see `inspect`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors: see `inspect`.
    """

    def find() -> dict[str, Any]:
        import dataclasses

        from vaekit.checkpoints.inspecting import inspect

        seen = inspect(path, hash=hash, measure=measure)
        return dataclasses.asdict(seen) | {
            "normalization_words": str(seen.normalization) if seen.normalization else "unknown"
        }

    if not path.is_file():
        return find()
    known: dict[str, Any] = remembered(path, f"inspection {hash} {measure} {knowledge()}", find)
    return known | {"path": str(path)}


def knowledge() -> str:
    """What answers depend on beside the file: the tables of what is known, and what was learnt on this machine."""
    tables = resources.files("vaekit.checkpoints")
    sizes = [len(tables.joinpath(name).read_bytes()) for name in TABLES]
    return f"{sizes} {recall([LEARNT]).get(LEARNT, 0)}"
