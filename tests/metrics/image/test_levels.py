"""What became of each level."""

import torch

from vaekit.metrics.image.levels import LOWEST, level_curve


def test_what_became_of_each_level() -> None:
    x = torch.arange(256).float().repeat(20, 1)
    curve = level_curve(x, (x * 0.5).floor())
    assert curve.median[-LOWEST : 256 - LOWEST].tolist() == [level // 2 for level in range(256)]
    assert curve.agreed[-LOWEST : 256 - LOWEST].tolist() == [1] * 256
    assert curve.count[-LOWEST : 256 - LOWEST].tolist() == [20] * 256
