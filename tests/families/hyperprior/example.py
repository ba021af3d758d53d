"""A small config for the laws that hold for every family."""

from vaekit.families.hyperprior.net import HyperpriorVAEConfig

EXAMPLE = HyperpriorVAEConfig(3, (2, 6), 8, 1, 2, 4, 8, 4, 8)
