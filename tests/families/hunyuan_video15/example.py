"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.hunyuan_video15.net import HunyuanVideo15Config

EXAMPLE = HunyuanVideo15Config(3, 4, (8, 16, 16), (16, 16, 8), 1, 2, (1,), (0,))
WIDTHS = (128, 256, 512, 1024, 1024)
PUBLISHED = {"HunyuanVideo 1.5": HunyuanVideo15Config(3, 32, WIDTHS, WIDTHS[::-1], 2, 3, (2, 3), (0, 1))}
