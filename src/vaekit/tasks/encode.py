"""Encode files into latent files."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.checkpoints.latent_files import SUFFIX
from vaekit.domains.files import FileResult
from vaekit.tasks.batch import Batch, Progress, no_progress, output_paths, run_files
from vaekit.tasks.model import OpenModel


def encode(model: OpenModel, paths: Sequence[Path], out: Path, progress: Progress = no_progress) -> Batch[FileResult]:
    """Encode files and write their posteriors into a folder; see `vaekit.checkpoints.latent_files`.

    Args:
        model: the VAE.
        paths: files, or folders of them.
        out: the folder; it is created with the first result.
        progress: called with the number of finished items and of all.

    Raises:
        NotFound: a path does not exist, or a folder holds no items.
        CannotWrite: a result would overwrite an input.
    """
    outputs = output_paths(model.items.find(paths), out, SUFFIX)
    return run_files(list(outputs), model.items.encode(model.origin, outputs), progress)
