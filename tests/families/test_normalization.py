"""Normalizations in diffusers' configs, and in tensors beside the weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaekit.families.normalization import EPSILON, MEAN, VARIANCE, normalization_of, statistics_of
from vaekit.normalization import LatentNormalization

values = st.floats(0, 2.0**20, width=32)


@given(st.lists(st.tuples(values, values), min_size=4, max_size=4))
def test_statistics_and_normalizations_are_two_forms_of_one_thing(pairs: list[tuple[float, float]]) -> None:
    mean, variance = torch.tensor(pairs).T
    normalization = normalization_of(mean, variance, EPSILON)
    back = statistics_of(normalization, 1)
    assert torch.equal(back[MEAN], mean)
    torch.testing.assert_close(back[VARIANCE], variance, rtol=0, atol=1e-19)
    if (variance > 1e-10).all():
        assert torch.equal(back[VARIANCE], variance)


@pytest.mark.parametrize(
    "normalization",
    [
        None,
        LatentNormalization(),
        LatentNormalization((0.0,), (-1.0,), 2),
        LatentNormalization((0.0,), (1000.0,), 2),
        LatentNormalization(patch=4),
    ],
)
def test_normalizations_that_no_batch_norm_has(normalization: LatentNormalization | None) -> None:
    assert statistics_of(normalization, 4) == {}
