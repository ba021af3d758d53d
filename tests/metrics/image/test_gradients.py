"""Gradients, edges, halos, and the community's measures."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.color import LUMA, luma
from vaekit.metrics.image.contrast_gain import contrast_gain, distinct_colors
from vaekit.metrics.image.gradients import STRONGEST, edge_sharpness, gradient, gradient_retention, strongest_edges
from vaekit.metrics.image.ringing import ringing


def photograph() -> Tensor:
    return torch.from_numpy(data.astronaut()[:200, :300].copy()).permute(2, 0, 1)[None] / 127.5 - 1


def blur(plane: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(plane.numpy(), (0, sigma, sigma))).float()


def sharpened(plane: Tensor) -> Tensor:
    return plane + 1.5 * (plane - blur(plane, 1.5))


def test_luma_is_that_of_rec_601() -> None:
    x = photograph()
    expected = (x[0].double() * torch.tensor(LUMA).double().view(3, 1, 1)).sum(dim=0)
    torch.testing.assert_close(luma(x)[0], expected.float())
    gray = x[:, :1]
    assert torch.equal(luma(gray), gray[:, 0])


def test_the_gradient_is_sobels() -> None:
    plane = luma(photograph())
    values = plane[0].double().numpy()
    expected = np.hypot(ndimage.sobel(values, 0), ndimage.sobel(values, 1))[1:-1, 1:-1] / 8
    torch.testing.assert_close(gradient(plane)[0].double(), torch.from_numpy(expected), atol=1e-6, rtol=1e-4)


def test_edges_are_the_strongest_part_and_none_where_there_are_none() -> None:
    x = gradient(luma(photograph()))
    edges = strongest_edges(x)
    assert edges.float().mean().item() == pytest.approx(STRONGEST, abs=0.002)
    assert x[edges].min() >= x[~edges].max()
    smooth = torch.linspace(-1, 1, 300).expand(1, 200, 300)
    assert not strongest_edges(gradient(smooth)).any()
    assert edge_sharpness(gradient(smooth), gradient(smooth), strongest_edges(gradient(smooth))).isnan().all()


def test_sharpness_and_retention_fall_with_blur_and_rise_with_sharpening() -> None:
    plane = luma(photograph())
    x = gradient(plane)
    edges = strongest_edges(x)
    others = [blur(plane, 2), blur(plane, 1), plane, sharpened(plane)]
    for measure in (lambda y: edge_sharpness(x, y, edges), lambda y: gradient_retention(x, y)):
        values = [measure(gradient(other)).item() for other in others]
        assert values == sorted(values)
        assert values[2] == pytest.approx(1)
    noisy = gradient(plane + 0.1 * torch.randn(plane.shape, generator=torch.Generator().manual_seed(0)))
    # What noise adds to the mean gradient it does not add where edges are.
    assert gradient_retention(x, noisy) > 1.5
    assert edge_sharpness(x, noisy, edges) < 1.1


def test_ringing_is_the_overshoot_written_out() -> None:
    x = luma(photograph())
    y = sharpened(x)
    edges = strongest_edges(gradient(x))
    highest, lowest = (
        -sign * F.max_pool2d(F.pad(-sign * x[:, None], (4, 4, 4, 4), value=-math.inf), 9, stride=1)[:, 0]
        for sign in (-1, 1)
    )
    near = F.max_pool2d(F.pad(edges.float(), (5, 5, 5, 5))[:, None], 9, stride=1)[0, 0].bool()
    overshoot = torch.maximum(y - highest, lowest - y).clamp(min=0)[0]
    assert ringing(x, y, edges).item() == pytest.approx(overshoot[near].mean().item() * 127.5, rel=1e-5)
    assert ringing(x, y, edges) > 1


def test_blur_does_not_ring() -> None:
    x = luma(photograph())
    edges = strongest_edges(gradient(x))
    assert ringing(x, blur(x, 1), edges).item() < 0.05
    assert ringing(x, x, edges).item() == 0


def test_no_edges_no_ringing() -> None:
    flat = torch.zeros(2, 20, 20)
    assert ringing(flat, flat, strongest_edges(gradient(flat))).isnan().all()


def test_contrast_gain() -> None:
    x = luma(photograph())
    assert contrast_gain(x, 0.814 * x + 0.1).item() == pytest.approx(0.814, rel=1e-4)
    assert contrast_gain(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)).isnan().all()


def test_distinct_colors_of_a_file() -> None:
    image = data.astronaut()[:200, :300]
    expected = len(np.unique(image.reshape(-1, 3), axis=0))
    x = photograph()
    assert distinct_colors(torch.cat([x, torch.zeros_like(x)])).tolist() == [expected, 1]
    # The nearest levels count, and nothing beyond the range.
    assert distinct_colors(x + 0.4 / 127.5)[0] == expected
    assert distinct_colors(torch.tensor([-9.0, -1, 1, 9]).view(1, 1, 1, 4).expand(1, 3, 1, 4)).tolist() == [2]
    assert distinct_colors(torch.full((1, 3, 2, 2), math.nan)).tolist() == [1]
