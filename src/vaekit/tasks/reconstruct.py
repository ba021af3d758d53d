"""Reconstruct files: encode, decode, write and measure."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vaekit.domains.domain import LoadedItems
from vaekit.domains.files import FileResult
from vaekit.domains.imputed_files import imputing_stages, intervals_path
from vaekit.errors import BadItem, CannotWrite, VaekitError
from vaekit.evaluation.vae_pass import EngineRunner, VAEPass
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


def impute(
    model: OpenModel, paths: Sequence[Path], out: Path, seed: int = 0, progress: Progress = no_progress
) -> Batch[FileResult]:
    """Fill in the missing values of files, leave all others as they are, and write the results into a folder.

    Args:
        model: the VAE.
        paths: files, or folders of them.
        out: the folder; it is created with the first result.
        seed: of the samples that values and intervals are taken from.
        progress: called with the number of finished files and of all.

    Raises:
        BadItem: items of this domain have no missing values.
        NotFound, CannotWrite: see `reconstruct`.
    """
    imputer = model.domain.imputer(model.engine.vae, model.schema)
    if imputer is None:
        raise BadItem(
            f"This is a VAE of {model.domain.items}, which have no missing values.",
            "Expected a VAE of a kind of data whose values can be missing, such as tables.",
            "Omit --only-missing.",
        )
    outputs = output_paths(model.items.find(paths), out, model.domain.ending)
    taken = {intervals_path(output) for output in outputs.values()} & set(outputs.values())
    if taken:
        raise CannotWrite(f"Two results would have the name {min(taken).name}.", "", "Rename one of the files.")

    def encode(loaded: LoadedItems) -> VAEPass:
        return VAEPass(tuple(loaded.names), loaded.x, EngineRunner(model.engine), seed, sampled=False)

    return run_files(list(outputs), imputing_stages(model.domain, model.schema, imputer, encode, outputs), progress)


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
