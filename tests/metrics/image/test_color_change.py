import pytest
import torch

from vaekit.metrics.image.color_change import apply_color_change, fit_color_change
from vaekit.testcards.dead_leaves import dead_leaves


@pytest.fixture(scope="module")
def planes() -> torch.Tensor:
    return 127.5 + 80 * dead_leaves(2, (128, 160), torch.Generator().manual_seed(0))[1]


def everywhere(planes: torch.Tensor) -> torch.Tensor:
    return torch.ones(planes.shape[1:], dtype=torch.bool)


def test_contrast_brightness_and_saturation_are_told_apart(planes: torch.Tensor) -> None:
    luma = (torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1) * planes).sum(dim=0)
    for slope, offset, scale in ((0.9, 12.75, 1), (1.05, 0, 1), (1, 12.75, 1), (1, 0, 0.85), (0.9, 5, 0.8)):
        y = slope * (luma + scale * (planes - luma)) + offset
        change = fit_color_change(planes, y, everywhere(planes))
        assert change.slope == pytest.approx(slope, abs=2e-3)
        assert change.offset == pytest.approx(offset, abs=0.3)
        assert change.scale == pytest.approx(slope * scale, abs=5e-3)
        assert change.turn == pytest.approx(0, abs=0.2)
        torch.testing.assert_close(apply_color_change(change, planes), y, atol=0.5, rtol=0)


def test_saturation_of_hsv_leaves_grays_alone(planes: torch.Tensor) -> None:
    value = planes.amax(dim=0)
    change = fit_color_change(planes, value + 0.8 * (planes - value), everywhere(planes))
    assert (change.slope, change.scale) == pytest.approx((1, 0.8), abs=2e-3)
    assert change.offset == pytest.approx(0, abs=0.2)


def test_a_cast_and_outliers(planes: torch.Tensor) -> None:
    y = planes + torch.tensor([4.0, 0, -4]).view(3, 1, 1)
    y[:, :40, :40] = 255
    change = fit_color_change(planes, y, everywhere(planes))
    u, v = change.cast.tolist()
    assert u / 2**0.5 + v / 6**0.5 == pytest.approx(4, abs=0.4)
    assert change.slope == pytest.approx(1, abs=0.01)


def test_without_a_usable_pixel_nothing_has_changed(planes: torch.Tensor) -> None:
    change = fit_color_change(planes, planes / 2, ~everywhere(planes))
    assert (change.slope, change.offset, change.scale, change.turn) == (1, 0, 1, 0)
    torch.testing.assert_close(apply_color_change(change, planes), planes, atol=1e-3, rtol=0)
