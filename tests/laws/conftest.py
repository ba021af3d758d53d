"""Small real networks that the laws of several rooms are tried on."""

import pytest
import torch
from torch import Tensor, nn

from vaekit.distributions import Quantised


class VectorQuantiser(nn.Module):
    """Moments (b, d, ...) -> the nearest of `size` codebook vectors at every position."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(size, width))

    def forward(self, moments: Tensor) -> Quantised:
        distances = (moments.movedim(1, -1).unsqueeze(-2) - self.codebook).square().sum(dim=-1)
        codes = distances.argmin(dim=-1)
        return Quantised(moments, codes, self.codebook[codes].movedim(-1, 1))


class NextToken(nn.Module):
    """Context (b, width) and the tokens so far (b, t) -> logits (b, t + 1, vocabulary), by a GRU."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary + 1, width)
        self.start = vocabulary
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, context: Tensor, previous: Tensor) -> Tensor:
        tokens = nn.functional.pad(previous, (1, 0), value=self.start)
        states, _ = self.recurrent(self.embedding(tokens), context.unsqueeze(0).contiguous())
        return self.out(states)


@pytest.fixture
def quantiser() -> nn.Module:
    """A vector quantiser of 5 codes of 4 numbers."""
    torch.manual_seed(0)
    return VectorQuantiser(5, 4)


@pytest.fixture
def next_token() -> nn.Module:
    """An autoregressive network over 3 tokens, given 6 numbers."""
    torch.manual_seed(0)
    return NextToken(3, 6)
