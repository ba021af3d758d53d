"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.cogvideox.net import CogVideoXConfig

EXAMPLE = CogVideoXConfig(3, 4, (32, 64), (64, 32), 1, 2)
PUBLISHED = {"CogVideoX": CogVideoXConfig(3, 16, (128, 256, 256, 512), (512, 256, 256, 128), 3, 4)}
