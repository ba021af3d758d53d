"""A network run slab by slab, in whatever memory, gives what it gives as a whole: every family, any size."""

from operator import itemgetter

import pytest
import torch
from family_examples import daily
from family_halves import HALVES, Half, half_of, random_half, streamed
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vaekit.runtime.streaming.lowering_rules import lower


@pytest.fixture(scope="module", params=daily(HALVES, itemgetter(0)), ids=" ".join)
def half(request: pytest.FixtureRequest) -> Half:
    return random_half(*request.param)


@given(
    st.integers(1, 17),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([None, 0, 1, 3000]),
    st.integers(1, 5),
    st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_streamed_is_whole(
    half: Half, h: int, w: int, slab_rows: int, memory: int | None, parts: int, seed: int
) -> None:
    assume(h * w > 1)  # torch itself refuses the norm of a group of one number
    assume(min(h, w) >= half.least)
    x = half.input(h, w, seed)
    with torch.no_grad():
        expected = half.network(x)
        got = streamed(half, x, slab_rows, memory, parts)
    span = (expected.max() - expected.min()).item() + 1e-3
    assert (got - expected).abs().max().item() <= 1e-4 * span


def test_no_step_is_run_whole_that_has_many_rows(half: Half) -> None:
    steps, _ = lower(half.watched, 6, 5, {})
    assert not [step for step in steps if step.whole and step.axis is not None]


def test_where_maps_are_kept_changes_no_bit(half: Half) -> None:
    x = half.input(4, 3)
    with torch.no_grad():
        assert torch.equal(streamed(half, x, 2, None, 2), streamed(half, x, 2, 0, 2))


class PadsForAll(nn.Module):
    """Lays zeros around a map for a function that no rule knows, so that it is run on all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flip(torch.nn.functional.pad(self.conv(x), (1, 1, 1, 1)), (2,))


def test_padding_that_a_whole_step_reads_is_kept() -> None:
    torch.manual_seed(0)
    network, x = PadsForAll().eval(), torch.randn(1, 3, 9, 7)
    with torch.no_grad():
        got = streamed(half_of(network, 3), x, 2, None, 2)
        torch.testing.assert_close(got, network(x))
