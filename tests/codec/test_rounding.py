"""Roundings that could differ between machines are recorded, and repeated."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaekit.codec.corrections import correction_bytes, corrections_from
from vaekit.codec.rounding import MARGIN, Correction, Place, Recording, Replaying

PLACES = st.builds(Place, st.integers(0, 10**6), st.integers(0, 300), st.integers(0, 60))
CORRECTIONS = st.builds(Correction, PLACES, st.integers(0, 10**9), st.booleans())


def test_a_reader_with_slightly_other_values_rounds_alike() -> None:
    """The values of the reader differ by less than the margin, in both directions."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.full((2000,), 2**24)
    halves = (torch.arange(2000).double() + 0.5) / shares
    written = halves + (torch.rand(2000, generator=generator).double() - 0.5) * MARGIN
    read = halves + (torch.rand(2000, generator=generator).double() - 0.5) * MARGIN
    place = Place(3, 1, 7)
    recording = Recording()
    expected = recording.round(written, shares, place)
    assert not np.array_equal(Replaying([]).round(read, shares, place), expected)
    assert np.array_equal(Replaying(recording.corrections).round(read, shares, place), expected)
    assert len(recording.corrections) == 2000


def test_values_far_from_a_boundary_are_not_recorded() -> None:
    recording = Recording()
    values = torch.tensor([0.0, 0.25, 1.4999, 2.5001, 3.2], dtype=torch.float64) / 8
    assert recording.round(values, torch.full((5,), 8), Place(0, 0, 0)).tolist() == [0, 0, 1, 3, 3]
    assert recording.corrections == []


@given(st.lists(CORRECTIONS, max_size=20))
def test_corrections_are_kept_as_bytes(corrections: list[Correction]) -> None:
    assert corrections_from(correction_bytes(corrections)) == sorted(corrections)


def test_truncated_corrections_are_an_error() -> None:
    content = correction_bytes([Correction(Place(5, 2, 3), 70_000, True)])
    for end in range(1, len(content)):
        with pytest.raises(ValueError, match="truncated"):
            corrections_from(content[:end])


def test_a_correction_of_a_variable_that_is_not_there_is_ignored() -> None:
    rounded = Replaying([Correction(Place(0, 0, 0), 9, True)]).round(
        torch.zeros(3).double(), torch.ones(3).long(), Place(0, 0, 0)
    )
    assert rounded.tolist() == [0, 0, 0]
