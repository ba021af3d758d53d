"""Inspect a VAE by name or path."""

import dataclasses
from pathlib import Path

from vaekit.identification.inspect import Inspection, inspect_path
from vaekit.library.names import locate_vae


def inspect(name_or_path: str | Path, *, hash: bool = True, measure: bool = True) -> Inspection:
    """Say what VAE is in a file or folder; see `Inspection`.

    Args:
        name_or_path: as for `load`.
        hash: whether to read all weights, once until the file changes, to hash them and look them up among the known
            VAEs. Without, only headers are read, and shape twins stay apart only as far as the file tells.
        measure: whether to run the VAE on built-in images, once until the file changes, where nothing else tells its
            normalization or its padding.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE (but for NotRunnable), WrongTensors: see `vaekit.errors`.
    """
    with locate_vae(name_or_path) as path:
        return dataclasses.replace(inspect_path(path, hash=hash, measure=measure), path=str(name_or_path))
