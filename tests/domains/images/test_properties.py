"""Properties of images: known values, gradients, and images with one or four channels."""

import pytest
import torch
from refusals import refuses

from vaekit.domains.images.properties import PROPERTIES, image_property
from vaekit.errors import NotFound


def test_known_values() -> None:
    x = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    values = {name: image_property(name)(x).item() for name in PROPERTIES}
    assert values["brightness"] == pytest.approx(127.5 * (1 + 0.299 - 0.114))
    assert (values["saturation"], values["warmth"], values["detail"]) == pytest.approx((255, 255, 0))
    assert values["contrast"] == pytest.approx(0, abs=1e-3)
    stripes = torch.tensor([-1.0, 1.0]).repeat(4).view(1, 1, 1, 8).expand(1, 1, 6, 8)
    values = {name: image_property(name)(stripes).item() for name in PROPERTIES}
    assert values["contrast"] == pytest.approx(127.5) and values["brightness"] == pytest.approx(127.5)
    assert values["detail"] == pytest.approx(255 * 42 / (42 + 40))  # of 42 pairs in rows and 40 in columns


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_property_has_one_value_an_image_and_a_gradient(name: str, channels: int) -> None:
    x = (torch.rand(2, channels, 5, 6, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9).requires_grad_()
    values = image_property(name)(x)
    values.sum().backward()
    assert values.shape == (2,) and x.grad is not None and x.grad.isfinite().all()
    gray = channels == 1 and name in ("saturation", "warmth")
    assert bool(x.grad.abs().sum() < 1e-3) == gray


def test_values_outside_the_range_count_as_the_edge() -> None:
    x = torch.full((1, 3, 2, 2), 3.0)
    assert image_property("brightness")(x).item() == 255


def test_unknown_properties_are_refused() -> None:
    with refuses(NotFound, "brightness"):
        image_property("brightnes")
