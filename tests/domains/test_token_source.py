"""Token sequences as training data in small types."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from vaekit.domains.token_source import Tokens, small_type, stored
from vaekit.training.data import Source, Stream


@pytest.mark.parametrize("vocabulary", [2, 256, 257, 2**16, 2**16 + 1])
def test_the_largest_number_comes_back(vocabulary: int, tmp_path: Path) -> None:
    x = torch.tensor([[vocabulary - 1, 0], [1, vocabulary - 1], [0, 0]])
    array = stored([x[:2], x[2:]], 2, vocabulary)
    assert array.dtype == small_type(vocabulary) and array.nbytes < x.numpy().nbytes
    np.save(tmp_path / "x.npy", array)
    for source in (
        Tokens(array),
        Tokens(np.load(tmp_path / "x.npy", mmap_mode="r")),
        pickle.loads(pickle.dumps(Tokens(array))),
    ):
        assert isinstance(source, Source) and len(source) == 3
        batch = source.batch(torch.tensor([2, 0]), 0)
        assert batch.dtype == torch.long and batch.tolist() == [[0, 0], [vocabulary - 1, 0]]
        assert Stream(source, 0).batch(0, 6).shape == (6, 2)


def test_no_sequences() -> None:
    assert stored([], 5, 300).shape == (0, 5)
