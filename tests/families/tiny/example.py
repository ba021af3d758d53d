"""A small config for the laws that hold for every family."""

from vaekit.families.tiny.net import TinyConfig

EXAMPLE = TinyConfig(3, 4, (), (8, 8, 8), (8, 8, 8), (1, 2, 2), (2, 2, 1), False)
