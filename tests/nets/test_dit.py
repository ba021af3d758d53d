"""Diffusion transformers: patches, positions, shapes."""

import pytest
import torch

from vaekit.nets.denoising import Condition
from vaekit.nets.dit import DiTConfig, joined, patches

SHAPES = {
    "map": DiTConfig(4, (6, 4), 2, 16, 1, 2),
    "padded map": DiTConfig(2, (7, 5), 2, 16, 1, 2),
    "sequence": DiTConfig(3, (9,), 4, 16, 1, 2),
    "volume": DiTConfig(2, (3, 4, 5), 2, 24, 1, 2),
    "vector": DiTConfig(10, (), 1, 16, 1, 2),
    "padded vector": DiTConfig(10, (), 4, 16, 1, 2),
    "one position": DiTConfig(10, (1, 1), 2, 16, 1, 2),
}


@pytest.mark.parametrize("name", SHAPES)
def test_patches_are_joined_again(name: str) -> None:
    config = SHAPES[name]
    x = torch.randn(2, *config.shape)
    cut = patches(x, config)
    assert cut.shape == (2, torch.tensor(config.grid).prod(), config.values)
    assert torch.equal(joined(cut, config), x)


def test_a_patch_is_a_square() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert patches(x, DiTConfig(1, (4, 4), 2, 16, 1, 2))[0, 1].tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize("name", SHAPES)
def test_velocities_have_the_shape_of_latents_and_are_zero_at_first(name: str) -> None:
    config = SHAPES[name]
    net, x = config.build(context=False), torch.randn(2, *config.shape)
    velocity = net(x, torch.rand(2), Condition(torch.randn(2, config.embedding)))
    assert velocity.shape == x.shape and not velocity.any()


def test_blocks_do_nothing_at_first() -> None:
    net = SHAPES["map"].build(context=True)
    x, embedded = torch.randn(2, 6, 16), torch.randn(2, 16)
    assert torch.equal(net.blocks[0](x, embedded, Condition(embedded, torch.randn(2, 3, 16))), x)


def test_positions_differ() -> None:
    positions = SHAPES["map"].build(context=False).positions
    assert len({tuple(row.tolist()) for row in positions}) == len(positions) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 15},
        {"heads": 3},
        {"patch": 0},
        {"size": (1, 2, 3, 4), "width": 32},
        {"size": (1024, 1024), "patch": 1},
    ],
)
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        DiTConfig(**{"channels": 4, "size": (4, 4), "patch": 2, "width": 16, "depth": 1, "heads": 2, **wrong})  # type: ignore[arg-type]
