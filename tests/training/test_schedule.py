"""Schedules: which steps change what."""

import pytest
import torch

from vaekit.training.schedule import Schedule


def test_the_encoder_takes_more_steps_at_the_beginning() -> None:
    schedule = Schedule(samples=1000, batch_size=10, learning_rate=1.0, encoder_steps=3, encoder_samples=60)
    found = [schedule.is_for_encoder(samples) for samples in range(0, 90, 10)]
    assert found == [True, True, False, True, True, False, False, False, False]
    assert not any(Schedule(100, 10, 1.0).is_for_encoder(samples) for samples in range(0, 100, 10))


@pytest.mark.parametrize("wrong", [{"encoder_steps": 0}, {"encoder_samples": -1}, {"samples": 0}, {"averages": (1.0,)}])
def test_schedules_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Schedule(**{"samples": 10, "batch_size": 1, "learning_rate": 1.0, **wrong})  # type: ignore[arg-type]


def test_the_rate_is_that_of_a_cosine() -> None:
    schedule = Schedule(samples=100, batch_size=10, learning_rate=1.0)
    torch.testing.assert_close(schedule.rate_at(50), 0.5)
