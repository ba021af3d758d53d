"""Terms about images: known values, finite gradients, and nothing random but from the generator that was given."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions import Laplace, Point
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.image.oklab import oklab as as_oklab
from vaekit.metrics.image.ssim import ssim as similarity
from vaekit.training.objectives import Pass
from vaekit.training.terms.images import transformed
from vaekit.training.terms.table import TERMS
from vaekit.vae import VAE


def seeing(x: Tensor, result: Tensor) -> Pass:
    """A pass whose result is known already."""
    seen = Pass(VAE(None, Point, None, Laplace), x, 0, Generator())
    seen.result = result
    return seen


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator))


def test_ssim_is_one_minus_the_score(pair: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(TERMS["ssim"]().compute(seeing(*pair)), 1 - similarity(*pair))


def test_the_gradient_of_ssim_is_that_of_finite_differences(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    y.requires_grad_()
    TERMS["ssim"]().compute(seeing(x, y)).sum().backward()
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ahead, behind = (similarity(x, y + sign * 1e-2 * direction).double().sum() for sign in (1, -1))
    assert (y.grad * direction).sum().item() == pytest.approx(-(ahead - behind).item() / 2e-2, rel=1e-2)


@pytest.mark.parametrize("power", [1, 2])
def test_oklab_is_the_distance_of_colors(pair: tuple[Tensor, Tensor], power: int) -> None:
    x, y = pair
    wanted = (as_oklab(y) - as_oklab(x)).abs().pow(power).mean(dim=(1, 2, 3))
    torch.testing.assert_close(TERMS["oklab"](power=power).compute(seeing(x, y)), wanted)


@pytest.mark.parametrize("name", ["l1", "mse", "ssim", "oklab", "lpips"])
@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("different", [False, True])
def test_gradients_are_finite_for_flat_and_for_equal_images(
    name: str, level: float, different: bool, lpips: LPIPS
) -> None:
    """Where a square root stands at zero, others' trainers get NaN (CompVis/latent-diffusion, issue 176)."""
    x = torch.full((1, 3, 32, 32), level)
    y = (torch.full_like(x, -level) if different else x.clone()).requires_grad_()
    settings = {"network": lpips} if name == "lpips" else {}
    TERMS[name](**settings).compute(seeing(x, y)).sum().backward()
    assert torch.isfinite(y.grad).all()


def test_lpips_has_finite_gradients_where_all_features_are_zero(lpips_tensors: dict[str, Tensor]) -> None:
    dead = {name: -each.abs() if name.endswith("bias") else 0 * each for name, each in lpips_tensors.items()}
    y = torch.zeros(1, 3, 32, 32, requires_grad=True)
    TERMS["lpips"](network=LPIPS.from_tensors(dead)).compute(seeing(torch.ones(1, 3, 32, 32), y)).sum().backward()
    assert torch.equal(y.grad, torch.zeros_like(y))


def averaged(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 4)


@pytest.mark.parametrize("scales", [[], [0.5], [0.5, 1.0]])
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_latents_are_moved_as_images_are(scales: list[float], rotate: bool, flip: bool) -> None:
    """Of latents that are block means, the moved ones are those of the moved image."""
    x = F.interpolate(torch.rand(2, 3, 2, 3), (32, 48), mode="bicubic")
    for seed in range(8):
        z, moved = transformed(averaged(x), x, scales, rotate, flip, Generator().manual_seed(seed))
        assert moved.shape[2] == 4 * z.shape[2] and moved.shape[3] == 4 * z.shape[3]
        torch.testing.assert_close(averaged(moved), z, atol=0.05, rtol=0)
        if not scales:
            torch.testing.assert_close(averaged(moved), z)


def test_equivariance_is_the_error_against_the_moved_image(
    fresh_vae: Callable[[], VAE], smooth_images: Callable[[int, int, Generator], Tensor]
) -> None:
    vae, x = fresh_vae().eval(), smooth_images(2, 16, Generator().manual_seed(0))
    seen = Pass(vae, x, 0, Generator().manual_seed(3))
    value = TERMS["equivariance"](scales=[0.5], rotate=False, probability=1.0).compute(seen)
    small = F.interpolate(x, (8, 8), mode="bilinear", antialias=True)
    wanted = vae.decode(F.interpolate(seen.z, (4, 4), mode="bilinear")) - small
    torch.testing.assert_close(value, wanted.abs().mean(dim=(1, 2, 3)))
    value.sum().backward()
    assert all(each.grad is not None for each in vae.parameters())


def test_equivariance_comes_as_often_as_was_said_and_by_the_generator_alone(
    fresh_vae: Callable[[], VAE], smooth_images: Callable[[int, int, Generator], Tensor]
) -> None:
    vae, x = fresh_vae().eval(), smooth_images(1, 8, Generator().manual_seed(0))
    term = TERMS["equivariance"](probability=0.25)
    with torch.no_grad():
        drawn = [
            [term.compute(Pass(vae, x, 0, Generator().manual_seed(i))).sum().item() for i in range(100)] for _ in "ab"
        ]
    assert drawn[0] == drawn[1]
    assert 15 <= sum(value > 0 for value in drawn[0]) <= 35


@pytest.mark.parametrize("wrong", [{"scales": [], "rotate": False}, {"scales": [2.0]}, {"probability": 1.5}])
def test_equivariance_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TERMS["equivariance"](**wrong)
