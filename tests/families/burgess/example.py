"""A small config for the laws that hold for every family."""

from vaekit.families.burgess.net import BurgessConfig

EXAMPLE = BurgessConfig(1, 32, 8, 16, 4)
