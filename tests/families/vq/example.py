"""A small config for the laws that hold for every family."""

from vaekit.families.vq.net import VQConfig

EXAMPLE = VQConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (1,), (1,), True, True, True, 32, 12)
