"""The ghost index: whether items cross-fade or change into each other along a path."""

from torch import Tensor

CROSS_FADE = 0.25
"""Below it, items cross-fade. Between pairs of Kodak images, 90 % of the indices of VAEs whose latents are maps lie in
0.05..0.08 (the built-in VAE) or 0.12..0.27 (taesd, taesd3, taef2); between MNIST digits, 90 % of those of three VAEs
with one vector per image lie in 0.27..0.94."""


def ghost_index(first: Tensor, middle: Tensor, last: Tensor) -> float | None:
    """The distance of the item in the middle to the mean of the two ends, relative to the distance of the ends.

        |middle - (first + last) / 2| / |first - last|

    0 for a cross-fade, in which both ends show through each other; None for equal ends.

    >>> import torch
    >>> ghost_index(torch.zeros(3), torch.full((3,), 0.5), torch.ones(3))
    0.0
    """
    a, between, b = first.double(), middle.double(), last.double()
    distance = (a - b).norm().item()
    return (between - (a + b) / 2).norm().item() / distance if distance else None
