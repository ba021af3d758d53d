"""Usage of the codes of a quantizer."""

import torch
from torch import Tensor


def usage(counts: Tensor) -> float:
    """The share of codes that were chosen at least once, given the counts (k,).

    >>> usage(torch.tensor([5, 0, 1, 2]))
    0.75
    """
    return (counts > 0).double().mean().item()


def perplexity(counts: Tensor) -> float:
    """The perplexity of the codes, exp of their entropy in nats, given the counts (k,): at most k; 1 if one code is
    always chosen.

    >>> round(perplexity(torch.tensor([3, 3, 3, 0])), 6)
    3.0
    """
    shares = counts.double() / counts.sum().clamp(min=1)
    return torch.special.entr(shares).sum().exp().item()
