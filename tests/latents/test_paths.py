"""Paths: their ends are the ends, they are continuous, and a Gaussian one keeps the distribution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from vaekit.latents.paths import PATHS, Path, gaussian, linear, spherical, through


def latents(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *shape, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize("path", PATHS.values(), ids=list(PATHS))
@given(st.integers(0, 99), st.sampled_from([(3,), (4, 2, 5), (2, 7)]), st.integers(0, 6), st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_ends_are_the_ends(path: Path, seed: int, shape: tuple[int, ...], steps: int, count: int) -> None:
    ends = latents(count, *shape, seed=seed)
    points = through(ends, steps, path)
    assert len(points) == (count - 1) * (steps + 1) + 1
    assert torch.equal(points[:: steps + 1], ends)


@pytest.mark.parametrize("path", PATHS.values(), ids=list(PATHS))
@pytest.mark.parametrize("opposite", [False, True])
def test_paths_are_continuous(path: Path, opposite: bool) -> None:
    a, b = latents(2, 16)
    if opposite:
        b = -2 * a
    points = path(a, b, torch.linspace(0, 1, 1001))
    steps = (points[1:] - points[:-1]).norm(dim=1)
    assert points.isfinite().all()
    # A Gaussian path between opposite ends passes through 0, where nothing else is steep.
    assert steps.max() < 0.02 * (a.norm() + b.norm())


def test_a_spherical_path_keeps_the_norm() -> None:
    a, b = latents(2, 64)
    b *= a.norm() / b.norm()
    norms = spherical(a, b, torch.linspace(0, 1, 9)).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, a.norm().expand(9))


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0, 0.0])
def test_a_spherical_path_between_parallel_ends_is_a_line(factor: float) -> None:
    a, t = latents(1, 8)[0], torch.linspace(0, 1, 5)
    assert torch.equal(spherical(a, factor * a, t), linear(a, factor * a, t))


def test_a_gaussian_path_keeps_the_variance_and_a_line_does_not() -> None:
    a, b = latents(2, 20_000)
    middle = torch.tensor([0.5])
    assert gaussian(a, b, middle).std().item() == pytest.approx(1, abs=0.02)
    assert linear(a, b, middle).std().item() == pytest.approx(0.5**0.5, abs=0.02)
