"""A small config for the laws that hold for every family."""

from vaekit.families.approx.net import ApproxConfig

EXAMPLE = ApproxConfig(3, 4, (8, 16, 8, 8, 8, 8, 8), (7, 5, 3, 3, 3, 3, 3, 3))
