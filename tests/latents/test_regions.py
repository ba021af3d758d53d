"""Regions of latent space: projections on them are exact, and nearest points where these are known."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.latents.regions import Region


def normal(u: Tensor) -> Tensor:
    return -0.5 * u.square().sum(dim=1)


def two_hills(u: Tensor) -> Tensor:
    """A density that is not concave."""
    centers = torch.tensor([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]], dtype=u.dtype)
    return torch.logsumexp(-2 * (u[:, None] - centers).square().sum(dim=2), dim=1)


def points(count: int, d: int, scale: float = 5.0) -> Tensor:
    return scale * torch.randn(count, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_point_inside_stays_bit_for_bit() -> None:
    region = Region.around(points(50, 3, 0.1), 1.0, normal, -2.0)
    inside = region.start + 0.3
    assert region.contains(inside).all() and torch.equal(region.project(inside), inside)


def test_a_ball_alone() -> None:
    region = Region.around(points(50, 3), 2.0)
    u = points(50, 3).flip(0)
    projected = region.project(u)
    assert region.contains(projected).all()
    shift = u - region.start
    lengths = shift.norm(dim=1, keepdim=True)
    expected = torch.where(lengths > 2, region.start + 2 * shift / lengths, u)
    torch.testing.assert_close(projected, expected)


def test_an_infinite_radius_bounds_nothing() -> None:
    region = Region.around(torch.zeros(5, 2, dtype=torch.float64), math.inf)
    assert torch.equal(region.project(points(5, 2)), points(5, 2))
    assert not torch.stack(region.active(points(5, 2))).any()


def test_a_dense_ball_alone_is_projected_on_its_sphere() -> None:
    least = -0.5 * 1.5**2
    u = points(40, 4)
    for spherical in (False, True):
        region = Region.around(torch.zeros(40, 4, dtype=torch.float64), 100.0, normal, least, spherical)
        projected = region.project(u)
        assert region.contains(projected).all()
        torch.testing.assert_close(projected, 1.5 * u / u.norm(dim=1, keepdim=True), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("spherical", "tolerance"), [(True, 1e-5), (False, 0.05)])
def test_the_nearest_point_of_two_balls(spherical: bool, tolerance: float) -> None:
    """Of the intersection of the ball around (1, 0) with radius 1, and that around 0 with radius 1: far above, the
    corner (1/2, sqrt(3)/2); from the left, the pole of the first."""
    region = Region.around(torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64), 1.0, normal, -0.5, spherical)
    projected = region.project(torch.tensor([[0.5, 3.0], [-3.0, 0.0]], dtype=torch.float64))
    expected = torch.tensor([[0.5, math.sqrt(3) / 2], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(projected, expected, rtol=0, atol=tolerance)
    assert region.contains(projected).all()


def test_the_nearest_of_many_points() -> None:
    """No sampled point of the region is nearer than the projection."""
    region = Region.around(points(1, 3, 0.3).expand(30, 3), 1.0, normal, -0.5, spherical=True)
    u = points(30, 3)
    projected = region.project(u)
    many = points(20_000, 3, 0.6)
    one = Region.around(region.start[:1], 1.0, normal, -0.5).repeated(len(many))
    inside = many[one.contains(many)]
    nearest = torch.cdist(u, inside).min(dim=1).values
    assert len(inside) > 1000 and ((projected - u).norm(dim=1) <= nearest + 1e-4).all()


@pytest.mark.parametrize(("density", "spherical"), [(normal, True), (normal, False), (two_hills, False)])
def test_projections_are_inside_exactly(density: object, spherical: bool) -> None:
    starts = points(200, 3, 1.0)
    region = Region.around(starts, 1.3, density, -1.0, spherical)  # many starts are less dense than that
    assert region.contains(starts).all() and region.contains(region.project(points(200, 3))).all()
    assert (region.least < -1).any() and (region.least == -1).any()


def test_active_bounds() -> None:
    region = Region.around(torch.zeros(3, 2, dtype=torch.float64), 2.0, normal, -0.5)
    far, sparse = region.active(torch.tensor([[0.5, 0.0], [1.0, 0.0], [2.0, 0.0]], dtype=torch.float64))
    assert far.tolist() == [False, False, True] and sparse.tolist() == [False, True, True]


def test_repeated_and_selected_keep_starts_and_limits_together() -> None:
    region = Region.around(points(4, 2, 1.0), 1.0, normal, -0.1)
    twice = region.repeated(2)
    assert torch.equal(twice.start[::2], region.start) and torch.equal(twice.least[1::2], region.least)
    one = twice.selected(torch.tensor([3]))
    assert torch.equal(one.start, region.start[1:2]) and torch.equal(one.least, region.least[1:2])
