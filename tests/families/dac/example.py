"""A small config for the laws that hold for every family, and the published ones."""

from vaekit.families.dac.net import DACConfig

EXAMPLE = DACConfig(1, 16, (4, 8, 16), (24, 12, 6), (2, 5), True, 16_000, 12, 3, 5)
DOWN, UP = (64, 128, 256, 512, 1024), (1536, 768, 384, 192, 96)
PUBLISHED = {
    "DAC 44.1 kHz": DACConfig(1, 1024, DOWN, UP, (2, 4, 8, 8), False, 44_100, 1024, 9, 8),
    "DAC 24 kHz": DACConfig(1, 1024, DOWN, UP, (2, 4, 5, 8), True, 24_000, 1024, 32, 8),
    "DAC 16 kHz": DACConfig(1, 1024, DOWN, UP, (2, 4, 5, 8), False, 16_000, 1024, 12, 8),
}
