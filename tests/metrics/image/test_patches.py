"""Skin and foliage are found where the color checker and photographs have them."""

import pytest
import torch
from skimage import color, data
from torch import Tensor

from vaekit.metrics.image.color import LEVELS_PER_UNIT
from vaekit.metrics.image.patches import foliage, mean_under, share, skin
from vaekit.testcards.color_checker import PATCHES


def patches() -> Tensor:
    return (torch.tensor([color for _, color in PATCHES]).float() / 127.5 - 1).T.view(1, 3, 1, 24)


def named(mask: Tensor) -> set[str]:
    return {name for (name, _), inside in zip(PATCHES, mask.flatten().tolist(), strict=True) if inside}


def test_the_color_checkers_skins_and_foliage() -> None:
    assert {"dark skin", "light skin"} <= named(skin(patches()))
    assert not named(skin(patches())) & {"blue sky", "foliage", "green", "yellow", "white", "neutral 5", "black"}
    assert {"foliage", "yellow green", "green"} <= named(foliage(patches()))
    assert not named(foliage(patches())) & {"dark skin", "light skin", "blue sky", "red", "white", "black", "neutral 5"}


def test_the_rule_for_skin_is_the_papers() -> None:
    image = data.astronaut()[::3, ::3]
    ours = skin(torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1)[0]
    # scikit-image's C_b and C_r have the range of video, 16 to 240; the paper's numbers are those of this range too:
    # the two differ by 240 - 16 against 255.
    _, cb, cr = torch.from_numpy(color.rgb2ycbcr(image)).unbind(-1)
    full_cb, full_cr = ((c - 128) * 255 / 224 + 128 for c in (cb, cr))
    theirs = (full_cb >= 77) & (full_cb <= 127) & (full_cr >= 133) & (full_cr <= 173)
    bright = torch.from_numpy(image).float().mean(dim=-1) / 255 >= 0.12
    assert ((theirs & bright) != ours).float().mean() < 0.005
    assert share(ours[None]).item() > 0.1


def test_black_and_white_are_neither() -> None:
    for level in (-1.0, -0.95, 0.0, 1.0):
        gray = torch.full((1, 3, 2, 2), level)
        assert not skin(gray).any()
        assert not foliage(gray).any()


def test_a_color_measure_under_a_mask() -> None:
    x = patches()
    y = x + torch.tensor([2.0, 0, -1]).view(1, 3, 1, 1) / LEVELS_PER_UNIT * skin(x)[:, None]
    shift = mean_under((y - x) * LEVELS_PER_UNIT, skin(x))
    torch.testing.assert_close(shift, torch.tensor([[2.0, 0, -1]]), atol=1e-4, rtol=0)
    assert mean_under(x, skin(torch.zeros_like(x))).isnan().all()
    assert share(skin(x)).item() == pytest.approx(len(named(skin(x))) / 24)
