"""Files of items: the interface of a domain for `reconstruct`, `encode` and `decode`."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadCorrection, NotFound, system_errors
from vaekit.pipeline import Stages
from vaekit.reading import exists

ChangeLatents = Callable[[Tensor], Tensor]
"""Raw latents (b, z, ...) -> others of this shape. May raise VaekitError."""


def no_correction(name: str, items: str) -> BadCorrection:
    """The error for a color correction of items that are no images.

    Args:
        name: of the VAE.
        items: plural noun for messages.
    """
    return BadCorrection(
        f"{name} is a VAE of {items}, which have no colors.",
        "Only VAEs of images have a color correction.",
        "Leave out --correct.",
    )


def unchanged(z: Tensor) -> Tensor:
    """Latents as they are."""
    return z


@runtime_checkable
class FileResult(Protocol):
    """The result for one file. Its `vars` are the entries of the JSON output."""

    @property
    def source(self) -> Path:
        """The file."""

    @property
    def output(self) -> Path:
        """The file that was written."""

    @property
    def notes(self) -> Sequence[str]:
        """Messages for the user: items that were skipped, values that were changed."""

    def cells(self) -> Mapping[str, str]:
        """One row of a table: the text of each column, by its title."""


@dataclass(frozen=True)
class EncodedResult:
    """A latent file that was written; domains add what it was encoded from."""

    output: Path
    latent_shape: tuple[int, ...]
    """Channels and positions of one item."""
    mean: float
    """Over the elements of the posterior's mode, raw."""
    std: float
    notes: tuple[str, ...]
    """How items were changed on reading, and which were skipped."""

    def latent_cells(self) -> dict[str, str]:
        """The columns about the latents in a row of a table."""
        latent = "x".join(map(str, self.latent_shape))
        return {"latent": latent, "mean": f"{self.mean:+.3f}", "std": f"{self.std:.3f}"}


@dataclass(frozen=True)
class DecodedResult:
    """A latent file that was decoded; domains add properties of the result."""

    latent: Path
    output: Path
    caution: str | None
    """Why the result may be wrong; None if VAE and latents are known to match."""

    @property
    def source(self) -> Path:
        """The latent file."""
        return self.latent

    @property
    def notes(self) -> tuple[str, ...]:
        """The caution."""
        return () if self.caution is None else (self.caution,)


@runtime_checkable
class FittedCorrection(Protocol):
    """A correction that was fitted to one VAE, such as that of colors."""

    @property
    def about(self) -> str:
        """A sentence for messages."""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""


@runtime_checkable
class ItemFiles(Protocol):
    """Files of one domain and the engine that they go through.

    Stages raise BadItem or NotFound for a file that cannot be read, BadLatent and LatentMismatch for latents that
    are damaged or of another latent space, and CannotWrite.
    """

    @property
    def files(self) -> str:
        """Plural noun: "images", where each file is one; else "files"."""

    @property
    def correction(self) -> FittedCorrection | None:
        """The correction that is applied to results."""

    def corrected(self, name: str, models: Sequence[Path] | None) -> "ItemFiles":
        """The same with the correction that was fitted to the VAE of this name.

        Raises:
            NotFound, BadCorrection: there is none, or it is damaged.
        """

    def find(self, paths: Sequence[Path]) -> list[Path]:
        """The files among `paths`, and in place of each folder the domain's files in it; see `files_among`."""

    def size(self, path: Path) -> tuple[int, ...]:
        """The size of a file's items along their axes, as `Engine.explain` takes it.

        Raises:
            BadItem, NotFound: the file cannot be read.
        """

    def reconstruct(
        self, outputs: Mapping[Path, Path], side_by_side: bool, change: ChangeLatents = unchanged
    ) -> Stages[Path, Any, Any, FileResult]:
        """Encode and decode files.

        Args:
            outputs: the file to write for each file that is read.
            side_by_side: also write original and reconstruction beside each other.
            change: applied to the latents before they are decoded.
        """

    def encode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        """Encode files into latent files."""

    def decode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        """Decode latent files."""


def side_by_side_path(output: Path) -> Path:
    """The file with an original and its reconstruction, for the file of the reconstruction."""
    return output.with_suffix(f".side-by-side{output.suffix}")


@system_errors()
def files_among(paths: Sequence[Path], suffixes: Collection[str], items: str) -> list[Path]:
    """The files among `paths`, as given, and in place of each folder the files in and below it with one of these
    suffixes (lower case, with the dot), sorted; hidden files are skipped.

    Args:
        paths: files and folders.
        suffixes: of the files that count in folders.
        items: plural noun for messages, such as "images".

    Raises:
        NotFound: a path does not exist, or a folder holds no such files.
    """
    files: list[Path] = []
    for path in paths:
        if not exists(path):
            raise not_found(path)
        files += _files_below(path, suffixes, items) if path.is_dir() else [path]
    return files


def not_found(path: Path) -> NotFound:
    """The error for a path that does not exist."""
    return NotFound(f"There is no file or folder {path}.", "", "Check the name.")


def _files_below(folder: Path, suffixes: Collection[str], items: str) -> list[Path]:
    with os.scandir(folder):  # an error if it may not be listed, which rglob takes for an empty one
        inside = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    files = sorted(path for path in inside if path.is_file() and not path.name.startswith("."))
    if not files:
        raise NotFound(
            f"The folder {folder} holds no {items}.",
            f"Expected files that end in {', '.join(sorted(suffixes))}.",
            "Give the files themselves if their names end otherwise.",
        )
    return files
