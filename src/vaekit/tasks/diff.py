"""Compare two VAE files: their tensors, and what both make of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.checkpoints.diff import CLOSE, DIFFERENT, EQUAL, FileDifference, diff_files
from vaekit.domains.images.files import as_written
from vaekit.domains.images.read import find_images, for_vae, read_image
from vaekit.domains.images.size_check import size_check
from vaekit.errors import VaekitError
from vaekit.metrics.image.color import LEVELS_PER_UNIT, as_rgb
from vaekit.metrics.image.psnr import psnr
from vaekit.runtime.engine import Engine
from vaekit.tasks.batch import Failure, Progress, no_progress
from vaekit.tasks.options import EngineOptions, ModelOptions


@dataclass(frozen=True)
class ImageDifference:
    """Two reconstructions of one image."""

    image: Path
    status: str
    """"equal", "close" (8-bit values differ by at most 1), or "different"."""
    largest: float
    """Maximum difference of 8-bit values."""
    changed: float
    """Share of the 8-bit values that differ."""
    psnr: float
    """Of one against the other, dB; infinite for equal ones."""


@dataclass(frozen=True)
class Diff:
    """Two VAEs."""

    files: FileDifference
    images: tuple[ImageDifference, ...]
    failures: tuple[Failure, ...]
    """Images that could not be read."""

    @property
    def same(self) -> bool:
        """Whether files and images agree; see `FileDifference.same`."""
        return self.files.same and all(image.status != DIFFERENT for image in self.images)


def diff(
    one: ModelOptions,
    other: ModelOptions,
    images: Sequence[Path] = (),
    engine: EngineOptions | None = None,
    progress: Progress = no_progress,
) -> Diff:
    """Compare two VAE files.

    Args:
        one, other: the VAEs.
        images: files, or folders of them, that both reconstruct.
        engine: how they are run.
        progress: called with the number of finished tensors or images and of all.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, WrongTensors: a VAE cannot be identified or loaded.
        NotFound: a path does not exist, or a folder holds no images.
        HalfMissing: images were given, and a VAE lacks a half.
    """
    paths = find_images(images)
    files = diff_files(one.vae, other.vae, one.models, progress, (one.weights, other.weights))
    if not paths:
        return Diff(files, (), ())
    plan = (engine or EngineOptions()).plan()
    engines = [Engine(model.load(), plan) for model in (one, other)]
    results, failures = [], []
    for done, path in enumerate(paths, start=1):
        try:
            results.append(image_difference(path, *engines))
        except VaekitError as error:
            failures.append(Failure(str(path), str(error)))
        progress(done, len(paths))
    return Diff(files, tuple(results), tuple(failures))


def image_difference(path: Path, one: Engine, other: Engine) -> ImageDifference:
    """Compare the reconstructions of an image, as 8-bit values.

    Raises:
        BadItem, NotFound: it cannot be read, or a VAE does not take it.
    """
    image = read_image(path, size_check(one, other))
    a, b = (as_written(as_rgb(engine.reconstruct(for_vae(image, engine.geometry)[0]))) for engine in (one, other))
    change = ((a - b).abs() * LEVELS_PER_UNIT).round()
    largest = change.max().item()
    status = EQUAL if largest == 0 else CLOSE if largest <= 1 else DIFFERENT
    return ImageDifference(path, status, largest, (change > 0).double().mean().item(), psnr(a, b).item())
