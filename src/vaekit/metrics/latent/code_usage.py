"""How evenly the codes of a quantizer are used."""

import torch
from torch import Tensor


def usage(counts: Tensor) -> float:
    """The share of codes that were chosen at all, from how often each was (k,).

    >>> usage(torch.tensor([5, 0, 1, 2]))
    0.75
    """
    return (counts > 0).double().mean().item()


def perplexity(counts: Tensor) -> float:
    """exp of the entropy of the codes in nats, from how often each was chosen (k,): as many equally likely codes would
    say as much. k at most, 1 where one code is always chosen.

    >>> round(perplexity(torch.tensor([3, 3, 3, 0])), 6)
    3.0
    """
    shares = counts.double() / counts.sum().clamp(min=1)
    return torch.special.entr(shares).sum().exp().item()
