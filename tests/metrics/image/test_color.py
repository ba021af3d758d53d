import pytest
import torch

from vaekit.metrics.image.color import color_shift


def test_each_channel_in_levels_and_signed() -> None:
    x = torch.randint(0, 200, (2, 3, 9, 7), generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([[3, 0, -2], [50, -1, 1]])
    y = x + shift.view(2, 3, 1, 1)
    torch.testing.assert_close(color_shift(x / 127.5 - 1, y / 127.5 - 1), shift.float(), atol=1e-4, rtol=0)


def test_opposite_errors_cancel() -> None:
    x = torch.zeros(1, 3, 2, 2)
    y = torch.tensor([[0.5, -0.5], [0.1, -0.1]]).expand(1, 3, 2, 2)
    torch.testing.assert_close(color_shift(x, y), torch.zeros(1, 3))


def test_a_faint_shift_of_a_large_image_is_found() -> None:
    x = torch.rand(1, 3, 1500, 2000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for layout in (x, x.contiguous(memory_format=torch.channels_last)):
        shifts = color_shift(layout, layout + 0.01 / 127.5)[0].tolist()
        assert shifts == pytest.approx([0.01] * 3, abs=1e-4)


def test_half_precision_is_widened_first() -> None:
    x = torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16)
    assert color_shift(x, x + 0.5)[0].tolist() == pytest.approx([63.75] * 3)
