"""Channels."""

import pytest
import torch

from vaekit.domains.audio.mixing import mixed, mixing_matrix


@pytest.mark.parametrize("given", [1, 2, 3, 4, 5, 6, 7, 8, 12])
@pytest.mark.parametrize("wanted", [1, 2, 3, 6])
def test_no_sum_exceeds_full_scale(given: int, wanted: int) -> None:
    matrix = mixing_matrix(given, wanted)
    assert matrix.shape == (wanted, given)
    assert torch.allclose(matrix.sum(dim=1), torch.ones(wanted))


def test_surround_to_stereo() -> None:
    left, right = mixing_matrix(8, 2)
    assert left[0] > left[2] > left[1] == 0 and right[1] > 0 and left[3] == right[3] == 0
    assert torch.isclose(left[4], right[5]) and left[5] == right[4] == 0


def test_equal_numbers_are_kept() -> None:
    x = torch.randn(2, 5)
    assert mixed(x, 2) is x and torch.allclose(mixed(x, 1), x.mean(dim=0, keepdim=True))
