"""CIEDE2000 against scikit-image and published pairs."""

import numpy as np
import pytest
import torch
from skimage import color

from vaekit.metrics.image.delta_e import delta_e, delta_e_map


def random_image(seed: int, height: int = 61, width: int = 83) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def as_array(x: torch.Tensor) -> np.ndarray:
    return ((x[0].permute(1, 2, 0).double().numpy()) + 1) / 2


@pytest.mark.parametrize("spread", [0.005, 0.05, 0.5])
def test_delta_e_is_that_of_scikit_image(spread: float) -> None:
    x = random_image(1)
    y = (x + spread * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(-1, 1)
    expected = color.deltaE_ciede2000(color.rgb2lab(as_array(x)), color.rgb2lab(as_array(y)))
    found = delta_e(x, y)
    assert found.mean.item() == pytest.approx(expected.mean(), abs=1e-4)
    assert found.percentile95.item() == pytest.approx(np.percentile(expected, 95), abs=1e-4)


SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]
"""Of the published test data (Sharma, Wu, Dalal 2005, table 1)."""


@pytest.mark.parametrize(("first", "second", "distance"), SHARMA)
def test_published_pairs(first: tuple, second: tuple, distance: float) -> None:
    pair = [torch.tensor(color).float().view(1, 3, 1, 1) for color in (first, second)]
    assert delta_e_map(*pair).item() == pytest.approx(distance, abs=2e-4)
    assert delta_e_map(*reversed(pair)).item() == pytest.approx(distance, abs=2e-4)


def test_grays_and_equal_images() -> None:
    x = torch.linspace(-1, 1, 64).expand(1, 3, 8, 64)
    assert delta_e(x, x).mean.item() == 0
    assert delta_e(x, x).percentile95.item() == 0
    assert delta_e(x, x + 0.01).mean.isfinite().all()
