"""An image with many edges, and common ways to degrade it."""

import torch
from scipy import ndimage

from vaekit.testcards.dead_leaves import dead_leaves


def leaves() -> torch.Tensor:
    """Dead leaves, (1, 3, 192, 256), whose values stay within [-0.7, 0.7]."""
    return 0.7 * dead_leaves(1, (192, 256), torch.Generator().manual_seed(3))


def eight_bit(x: torch.Tensor) -> torch.Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="nearest"))
