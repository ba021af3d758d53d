"""Inspect a VAE by name or path."""

import dataclasses
from pathlib import Path

from vaekit.identification.inspect import Inspection, inspect_path
from vaekit.library.names import locate_vae


def inspect(
    name_or_path: str | Path, *, hash: bool = True, measure: bool = True, weights: str | None = None
) -> Inspection:
    """Identify the VAE in a file or folder; see `Inspection`.

    Args:
        name_or_path: as for `load`.
        hash: whether to read and hash all weights (cached until the file changes), and look them up among the known
            VAEs. Otherwise only headers are read, and models of the same shape may be indistinguishable.
        measure: whether to run the VAE on built-in images (cached until the file changes) if nothing else gives its
            normalization or its padding.
        weights: "ema" or "plain", where the file holds both; see `load`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE (except NotRunnable), WrongTensors: see `vaekit.errors`.
    """
    with locate_vae(name_or_path) as path:
        inspection = inspect_path(path, hash=hash, measure=measure, weights=weights)
        return dataclasses.replace(inspection, path=str(name_or_path))
