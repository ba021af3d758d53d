"""The UNet: shapes, and what it is before training."""

import pytest
import torch

from vaekit.nets.denoising import Condition
from vaekit.nets.unet import UNetConfig


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1), (2, 9)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_any_size_works_and_velocities_are_zero_at_first(size: tuple[int, int], blocks: int) -> None:
    config = UNetConfig(3, size, (8, 16, 16), blocks, heads=2)
    net, x = config.build(context=True), torch.randn(2, 3, *size)
    condition = Condition(torch.randn(2, config.embedding), torch.randn(2, 4, config.embedding))
    velocity = net(x, torch.rand(2), condition)
    assert velocity.shape == x.shape and not velocity.any()


@pytest.mark.parametrize("wrong", [{"widths": ()}, {"widths": (12,)}, {"size": (4,)}, {"heads": 3}, {"blocks": 0}])
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"maps|multiples|at least"):
        UNetConfig(**{"channels": 3, "size": (4, 4), "widths": (8, 16), **wrong})  # type: ignore[arg-type]
