"""Gradient ascent and CMA-ES: known optima, bounds that hold exactly, and independence of the batch."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.latents.optimise import MOST_FULL, Strategy, ascend, cma_es
from vaekit.latents.regions import Region


def normal(u: Tensor) -> Tensor:
    return -0.5 * u.square().sum(dim=1)


def starts(count: int, d: int) -> Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rotated_quadratic(d: int) -> tuple[Tensor, Tensor]:
    """A positive definite matrix with condition 1e4, and a center."""
    generator = torch.Generator().manual_seed(2)
    rotation, _ = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    scales = torch.logspace(0, 4, d, dtype=torch.float64)
    return rotation @ torch.diag(scales) @ rotation.T, torch.randn(d, generator=generator, dtype=torch.float64)


def rosenbrock(u: Tensor) -> Tensor:
    return -(100 * (u[:, 1:] - u[:, :-1].square()).square() + (1 - u[:, :-1]).square()).sum(dim=1)


@pytest.mark.parametrize("method", ["gradient", "cma-es"])
def test_a_linear_function_on_a_ball(method: str) -> None:
    """The optimum of w u around s is s + r w / |w|."""
    start, w = starts(3, 4), torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    region = Region.around(start, 2.0)
    best = ascend(lambda u: u @ w, region, 60) if method == "gradient" else cma_es(lambda u: u @ w, region, 150)
    tolerance = 1e-9 if method == "gradient" else 2e-2
    torch.testing.assert_close(best.u, start + 2 * w / w.norm(), rtol=0, atol=tolerance)
    assert region.contains(best.u).all() and region.active(best.u)[0].all()


@pytest.mark.parametrize("method", ["gradient", "cma-es"])
def test_a_linear_function_within_distance_and_density(method: str) -> None:
    """In the plane, around (1, 0) with radius 1 and around 0 with radius 1: the highest second coordinate is at the
    corner (1/2, sqrt(3)/2), and the lowest first one at 0."""
    region = Region.around(torch.tensor([[1.0, 0.0]], dtype=torch.float64), 1.0, normal, -0.5, spherical=True)
    for w, expected in (((0.0, 1.0), (0.5, math.sqrt(3) / 2)), ((-1.0, 0.0), (0.0, 0.0))):
        direction = torch.tensor(w, dtype=torch.float64)
        if method == "gradient":
            best = ascend(lambda u, direction=direction: u @ direction, region, 100)
        else:
            best = cma_es(lambda u, direction=direction: u @ direction, region, 100)
        assert region.contains(best.u).all()
        torch.testing.assert_close(best.u[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-2)


def test_a_target_is_reached_and_not_passed() -> None:
    w = torch.tensor([3.0, 4.0], dtype=torch.float64)
    region = Region.around(torch.zeros(2, 2, dtype=torch.float64), 10.0)
    targets = torch.tensor([7.0, 1000.0], dtype=torch.float64)
    best = ascend(lambda u: -(u @ w - targets).abs(), region, 60, bound=0.0)
    torch.testing.assert_close(best.u @ w, torch.tensor([7.0, 50.0], dtype=torch.float64))
    torch.testing.assert_close(best.u[0], 7 / 25 * w)  # the nearest point with that value


def test_cma_es_finds_the_optimum_of_a_rotated_quadratic() -> None:
    matrix, center = rotated_quadratic(5)
    region = Region.around(torch.zeros(2, 5, dtype=torch.float64), 10.0)
    best = cma_es(lambda u: -((u - center) @ matrix * (u - center)).sum(dim=1), region, 400, seed=3)
    torch.testing.assert_close(best.u, center.expand(2, 5), rtol=0, atol=1e-5)


def test_cma_es_finds_the_optimum_of_rosenbrock() -> None:
    best = cma_es(rosenbrock, Region.around(torch.zeros(1, 5, dtype=torch.float64), math.inf), 700)
    torch.testing.assert_close(best.u, torch.ones(1, 5, dtype=torch.float64), rtol=0, atol=1e-5)


def test_cma_es_with_a_diagonal_matrix_for_many_dimensions() -> None:
    d = MOST_FULL + 12
    assert not Strategy.of(d).full
    scales = torch.logspace(0, 2, d, dtype=torch.float64)
    start = torch.full((1, d), 0.5, dtype=torch.float64)
    best = cma_es(lambda u: -(scales * u.square()).sum(dim=1), Region.around(start, 8.0), 400)
    assert best.score > -1e-2 * (scales * 0.25).sum()


def test_one_dimension() -> None:
    region = Region.around(torch.zeros(1, 1, dtype=torch.float64), 4.0)
    best = cma_es(lambda u: -(u[:, 0] - 1).square(), region, 60)
    torch.testing.assert_close(best.u, torch.ones(1, 1, dtype=torch.float64), rtol=0, atol=1e-4)


def test_the_seed_decides_and_the_batch_does_not() -> None:
    matrix, center = rotated_quadratic(4)

    def score(u: Tensor) -> Tensor:
        return -((u - center) @ matrix * (u - center)).sum(dim=1)

    several = cma_es(score, Region.around(starts(3, 4), 1.0, normal, -3.0), 20, seed=5)
    again = cma_es(score, Region.around(starts(3, 4), 1.0, normal, -3.0), 20, seed=5)
    alone = cma_es(score, Region.around(starts(3, 4)[1:2], 1.0, normal, -3.0), 20, seed=5)
    other = cma_es(score, Region.around(starts(3, 4), 1.0, normal, -3.0), 20, seed=6)
    assert torch.equal(several.u, again.u) and not torch.equal(several.u, other.u)
    torch.testing.assert_close(several.u[1:2], alone.u)
    ascents = [ascend(score, Region.around(start, 1.0), 9).u for start in (starts(3, 4), starts(3, 4)[1:2])]
    torch.testing.assert_close(ascents[0][1:2], ascents[1])


@pytest.mark.parametrize("method", [ascend, cma_es])
def test_a_start_that_is_best_stays(method: object) -> None:
    region = Region.around(torch.zeros(2, 3, dtype=torch.float64), 1.0)
    best = method(lambda u: -u.square().sum(dim=1), region, 30)
    assert torch.equal(best.u, region.start) and (best.score == 0).all()


@pytest.mark.parametrize("method", [ascend, cma_es])
def test_values_that_are_not_finite_are_the_worst(method: object) -> None:
    region = Region.around(torch.zeros(1, 2, dtype=torch.float64), 2.0)
    best = method(lambda u: torch.where(u[:, 0] > 0.5, math.nan, u[:, 0]), region, 60)
    assert 0 < best.u[0, 0] <= 0.5 and best.score.isfinite().all()
    nothing = method(lambda u: u[:, 0] * math.nan, region, 5)
    assert nothing.score.tolist() == [-math.inf] and torch.equal(nothing.u, region.start)


def test_progress_is_reported_once_a_step() -> None:
    steps: list[int] = []
    region = Region.around(torch.zeros(1, 2, dtype=torch.float64), 2.0)
    ascend(lambda u: u[:, 0], region, 4, after=steps.append)
    cma_es(lambda u: u[:, 0], region, 3, after=steps.append)
    assert steps == [1, 2, 3, 4, 1, 2, 3]
