"""Images for lossless compression: their pixels in 8 bits, or files as they are."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.codec.bits_back import Coding
from vaekit.codec.latent_cells import LatentGrid
from vaekit.codec.level_cells import Levels
from vaekit.codec.vae_coding import LevelCoding
from vaekit.datasets.dataset import ArrayRecord, BytesRecord, FileRecord, Record
from vaekit.domains.images.decode import not_an_image
from vaekit.domains.images.preparation import Preparation
from vaekit.domains.images.write import write_8_bit
from vaekit.domains.lossless import Restored
from vaekit.errors import BadPlan
from vaekit.reading import ITEM, read_bytes
from vaekit.vae import VAE

ENDING = ".png"
ORIENTATION = 0x0112
"""The tag of EXIF."""
GRAY, BLACK_AND_WHITE = Levels(-1, 1, 256), Levels(-1, 1, 2)


@dataclass(frozen=True)
class LosslessImages:
    """Images of one size with 8 bits per channel, or with two levels."""

    size: int
    channels: int
    levels: Levels

    def coding(self, vae: VAE, grid: LatentGrid) -> Coding:
        geometry, size = vae.geometry, (self.size, self.size)
        latent_shape = (geometry.latent_channels, *geometry.latent_size(size))
        return LevelCoding(vae, grid, latent_shape, self.levels, (self.channels, *size))

    def codable(self, x: Tensor) -> Tensor:
        return self.levels.holds(x)

    def canonical(self, x: Tensor) -> Tensor:
        return self.levels.nearest(x)

    def values(self, x: Tensor) -> int:
        """Pixels and channels."""
        return x.numel()

    def remainder(self, record: Record, item: Tensor | None) -> bytes:
        """Empty if a file or array has the pixels of the item (1, c, h, w) and nothing else that changes them; then the
        other contents of the file, such as its EXIF, are left out. Otherwise the bytes of the file."""
        content = record.values if isinstance(record, ArrayRecord) else _content(record)
        if item is not None:
            found = content if isinstance(content, np.ndarray) else _pixels(content)
            if found is not None and found.dtype == np.uint8 and np.array_equal(found, _levels_of(item)):
                return b""
        return content if isinstance(content, bytes) else _npy(content)

    def write(self, items: Iterable[Restored], out: Path) -> Sequence[Path]:
        """PNG files, and files as they were, in a folder; each has its name of before, with .png behind it if it was
        another format."""
        paths = []
        for each in items:
            name = PurePosixPath(each.name)
            if name.is_absolute() or ".." in name.parts or "\0" in each.name or not name.parts:
                raise ValueError("a name is not inside the folder")
            path = out / name
            if each.remainder:
                with atomic_file(path) as temporary:
                    temporary.write_bytes(each.remainder)
            else:
                path = path if path.suffix.lower() == ENDING else path.with_name(path.name + ENDING)
                write_8_bit(path, Image.fromarray(_levels_of(each.item).squeeze(2 if self.channels == 1 else ())))
            paths.append(path)
        return paths


def lossless_images(preparation: Preparation) -> LosslessImages:
    """The images of a VAE.

    Raises:
        BadPlan: they have transparency, or another exposure than their files.
    """
    if preparation.channels > 3 or preparation.exposure != "absolute":
        raise BadPlan(
            "This VAE takes images with transparency, or with relative exposure.",
            "Lossless compression needs gray or RGB images as they are in their files.",
            "Train a VAE with `data.channels` 1 or 3 and without `data.exposure`.",
        )
    return LosslessImages(preparation.size, preparation.channels, BLACK_AND_WHITE if preparation.binary else GRAY)


def _levels_of(item: Tensor) -> NDArray[np.uint8]:
    """The values (h, w, c) of an image (1, c, h, w) in [-1, 1]."""
    return np.asarray(((item[0].double() + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu())


def _content(record: Record) -> bytes:
    match record:
        case FileRecord(path):
            return read_bytes(path, ITEM)
        case BytesRecord():
            return record.content()
    raise not_an_image(record)


def _pixels(content: bytes) -> NDArray[np.uint8] | None:
    """The values (h, w, c) of an image file, if they are what the image looks like: gray or RGB of 8 bits, upright, and
    without a color profile or transparency."""
    with Image.open(io.BytesIO(content)) as image:
        plain = image.mode in ("L", "RGB") and image.getexif().get(ORIENTATION, 1) == 1
        if not plain or "transparency" in image.info or "icc_profile" in image.info:
            return None
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _npy(values: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
