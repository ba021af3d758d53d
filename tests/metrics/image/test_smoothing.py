import pytest
import torch

from vaekit.metrics.image.smoothing import smoothed


@pytest.mark.parametrize("sigma", [0.0, 0.5, 3.0, 50.0])
def test_constant_maps_stay(sigma: float) -> None:
    assert torch.allclose(smoothed(torch.full((2, 7, 4), 3.0), sigma), torch.full((2, 7, 4), 3.0))


def test_a_peak_becomes_a_gaussian() -> None:
    peak = torch.zeros(1, 41, 41)
    peak[0, 20, 20] = 1
    found = smoothed(peak, 2.0)[0]
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    assert (found[20, 22] / found[20, 20]).item() == pytest.approx(torch.tensor(-0.5).exp().item(), rel=1e-5)
    assert torch.equal(found, found.T)


def test_maps_do_not_depend_on_each_other() -> None:
    maps = torch.rand(3, 9, 9)
    assert torch.allclose(smoothed(maps, 1.0)[1:2], smoothed(maps[1:2], 1.0))
