"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.longcat.net import LongCatConfig

EXAMPLE = LongCatConfig(1, 4, (8, 8, 16), (16, 8, 8), (2, 4), True, 24_000)
WIDTHS = (128, 128, 256, 512, 1024, 2048)
PUBLISHED = {"LongCat-AudioDiT": LongCatConfig(1, 64, WIDTHS, WIDTHS[::-1], (2, 4, 4, 8, 8), True, 24_000)}
