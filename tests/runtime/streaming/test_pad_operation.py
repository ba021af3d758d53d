"""Any rows of a padded map, made alone from the rows that the window names, are those of the whole padded map."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from vaekit.runtime.streaming.operations import Pad

ROWS = 6


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (2, 1, 0, 1), (0, 0, 2, 2), (1, 1, 3, 1)])
def test_rows_made_alone_are_those_of_the_whole(mode: str, amounts: tuple[int, int, int, int]) -> None:
    x = torch.randn(1, 2, ROWS, 5, generator=torch.Generator().manual_seed(0))
    whole = F.pad(x, amounts, mode=mode)
    operation = Pad(amounts, mode, 0.0, ROWS)
    window = operation.window
    for a, b in itertools.combinations(range(whole.shape[2] + 1), 2):
        first, end = (max(0, min(row, ROWS)) for row in (window.first(a), window.end(b)))
        given = x[:, :, first : max(first, end)]
        assert torch.equal(operation.run((a, b), [given]), whole[:, :, a:b]), (a, b)
