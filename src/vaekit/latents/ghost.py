"""The ghost index: whether items cross-fade or change into each other along a path."""

from collections.abc import Sequence

import torch
from torch import Tensor

CROSS_FADE = 0.25
"""Below it, items cross-fade. Between pairs of Kodak images, 90 % of the indices of VAEs whose latents are maps lie in
0.05..0.08 (the built-in VAE) or 0.12..0.27 (taesd, taesd3, taef2); between MNIST digits, 90 % of those of three VAEs
with one vector per image lie in 0.27..0.94."""
CHANGE = 0.35
"""From it on, one item changes into the other. Between the two limits lie the largest indices of VAEs whose latents are
maps, such as 0.31 for taesd at 64x64, and the smallest of others."""


def ghost_index(first: Tensor, middle: Tensor, last: Tensor, position: float = 0.5) -> float | None:
    """The distance of the item in the middle to the blend of the two ends, relative to the distance of the ends.

        |middle - ((1 - t) first + t last)| / |first - last|

    with t, the position of the item on the path, 1/2 in the middle. 0 for a cross-fade, in which both ends show through
    each other; None for equal ends.

    >>> import torch
    >>> ghost_index(torch.zeros(3), torch.full((3,), 0.5), torch.ones(3))
    0.0
    """
    a, between, b = first.double(), middle.double(), last.double()
    distance = (a - b).norm().item()
    return (between - torch.lerp(a, b, position)).norm().item() / distance if distance else None


def meaning_of(indices: Sequence[float]) -> str:
    """What the ghost indices of the parts of a path say, a phrase.

    >>> meaning_of([0.05, 0.1])
    'they cross-fade'
    >>> meaning_of([0.05, 0.5])
    'some cross-fade, others change into each other'
    """
    if max(indices) < CROSS_FADE:
        return "they cross-fade"
    if min(indices) >= CHANGE:
        return "they change into each other"
    if min(indices) < CROSS_FADE and max(indices) >= CHANGE:
        return "some cross-fade, others change into each other"
    return "between a cross-fade and a change into each other"
