"""A small config for the laws that hold for every family, and published ones."""

from vaekit.families.oobleck.net import OobleckConfig

EXAMPLE = OobleckConfig(2, 4, (8, 8, 12), (16, 8, 8), (2, 4), True, 44_100)
WIDTHS = (128, 128, 256, 512, 1024, 2048)
PUBLISHED = {
    "Stable Audio Open": OobleckConfig(2, 64, WIDTHS, WIDTHS[::-1], (2, 4, 4, 8, 8), True, 44_100),
    "ACE-Step 1.5 and YuE 2": OobleckConfig(2, 64, WIDTHS, WIDTHS[::-1], (2, 4, 4, 6, 10), True, 48_000),
}
