"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.kvae.net import KVAEConfig

EXAMPLE = KVAEConfig(3, 4, (32, 64), (64, 64), 1, 2)
WIDTHS = (128, 256, 512, 1024)
PUBLISHED = {"KVAE-2D 1.0": KVAEConfig(3, 16, WIDTHS, WIDTHS, 2, 3)}
