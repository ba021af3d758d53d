import pytest
import torch

from vaekit.metrics.image.oklab import oklab

CSS = {
    (1.0, 0.0, 0.0): (0.62796, 0.22486, 0.12585),
    (0.0, 1.0, 0.0): (0.86644, -0.23389, 0.17950),
    (0.0, 0.0, 1.0): (0.45201, -0.03246, -0.31153),
    (1.0, 1.0, 1.0): (1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
}
"""The primaries in Oklab, as browsers and CSS Color 4's sample code convert them."""


@pytest.mark.parametrize("rgb", CSS)
def test_primaries(rgb: tuple[float, float, float]) -> None:
    x = torch.tensor(rgb).view(1, 3, 1, 1) * 2 - 1
    assert oklab(x).flatten().tolist() == pytest.approx(CSS[rgb], abs=1e-4)


def test_slopes_are_finite_everywhere_and_point_back_from_outside() -> None:
    gray = torch.linspace(-2, 2, 4001)
    x = gray.view(-1, 1, 1, 1).expand(-1, 3, 1, 1).clone().requires_grad_()
    lightness = oklab(x)[:, 0]
    assert (lightness.flatten().diff() > 0).all(), "beyond black and white it goes on"
    lightness.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad.sum(dim=1) > 0.05).all()
    assert (x.grad.sum(dim=1) < 10).all()
