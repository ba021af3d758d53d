"""Latents of one image as another program stores them, and what a module of a format provides."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from vaekit.latent_cache.foreign.mark import OriginMark
from vaekit.latent_cache.foreign.names import Source


class Stored(StrEnum):
    """Which latents a program stores."""

    RAW = "raw"
    """The input of the decoder."""
    NORMALIZED = "normalized"
    """What the diffusion model sees, after `LatentNormalization`."""


@dataclass(frozen=True)
class Variant:
    """The latents that a program stores for one family of models.

    No file states which latents it holds; these are facts about the program, read from its code.
    """

    name: str
    """How the program marks the family: by the ending of a file's name, or in its metadata."""
    spaces: tuple[str, ...]
    """Names of the latent spaces in the catalog; empty if any VAE may have made them."""
    stored: Stored
    channels: int = 0
    """Of the stored latents; 0 if any. Normalization may rearrange positions into channels (FLUX.2)."""
    factor: int = 0
    """Pixels along each side of a stored position; 0 if any."""
    frames: bool = False
    """Whether the stored latents have an axis of frames also for an image."""
    no_export: str = ""
    """Why such files are not written; empty if they are."""


@dataclass(frozen=True)
class StoredLatents:
    """The latents of one image in a file of another program, as stored."""

    name: str
    """Of the image, relative to the folder, with its own ending where it is known."""
    variant: Variant
    latents: Tensor
    """(c, *latent size) in fp32."""
    flipped: Tensor | None = None
    """Those of the mirrored image."""
    size: tuple[int, int] | None = None
    """(height, width) of the image before it was resized and cropped."""
    encoded: tuple[int, int] | None = None
    """(height, width) of the image that was encoded."""
    mirrored: bool = False
    """Whether `latents` are those of the mirrored image, which some programs keep in a file of its own."""
    key: str = ""
    """The SHA-256 of the item's content; empty if unknown."""
    label: str | None = None
    caption: str | None = None
    mark: OriginMark | None = None
    """What vaekit noted when it wrote the file."""
    wrong_sizes: tuple[str, ...] = ()
    """Contradictions between the file's name, its keys and its tensors, as phrases."""


@runtime_checkable
class Writer(Protocol):
    """Writes latents of images into a folder."""

    def add(self, item: StoredLatents) -> Path:
        """Write one item, and return the file that it is in, or will be in at the end.

        Raises:
            BadLatent: this format cannot hold the item; others can be added.
            CannotWrite: the disk is full, or the like.
        """


@runtime_checkable
class CacheFormat(Protocol):
    """A program's format of cached latents."""

    name: str
    """On the command line."""
    title: str
    """In messages."""
    place: str
    """Where the program looks for the files, as a phrase."""
    loses: str
    """What an export does not keep, as a phrase."""
    keeps_flips: bool
    """Whether latents of mirrored images are written."""
    variants: tuple[Variant, ...]
    """The first one is that of VAEs which the program does not know."""

    def claims(self, path: Path) -> bool:
        """Whether a file is one of this format, by its name. It is not opened."""

    def read(self, path: Path) -> Sequence[StoredLatents]:
        """The latents in a file: of one image, but possibly in several sizes.

        Raises:
            BadLatent: the file is damaged, holds pickled objects, or lacks what the program's loader needs.
        """

    def source(self, path: Path, name: str) -> Source:
        """The image that a file's latents are of, and its caption, where the program expects them."""

    def writer(self, folder: Path, mark: OriginMark) -> AbstractContextManager[Writer]:
        """Write into a folder. With a block that ends without an error, everything is on the disk."""
