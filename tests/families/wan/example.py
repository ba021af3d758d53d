"""A small config for the laws that hold for every family."""

from vaekit.families.wan.net import WanConfig

EXAMPLE = WanConfig(3, 4, (8, 16, 24), (48, 32, 16), 1, 2, (1,), True)
