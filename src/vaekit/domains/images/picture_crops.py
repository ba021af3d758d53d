"""Folders of pictures to train on, held in memory: random crops at several sizes, and pictures kept aside."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaekit.domains.images.channels import for_vae
from vaekit.domains.images.crops import Pixels, pyramid
from vaekit.domains.images.preparation import shades
from vaekit.domains.images.reading import Picture, find_pictures, read_picture
from vaekit.domains.images.squares import square
from vaekit.domains.images.training_data import TrainingData
from vaekit.domains.images.writing import over_white, to_bytes
from vaekit.errors import NotFound, VaekitError
from vaekit.training.seeds import derived

SHORT_SIDES = (1024, 768, 512, 384, 256, 128)
"""Sizes that each picture is brought to, beside its own where that is smaller than the first."""
ONE_IN, MOST_HELD_OUT = 20, 64
"""Pictures that are kept aside: one in so many, and no more than this."""


class PictureCrops:
    """Crops of pictures. A picture counts for as many items as crops cover it, so that one pass sees about all of it.

    Args:
        versions: the pictures, one or more sizes of each.
        size: side of a crop.
        channels: 3, or 1 for grey ones.
    """

    def __init__(self, versions: Sequence[Pixels], size: int, channels: int) -> None:
        self.versions, self.size, self.channels = versions, size, channels
        areas = np.array([pixels.shape[0] * pixels.shape[1] for pixels in versions])
        self.owners = np.repeat(np.arange(len(areas)), np.ceil(areas / size**2).astype(int))

    def __len__(self) -> int:
        return len(self.owners)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        """(b, c, size, size) in [-1, 1]: a random place of the item's picture, mirrored or not."""
        found = []
        for number, item in enumerate(items.tolist()):
            pixels, rng = self.versions[self.owners[item]], np.random.default_rng((seed, number))
            top = rng.integers(pixels.shape[0] - self.size + 1)
            left = rng.integers(pixels.shape[1] - self.size + 1)
            crop = pixels[top : top + self.size, left : left + self.size]
            found.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        rgb = shades(torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2))
        return in_channels(rgb, self.channels)


def as_batch(pixels: Pixels) -> Tensor:
    """One picture as (1, 3, h, w) in [-1, 1]."""
    return shades(torch.from_numpy(pixels)).permute(2, 0, 1)[None]


def in_channels(rgb: Tensor, channels: int) -> Tensor:
    """Pictures (b, 3, h, w) for a VAE of so many channels."""
    return rgb if channels == 3 else torch.cat([for_vae(Picture(each), channels)[0] for each in rgb.split(1)])


def open_pictures(
    folder: Path, size: int, channels: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> TrainingData:
    """Read the pictures in and below a folder.

    Args:
        folder: where they are.
        size: side of a crop; smaller pictures are left out.
        channels: 3, or 1 for grey ones.
        seed: chooses what is kept aside.
        say: told of what is left out.

    Raises:
        NotFound: fewer than two pictures can be used.
    """
    paths = find_pictures([folder])
    pictures: dict[str, Pixels] = {}
    small = 0
    for path in paths:
        try:
            picture = read_picture(path)
        except VaekitError as error:
            say(f"Left out: {error}")
            continue
        if min(picture.height, picture.width) < size:
            small += 1
            continue
        opaque = picture.pixels if picture.alpha is None else over_white(picture.pixels, picture.alpha)
        pictures[path.relative_to(folder).as_posix()] = to_bytes(opaque)
    if small:
        say(f"Left out {small} pictures that are smaller than a crop, {size}x{size}.")
    if len(pictures) < 2:
        raise NotFound(
            f"{folder} holds {len(pictures)} pictures that can be used, of {len(paths)}.",
            f"Expected two or more with sides of {size} pixels: one is kept aside, to see what training does.",
            "Name a folder with more pictures, or make crops smaller with --set pictures.size=64.",
        )
    names = sorted(pictures, key=lambda name: derived(seed, f"kept aside {name}", 0))
    aside = names[: min(MOST_HELD_OUT, max(1, len(names) // ONE_IN))]
    versions = [
        version
        for name, pixels in pictures.items()
        if name not in aside
        for version in pyramid(pixels, SHORT_SIDES, size)
    ]
    held_out = torch.cat(
        [square(shades(torch.from_numpy(pictures[name])).permute(2, 0, 1)[None], size) for name in aside]
    )
    words = {"path": folder.resolve().name, "pictures": len(names) - len(aside), "held_out": sorted(aside)}
    return TrainingData(PictureCrops(versions, size, channels), in_channels(held_out, channels), words, workers=0)
