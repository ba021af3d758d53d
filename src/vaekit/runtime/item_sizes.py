"""Sizes of items and latents: checks, padding and cropping."""

from torch import Tensor
from torch.nn import functional as F

from vaekit.errors import BadItem, LatentMismatch, counted
from vaekit.geometry import EDGE, Geometry, size_text


def repeat_edge(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Pad items or latents (b, c, *axes) at the end of each axis to a size, by repeating the last position."""
    return pad_end(x, size, EDGE)


def pad_end(x: Tensor, size: tuple[int, ...], padding: str) -> Tensor:
    """Pad items or latents (b, c, *axes) at the end of each axis to a size.

    Args:
        padding: "edge" or "zeros", see `Geometry`.
    """
    missing = [wanted - present for wanted, present in zip(size, x.shape[2:], strict=True)]
    if not any(missing):
        return x
    pairs = [each for amount in reversed(missing) for each in (0, amount)]
    return F.pad(x, pairs, mode="replicate" if padding == EDGE else "constant")


def cropped(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Crop items (b, c, *axes) to a size."""
    for axis, extent in enumerate(size, start=2):
        x = x.narrow(axis, 0, extent)
    return x


def check_items(x: Tensor, geometry: Geometry) -> None:
    """Check that a batch of items is valid for a VAE.

    Raises:
        ValueError: the batch is empty, or has another number of axes.
        BadItem: the items have another number of channels, or another size than the fixed one.
    """
    if x.dim() != 2 + geometry.axes or x.numel() == 0:
        raise ValueError(f"items of shape {geometry.batch_text} expected, not {tuple(x.shape)}")
    if x.shape[1] != geometry.channels:
        raise BadItem(
            f"The items have {x.shape[1]} channels.",
            f"Expected {counted(geometry.channels, 'channel')}.",
            "Use another VAE, or convert the items.",
        )
    if geometry.size is not None and x.shape[2:] != geometry.size:
        raise BadItem(
            f"The items have the size {size_text(x.shape[2:])}.",
            f"This VAE only accepts items of size {size_text(geometry.size)}.",
            "Crop or resize them to that size, or use a VAE for any size.",
        )


def check_positions(z: Tensor, geometry: Geometry) -> None:
    """Check the size of latents for a VAE with a fixed size.

    Raises:
        LatentMismatch: the latents have another size.
    """
    shape = geometry.latent_shape
    if shape is not None and z.shape[1:] != shape:
        raise LatentMismatch(
            f"The latents have shape {list(z.shape)}.",
            "This VAE takes (items, "
            f"{counted(geometry.latent_channels, 'channel')}{''.join(f', {each}' for each in shape[1:])}).",
            "Decode with the VAE that encoded them.",
        )
