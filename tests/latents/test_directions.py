"""Directions: axes, principal components against numpy, and steps along them."""

import numpy as np
import pytest
import torch

from vaekit.errors import BadPlan
from vaekit.latents.directions import SPREAD, Direction, axis, log_spread, principal_components, summarize


def data(count: int = 200, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, width, generator=generator) * torch.arange(1.0, width + 1) + 3


def test_components_are_eigenvectors_of_the_covariance() -> None:
    z = data()
    values, vectors = np.linalg.eigh(np.cov(z.numpy(), rowvar=False, bias=True))
    for i, found in enumerate(principal_components(z, 3)):
        assert found.std == pytest.approx(values[-1 - i] ** 0.5, rel=1e-4)
        assert abs(float(found.vector @ torch.from_numpy(vectors[:, -1 - i]).float())) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [(4,), (4, 1, 1), (4, 3, 5)])
def test_steps_move_one_channel_everywhere(shape: tuple[int, ...]) -> None:
    z = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    moved = axis(2, 4, data(width=4)).move(z, [-1.0, 0.0, 2.0])
    assert torch.equal(moved[1], z[0])
    difference = (moved - z).flatten(2) if len(shape) > 1 else (moved - z).unsqueeze(2)
    std = data(width=4)[:, 2].std(correction=0)
    torch.testing.assert_close(difference[0, 2], (-std).expand(difference.shape[2]))
    torch.testing.assert_close(difference[2, 2], (2 * std).expand(difference.shape[2]))
    assert not difference[:, [0, 1, 3]].any()


def test_maps_are_averaged_over_positions() -> None:
    z = torch.rand(3, 2, 4, 5)
    assert torch.equal(summarize(z), z.flatten(2).mean(dim=2))
    assert torch.equal(summarize(z[..., 0, 0]), z[..., 0, 0])


@pytest.mark.parametrize("channel", [-1, 4])
def test_an_axis_that_does_not_exist_is_refused(channel: int) -> None:
    with pytest.raises(BadPlan):
        axis(channel, 4)


@pytest.mark.parametrize("count", [0, 6, 100])
def test_more_components_than_there_are_are_refused(count: int) -> None:
    with pytest.raises(BadPlan):
        principal_components(data(), count)


def test_spread_changes_differences_between_positions_and_not_their_mean() -> None:
    z = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    direction = Direction("contrast", torch.tensor([0.0, 0.6, 0.8]), 0.5, SPREAD)
    moved = direction.move(z, [2.0])
    torch.testing.assert_close(summarize(moved), summarize(z))
    expected = direction.vector.double().expand(2, 3)
    torch.testing.assert_close(log_spread(moved) - log_spread(z), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(direction.move(moved, [-2.0]), z)
    assert direction.move(z, [0.0]).equal(z) and log_spread(torch.ones(1, 3, 2, 2)).isfinite().all()
