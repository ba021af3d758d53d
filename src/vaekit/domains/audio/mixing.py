"""Change the number of channels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.errors import counted

HALF_POWER = math.sqrt(0.5)
SURROUND: dict[int, tuple[tuple[float, float], ...]] = {
    3: ((1, 0), (0, 1), (HALF_POWER, HALF_POWER)),
    4: ((1, 0), (0, 1), (HALF_POWER, 0), (0, HALF_POWER)),
    5: ((1, 0), (0, 1), (HALF_POWER, HALF_POWER), (HALF_POWER, 0), (0, HALF_POWER)),
    6: ((1, 0), (0, 1), (HALF_POWER, HALF_POWER), (0, 0), (HALF_POWER, 0), (0, HALF_POWER)),
    8: (
        *((1, 0), (0, 1), (HALF_POWER, HALF_POWER), (0, 0), (HALF_POWER, 0), (0, HALF_POWER)),
        *((HALF_POWER, 0), (0, HALF_POWER)),
    ),
}
"""Shares of left and right of each channel, in the order of WAV files: L R C LFE, back or side L R, side L R (ITU-R
BS.775-3, table 2; the LFE channel is left out)."""


def mixed(x: Float[Tensor, "c t"], channels: int) -> Float[Tensor, "d t"]:
    """A waveform with another number of channels. Levels are scaled so that no sum exceeds full scale.

    >>> mixed(torch.tensor([[1.0], [0.0]]), 1), mixed(torch.tensor([[0.5]]), 2)
    (tensor([[0.5000]]), tensor([[0.5000],
            [0.5000]]))
    """
    if x.shape[0] == channels:
        return x
    return mixing_matrix(x.shape[0], channels).to(x) @ x


def mixing_matrix(given: int, wanted: int) -> Float[Tensor, "wanted given"]:
    """The share of each given channel in each wanted one; rows have the sum 1."""
    if wanted == 1:
        if given not in SURROUND:
            return torch.full((1, given), 1 / given)
        return mixing_matrix(given, 2).mean(dim=0, keepdim=True)
    if given == 1:
        return torch.ones(wanted, 1)
    if wanted == 2 and given in SURROUND:
        shares = torch.tensor(SURROUND[given]).T
        return shares / shares.sum(dim=1, keepdim=True)
    places = torch.arange(given) % wanted
    if given < wanted:
        return torch.eye(given)[torch.arange(wanted) % given]
    shares = (places == torch.arange(wanted)[:, None]).float()
    return shares / shares.sum(dim=1, keepdim=True)


def mixing_note(given: int, wanted: int) -> str:
    """How channels were mixed, for people; empty if they were not.

    >>> mixing_note(8, 2), mixing_note(1, 1)
    ('8 channels mixed to 2', '')
    """
    return "" if given == wanted else f"{counted(given, 'channel')} mixed to {wanted}"
