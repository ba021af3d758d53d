import pytest
import torch
from torch import Tensor

from vaekit.metrics.image.drift import drift
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.image.psnr import psnr


def image() -> Tensor:
    return torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0)) - 0.5


def test_each_pass_starts_where_the_last_one_ended() -> None:
    x = image()
    found = drift(lambda p: 0.9 * p, x, passes=4)
    assert found.psnr.shape == (4, 2)
    for n in range(4):
        torch.testing.assert_close(found.psnr[n], psnr(x, 0.9 ** (n + 1) * x), rtol=1e-4, atol=1e-3)
    assert (found.lost > 0).all()


def test_what_settles_at_once_loses_nothing() -> None:
    settled = image()
    found = drift(lambda _: settled, image() + 0.1)
    assert found.psnr.shape == (8, 2)
    assert found.lost.tolist() == pytest.approx([0, 0])


def test_colors_are_those_since_the_original() -> None:
    tint = torch.tensor([1.0, 0.0, -2.0]).view(1, 3, 1, 1) / 127.5
    found = drift(lambda p: p + tint, image(), passes=3)
    torch.testing.assert_close(found.color_shift[2, 0], torch.tensor([3.0, 0.0, -6.0]), atol=1e-3, rtol=0)


def test_as_a_file_has_it() -> None:
    levels = torch.arange(256.0).view(1, 1, 16, 16)
    torch.testing.assert_close(as_saved(levels / 127.5 - 1 + 0.4 / 127.5), levels / 127.5 - 1)
    assert as_saved(torch.tensor([[[[-5.0, 5.0]]]])).flatten().tolist() == [-1, 1]
