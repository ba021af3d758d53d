"""A small config for the laws that hold for every family."""

from vaekit.families.hunyuan_image.net import HunyuanImageConfig

EXAMPLE = HunyuanImageConfig(3, 4, (32, 64), (64, 32), 1, 2)
