import cmath
import math

import pytest
import torch
from skimage import color

from vaekit.metrics.image.color_bias import color_bias
from vaekit.metrics.image.tone import tone_curve


def muted(seed: int = 0) -> torch.Tensor:
    return 0.5 * (torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(seed)) * 2 - 1)


def through_lab(x: torch.Tensor, turn: float, scale: float, lighter: float) -> torch.Tensor:
    values = color.rgb2lab(((x + 1) / 2).permute(0, 2, 3, 1).double().numpy())
    factor = scale * cmath.exp(1j * math.radians(turn))
    z = torch.from_numpy(values[..., 1] + 1j * values[..., 2]) * factor
    back = torch.stack([torch.from_numpy(values[..., 0]) + lighter, z.real, z.imag], dim=-1)
    return torch.from_numpy(color.lab2rgb(back.numpy())).permute(0, 3, 1, 2).float() * 2 - 1


@pytest.mark.parametrize(("turn", "scale", "lighter"), [(4, 1, 0), (-7, 0.85, 0), (0, 0.9, 2), (0, 1.1, -3)])
def test_what_was_done_in_lab_is_found(turn: float, scale: float, lighter: float) -> None:
    x = muted()
    bias = color_bias(x, through_lab(x, turn, scale, lighter))
    assert bias.hue.tolist() == pytest.approx([turn] * 2, abs=0.1)
    assert bias.chroma.tolist() == pytest.approx([scale] * 2, abs=0.01)
    assert bias.lightness.tolist() == pytest.approx([lighter] * 2, abs=0.05)


def test_gray_images_have_no_hue() -> None:
    x = torch.rand(1, 1, 16, 16).expand(1, 3, 16, 16)
    bias = color_bias(x, x)
    assert bias.hue.isnan().all() and bias.chroma.isnan().all()
    assert bias.lightness.item() == 0


def test_white_is_that_of_the_lightest_pixels() -> None:
    x = torch.full((1, 3, 40, 40), -0.5)
    x[..., :4, :] = 0.9
    y = x.clone()
    y[:, 2, :4] -= 0.1
    a, b = color_bias(x, y).white[0].tolist()
    assert b > 3 and abs(a) < b


def test_tone_curve_finds_slope_offset_and_range() -> None:
    x = muted(1)
    curve = tone_curve(x, 0.8 * x + 0.1)
    assert curve.slope.tolist() == pytest.approx([0.8] * 2, abs=1e-4)
    assert curve.offset.tolist() == pytest.approx([0.2 * 127.5 + 12.75] * 2, abs=1e-2)
    dark, light = curve.range[0].tolist()
    assert dark > 12.75 > light


def test_one_tone_has_no_slope() -> None:
    x = torch.zeros(1, 3, 16, 16)
    assert tone_curve(x, x + 0.1).slope.isnan().all()
    assert tone_curve(x, x + 0.1).shift.item() == pytest.approx(12.75, abs=1e-3)
