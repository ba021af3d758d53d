"""Weights over time."""

import pytest

from vaekit.training.weights import Weight


def test_a_step_counts_from_its_place_on() -> None:
    phases = Weight(((0, 1.0), (100, 1.0), (100, 0.1)))
    assert [phases.at(samples) for samples in (0, 99, 100, 1000)] == [1.0, 1.0, 0.1, 0.1]


def test_before_the_first_point_stands_its_value() -> None:
    assert Weight(((50, 2.0), (100, 4.0))).at(0) == 2.0


def test_points_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError):
        Weight(((10, 1.0), (5, 0.0)))


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        Weight(((0, 1.0),), period=0)
