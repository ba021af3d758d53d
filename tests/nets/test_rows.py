"""Encoders of rows: missing cells, and cells far outside the data."""

import pytest
import torch
from torch import Tensor

from vaekit.nets.rows import LARGEST_INPUT, Encoder, RowsConfig


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(RowsConfig((4,), 2, (8,), "silu"), 2).eval()


def missing(x: Tensor, column: int) -> Tensor:
    result = x.clone()
    result[:, column] = torch.nan
    return result


def test_a_missing_cell_is_neither_zero_nor_any_other_value(encoder: Encoder) -> None:
    x = torch.zeros(3, 4)
    hidden = encoder(missing(x, 1))
    assert hidden.isfinite().all()
    assert not torch.equal(hidden, encoder(x))
    changed = x.clone()
    changed[:, 1] = 5
    torch.testing.assert_close(encoder(missing(changed, 1)), hidden)


def test_a_cell_far_outside_does_not_carry_the_latent_away(encoder: Encoder) -> None:
    x = torch.zeros(1, 4)
    x[0, 2] = 1e9
    at_the_end = x.clamp(max=LARGEST_INPUT)
    torch.testing.assert_close(encoder(x), encoder(at_the_end))


def test_values_are_hidden_in_training_only(encoder: Encoder) -> None:
    x = torch.ones(64, 4)
    assert torch.equal(encoder(x), encoder(x))
    encoder.train()
    assert len(encoder(x).unique(dim=0)) > 1


@pytest.mark.parametrize("wrong", [{"hide": 1.0}, {"hide": -0.1}, {"data_shape": (1, 4, 4)}])
def test_other_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        RowsConfig(**{"data_shape": (4,), "latent_channels": 2, "hidden": (8,), **wrong})  # type: ignore[arg-type]
