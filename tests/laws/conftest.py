"""Small real networks that the laws of several rooms are tried on."""

import pytest
import torch
from torch import nn

from vaekit.nets.sequence import SequenceConfig
from vaekit.nets.token_models import Recurrent
from vaekit.nets.vector_quantizer import VectorQuantizer


@pytest.fixture
def quantizer() -> nn.Module:
    """A vector quantizer of 5 codes of 4 numbers."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(5, 4)
    nn.init.normal_(quantizer.codebook)
    return quantizer


@pytest.fixture
def next_token() -> nn.Module:
    """A model of sequences over 3 tokens, END among them, given 6 values."""
    torch.manual_seed(0)
    return Recurrent(SequenceConfig(3, 5, 2, width=6, embedding=6), word_dropout=0.0, dropout=0.0)
