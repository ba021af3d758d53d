"""A small config for the laws that hold for every family."""

from vaekit.families.wan22.net import Wan22Config

EXAMPLE = Wan22Config(3, 4, (8, 16, 16), (48, 48, 24), 1, 2, (1,), True, patch=2)
