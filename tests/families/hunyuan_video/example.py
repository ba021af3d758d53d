"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.hunyuan_video.net import HunyuanVideoConfig

EXAMPLE = HunyuanVideoConfig(3, 4, (32, 64), (64, 32), 1, 2, True)
WIDTHS = (128, 256, 512, 512)
PUBLISHED = {"HunyuanVideo": HunyuanVideoConfig(3, 16, WIDTHS, WIDTHS[::-1], 2, 3, True)}
