"""A small config for the laws that hold for every family."""

from vaekit.families.dcae.net import DCAEConfig

EXAMPLE = DCAEConfig(
    *(3, 4, (16, 16, 16), (16, 16, 16), (1, 2, 1), (1, 2, 1), (2,), (2,), ((), (), (5,)), ((), (), (5,)), (1,)),
    *("conv", "interpolate", 8, (1,), "relu", True, True),
)
