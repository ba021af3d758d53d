"""Config fields of autoencoders with levels of residual blocks."""

from dataclasses import replace

import pytest

from vaekit.families.levels import LevelsConfig, block_obstacles, mirror_obstacles

CONFIG = LevelsConfig(3, 4, (32, 64, 64), (64, 64, 32), 1, 2)


def test_every_level_but_the_last_halves_the_resolution() -> None:
    assert CONFIG.geometry.factors == (4, 4)
    assert (CONFIG.geometry.channels, CONFIG.geometry.latent_channels) == (3, 4)


def test_the_larger_half_determines_the_number_of_blocks() -> None:
    assert CONFIG.blocks == 6
    assert replace(CONFIG, encoder_blocks=3).blocks == 9


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIG, [False, False]),
        (replace(CONFIG, decoder_widths=(64, 32, 32)), [True, False]),
        (replace(CONFIG, decoder_blocks=1), [False, True]),
    ],
)
def test_obstacles_to_classes_with_one_list_of_widths(config: LevelsConfig, expected: list[bool]) -> None:
    assert list(mirror_obstacles(config).values()) == expected
    assert list(block_obstacles(config).values()) == expected[1:]
