"""Why an image is improbable: a heat map, and the regions that contribute most."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.anomaly.local import SMOOTHING, local_map
from vaekit.domains.attribution import Attribution, Explanation, Reason
from vaekit.domains.images.heat_map import heat_sheet, resized
from vaekit.domains.images.preparation import Preparation
from vaekit.domains.images.read import read_image
from vaekit.domains.images.write import write_image
from vaekit.errors import CONTROL
from vaekit.metrics.image.color import as_rgb

REGION = 2
"""Half of the side of a region, in units of sigma."""
MOST_REGIONS = 3
LEAST_SHARE = 0.25
"""Regions are listed if their peak is at least this share of the highest."""
SUFFIX = ".heat.png"


def explain_image(found: Attribution, preparation: Preparation, folder: Path | None) -> Explanation:
    """The regions of an image that contribute most, and its heat map.

    Args:
        found: the contributions.
        preparation: of images for the VAE. Of images that are not cropped, maps and places are in the original size.
        folder: for the heat map; None to write none.

    Raises:
        CannotWrite: the disk is full, or the like.
        BadItem, NotFound: the file of the image cannot be read any more.
    """
    heat = local_map(found.nats.float())[0]
    original = shown_original(found, preparation)
    mode = preparation.exposing.undo(found.likelihood.mode.float(), original)
    expected = resized(as_rgb(mode.clamp(-1, 1)), original.shape[2:])
    files = []
    if folder is not None:
        path = file_in(folder, found.name)
        write_image(path, heat_sheet(original, expected, heat, found.unit))
        files.append(path)
    reasons = [
        reason_at(region, found.nats, original, expected, (heat.shape[0], heat.shape[1]))
        for region in regions(heat, found.nats)
    ]
    return Explanation(found.name, float(found.nats.double().sum()), reasons, files)


def shown_original(found: Attribution, preparation: Preparation) -> Float[Tensor, "1 3 h w"]:
    """The original image if the VAE saw all of it, otherwise the part that it saw."""
    if found.source is not None and preparation.crop == "whole":
        return read_image(found.source).pixels
    return as_rgb(preparation.exposing.undo(found.x.float()).clamp(-1, 1))


@dataclass(frozen=True)
class Region:
    """A rectangle of the VAE's image."""

    top: int
    bottom: int
    """One after the last row."""
    left: int
    right: int
    """One after the last column."""

    def of(self, values: Float[Tensor, "... h w"]) -> Float[Tensor, "... y x"]:
        """The part of maps or images in the region."""
        return values[..., self.top : self.bottom, self.left : self.right]

    def scaled(self, size: tuple[int, int], whole: tuple[int, int]) -> "Region":
        """The same region of an image of another size.

        Args:
            size: rows and columns of the other image.
            whole: rows and columns of the VAE's image.
        """
        rows, columns = size[0] / whole[0], size[1] / whole[1]
        top, left = round(self.top * rows), round(self.left * columns)
        return Region(top, max(top + 1, round(self.bottom * rows)), left, max(left + 1, round(self.right * columns)))


def regions(heat: Float[Tensor, "h w"], nats: Float[Tensor, "1 c h w"]) -> list[Region]:
    """Squares around the highest places of a map, which do not overlap: the highest contribution first."""
    remaining = heat.clone()
    reach = max(1, round(REGION * SMOOTHING * min(heat.shape)))
    found: list[Region] = []
    for _ in range(MOST_REGIONS):
        place = int(remaining.argmax())
        row, column = divmod(place, heat.shape[1])
        if remaining[row, column] <= max(0.0, LEAST_SHARE * float(heat.max())):
            break
        rows, columns = (
            (max(0, each - reach), min(side, each + reach + 1))
            for each, side in zip((row, column), heat.shape, strict=True)
        )
        found.append(Region(*rows, *columns))
        far = 2 * reach + 1
        remaining[max(0, row - far) : row + far, max(0, column - far) : column + far] = -torch.inf
    return sorted(found, key=lambda region: -float(region.of(nats).sum()))


def reason_at(
    region: Region,
    nats: Float[Tensor, "1 c h w"],
    original: Float[Tensor, "1 3 y x"],
    expected: Float[Tensor, "1 3 y x"],
    whole: tuple[int, int],
) -> Reason:
    """A region as people read it: its place in the shown image, and mean colors in levels of 255."""
    shown = region.scaled((original.shape[2], original.shape[3]), whole)
    where = f"x {shown.left}-{shown.right - 1}, y {shown.top}-{shown.bottom - 1}"
    value, likely = (mean_color(shown.of(image)) for image in (original, expected))
    return Reason(where, value, likely, float(region.of(nats).double().sum()))


def mean_color(pixels: Float[Tensor, "1 3 h w"]) -> str:
    """The mean color in levels of 255; one number for gray.

    >>> mean_color(torch.ones(1, 3, 2, 2)), mean_color(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1))
    ('255', '255 128 0')
    """
    levels = [f"{(float(channel.mean()) + 1) * 127.5:.0f}" for channel in pixels[0]]
    return levels[0] if len(set(levels)) == 1 else " ".join(levels)


def file_in(folder: Path, name: str) -> Path:
    """The file of the heat map of an item: in the same subfolder as the item in its data set."""
    parts = [CONTROL.sub("_", part) for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return folder.joinpath(*parts[:-1], f"{parts[-1].rsplit('.', 1)[0]}{SUFFIX}" if parts else f"item{SUFFIX}")
