"""MTF50 of edges whose blur is known."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.metrics.image.slanted_edge import mtf, mtf50
from vaekit.testcards.slanted import slanted_edges


def edge(sigma: float, degrees: float = 5, height: int = 60, width: int = 70, contrast: float = 1) -> Tensor:
    """Point samples of an edge blurred with a Gaussian across it."""
    turn = math.radians(degrees)
    rows, columns = torch.arange(height).double()[:, None], torch.arange(width).double()
    across = (columns - width / 2 + 0.3) * math.cos(turn) - (rows - height / 2) * math.sin(turn)
    return (contrast * torch.erf(across / sigma / 2**0.5)).float()


@pytest.mark.parametrize("sigma", [0.6, 1, 2, 4])
@pytest.mark.parametrize("degrees", [3, -5, 8])
def test_a_gaussian_blur_has_its_mtf50(sigma: float, degrees: float) -> None:
    # exp(-2 pi^2 s^2 f^2) = 1/2
    expected = math.sqrt(math.log(2) / 2) / math.pi / sigma
    assert mtf50(edge(sigma, degrees)[None]).item() == pytest.approx(expected, rel=0.03)


def test_the_whole_curve_is_the_gaussian() -> None:
    frequency, contrast = mtf(edge(1.0).double())
    expected = torch.exp(-2 * math.pi**2 * frequency.square())
    below = frequency < 0.4
    torch.testing.assert_close(contrast[below], expected[below], atol=0.02, rtol=0)


def test_contrast_polarity_and_noise_hardly_matter() -> None:
    whole = mtf50(edge(1.0)[None]).item()
    assert mtf50(edge(1.0, contrast=-0.1)[None]).item() == pytest.approx(whole, rel=1e-3)
    noise = 0.02 * torch.randn(60, 70, generator=torch.Generator().manual_seed(0))
    assert mtf50((edge(1.0) + noise)[None]).item() == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize(
    "plane",
    [torch.zeros(60, 60), torch.rand(4, 4), edge(1.0).T.contiguous(), edge(1.0, 0.0)],
    ids=["flat", "tiny", "horizontal", "upright"],
)
def test_what_is_no_slanted_edge_is_nan(plane: Tensor) -> None:
    assert mtf50(plane[None]).isnan().all()


def test_the_cards_own_edges_are_as_sharp_as_pixels() -> None:
    card = slanted_edges((384, 576))
    for one in card.edges:
        plane = card.image[:, 0, *one.place]
        # sinc(f) = 1/2 at 0.603 cycles per pixel, for pixels that are squares
        assert mtf50(plane if one.vertical else plane.mT).item() == pytest.approx(0.605, abs=0.025)
