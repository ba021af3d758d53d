import pytest
import torch

from vaekit.domains.images.heat_map import WIDE, HeatScale, colors_of, heat_over, heat_sheet
from vaekit.metrics.image.color import luma


def test_colors_get_lighter_evenly() -> None:
    lightness = luma(colors_of(torch.linspace(0, 1, 101).view(1, -1)).unsqueeze(0))[0, 0]
    assert (lightness.diff() > 0).all()
    outside = colors_of(torch.tensor([[-1.0, 0.0, 1.0, 7.0]]))
    assert torch.equal(outside[..., 0], outside[..., 1])
    assert torch.equal(outside[..., 2], outside[..., 3])


def test_probable_parts_show_the_dimmed_image() -> None:
    image = torch.rand(1, 3, 4, 4) * 2 - 1
    shown = heat_over(image, torch.tensor([[0.0, 1.0]]).repeat_interleave(2, 1).expand(4, 4))
    gray = (luma(image) + 1) / 2
    assert torch.equal(shown[0, 0, :, :2], shown[0, 2, :, :2])
    assert ((shown[0, 0, :, :2] + 1) / 2 <= gray[0, :, :2]).all()
    assert (shown[0, 0, :, 2:] > shown[0, 2, :, 2:]).all()


def test_a_sheet_has_three_panels_and_a_scale() -> None:
    image = torch.zeros(1, 3, 10, 20)
    sheet = heat_sheet(image, image, torch.eye(5), 0.5)
    assert sheet.shape[3] > 3 * WIDE
    assert sheet.shape[2] > WIDE / 2
    calm, hot = (heat_sheet(image, image, scale * torch.eye(5), 0.5) for scale in (0.0, 1.0))
    assert calm.shape == hot.shape == sheet.shape
    assert not torch.equal(calm, hot)


def test_normal_places_are_at_the_lower_end_of_the_scale() -> None:
    calm, hot = HeatScale.of(torch.tensor([[0.3, -1.0]]), 1.0), HeatScale.of(torch.tensor([[90.0, 0.3]]), 1.0)
    assert (calm.top, hot.top) == (9.0, 90.0)
    assert calm.places(torch.tensor([[-1.0, 0.0, 1.0, 9.0]]))[0].tolist() == pytest.approx([0, 0, 0.30103, 1])
    assert hot.places(torch.tensor([[1.0]])).item() < 0.2
    unknown = HeatScale.of(torch.tensor([[4.5, 0.1]]), None)
    assert (unknown.unit, unknown.top) == (0.5, 4.5)
    assert HeatScale.of(torch.zeros(1, 1), None).places(torch.zeros(1, 1)).item() == 0
