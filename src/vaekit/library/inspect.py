"""Inspect a VAE by name or path."""

import dataclasses
from pathlib import Path

from vaekit.identification.inspect import Inspection, inspect_path
from vaekit.library.names import locate_vae


def inspect(name_or_path: str | Path, *, hash: bool = True, measure: bool = True) -> Inspection:
    """Identify the VAE in a file or folder; see `Inspection`.

    Args:
        name_or_path: as for `load`.
        hash: whether to read and hash all weights (cached until the file changes), and look them up among the known
            VAEs. Otherwise only headers are read, and models of the same shape may be indistinguishable.
        measure: whether to run the VAE on built-in images (cached until the file changes) if nothing else gives its
            normalization or its padding.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE (except NotRunnable), WrongTensors: see `vaekit.errors`.
    """
    with locate_vae(name_or_path) as path:
        return dataclasses.replace(inspect_path(path, hash=hash, measure=measure), path=str(name_or_path))
