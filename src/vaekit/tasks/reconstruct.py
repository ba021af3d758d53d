"""Reconstruct files: encode, decode, write and measure."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vaekit.domains.files import FileResult
from vaekit.errors import VaekitError
from vaekit.runtime.plan import Explanation
from vaekit.tasks.batch import Batch, Progress, no_progress, output_paths, run_files
from vaekit.tasks.model import OpenModel


def reconstruct(
    model: OpenModel, paths: Sequence[Path], out: Path, side_by_side: bool = False, progress: Progress = no_progress
) -> Batch[FileResult]:
    """Reconstruct files and write the results into a folder.

    Args:
        model: the VAE.
        paths: files, or folders of them.
        out: the folder; it is created with the first result.
        side_by_side: also write original and reconstruction beside each other.
        progress: called with the number of finished items and of all.

    Raises:
        NotFound: a path does not exist, or a folder holds no items.
        CannotWrite: a result would overwrite an input.
    """
    outputs = output_paths(model.items.find(paths), out, model.domain.ending, side_by_side)
    stages = model.items.reconstruct(outputs, side_by_side)
    return run_files(list(outputs), stages, progress)


def explain(model: OpenModel, paths: Sequence[Path]) -> list[Explanation]:
    """How each size among the files will be run. Unreadable files are skipped: `reconstruct` reports them.

    Raises:
        NotFound: a path does not exist, or a folder holds no items.
    """
    sizes: dict[tuple[int, ...], None] = {}
    plans: list[Explanation] = []
    for path in model.items.find(paths):
        with suppress(VaekitError):
            size = model.items.size(path)
            if size not in sizes:
                sizes[size] = None
                plans += model.engine.explain(*size)
    return plans
