"""Small real networks that the laws of several rooms are tried on."""

import pytest
import torch
from torch import Tensor, nn

from vaekit.nets.vector_quantizer import VectorQuantizer


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
def quantizer() -> nn.Module:
    """A vector quantizer of 5 codes of 4 numbers."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(5, 4)
    nn.init.normal_(quantizer.codebook)
    return quantizer


@pytest.fixture
def next_token() -> nn.Module:
    """An autoregressive network over 3 tokens, given 6 numbers."""
    torch.manual_seed(0)
    return NextToken(3, 6)
