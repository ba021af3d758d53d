"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.ace_step.net import ACEStepConfig
from vaekit.families.vocoders import SILU, VocoderConfig

DILATIONS = ((1, 3, 5),) * 4
VOCODER = VocoderConfig(
    *(512, 1024, 1, (8, 8, 4, 4, 4, 4, 4), (4, 4, 2, 2, 2, 2, 2), (3, 7, 11, 13), DILATIONS, 13),
    activation=SILU,
    weight_norm=True,
)
SMALL_VOCODER = VocoderConfig(
    *(16, 16, 1, (16, 16, 16), (8, 8, 8), (3,), ((1, 3),), 13), activation=SILU, weight_norm=True
)
EXAMPLE = ACEStepConfig(
    *(2, 4, (16, 16, 16), (16, 16, 16), (1, 2, 1), (1, 2, 1), (2,), (2,), ((), (), (5,)), ((), (), (5,)), ()),
    *("conv", "interpolate", 8, (), "relu", True, True),
    bins=8,
    vocoder=SMALL_VOCODER,
    backbone_widths=(8, 16),
    backbone_blocks=(1, 2),
)
WIDTHS = (128, 256, 512, 1024)
NET = (
    *(2, 8, WIDTHS, WIDTHS, (2, 2, 3, 3), (3, 3, 3, 3), (3,), (3,), ((), (), (), (5,)), ((), (), (), (5,)), ()),
    *("conv", "interpolate", 32, (), "relu", True, True),
)
"""Blocks and scales as in the authors' config.json, as far as known here; the tensors of a file determine them."""
BACKBONE = (128, 256, 384, 512)
PUBLISHED = {
    "ACE-Step 1": ACEStepConfig(*NET, vocoder=VOCODER, backbone_widths=BACKBONE, backbone_blocks=(3, 3, 9, 3)),
    "ACE-Step 1 without its vocoder": ACEStepConfig(*NET),
}
