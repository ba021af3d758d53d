"""Nearest neighbors, against all distances, however they are divided into blocks."""

import pytest
import torch
from torch import Generator

from vaekit.metrics.latent.neighbors import nearest


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_neighbors_are_those_of_all_distances(block: int) -> None:
    rows = 50 + torch.randn(90, 5, generator=Generator().manual_seed(0))
    distances = torch.cdist(rows.double(), rows.double())
    distances.fill_diagonal_(torch.inf)
    assert nearest(90, lambda start, stop: rows[start:stop], block).tolist() == distances.argmin(dim=1).tolist()


def test_equal_rows_are_neighbors_of_each_other_and_not_of_themselves() -> None:
    rows = torch.tensor([[1.0], [1.0], [9.0], [9.0]])
    assert nearest(4, lambda start, stop: rows[start:stop], 3).tolist() == [1, 0, 3, 2]
