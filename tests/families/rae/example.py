"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.rae.net import RAEConfig

EXAMPLE = RAEConfig(3, 64, 1, 96, 14, 3, 4, 32, 1, 48, 16, 4, 16, (1,))
PUBLISHED = {
    "RAE DINOv2": RAEConfig(3, 768, 12, 3072, 14, 37, 4, 1152, 28, 4096, 16, 16, 16, (768, 16, 16)),
}
