"""Decode latent files."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.checkpoints.latent_files import find_latents
from vaekit.domains.files import FileResult
from vaekit.tasks.batch import Batch, Progress, no_progress, output_paths, run_files
from vaekit.tasks.model import OpenModel


def decode(model: OpenModel, paths: Sequence[Path], out: Path, progress: Progress = no_progress) -> Batch[FileResult]:
    """Decode latent files and write the items into a folder.

    Args:
        model: the VAE that made the latents, or one with the same latent space.
        paths: latent files, or folders of them.
        out: the folder; it is created with the first result.
        progress: called with the number of finished items and of all.

    Raises:
        NotFound: a folder holds no latent files.
        CannotWrite: a result would overwrite an input.
    """
    outputs = output_paths(find_latents(paths), out, model.domain.ending)
    stages = model.items.decode(model.origin, outputs)
    return run_files(list(outputs), stages, progress)
