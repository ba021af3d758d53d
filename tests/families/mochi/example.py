"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.mochi.net import MochiConfig

EXAMPLE = MochiConfig(3, 4, (32, 32), (1, 1, 1), (False, True, True), (64, 32), (1, 1, 1), ((2, 2),))
PUBLISHED = {
    "Mochi 1": MochiConfig(
        3,
        12,
        (64, 128, 256, 384),
        (3, 3, 4, 6, 3),
        (False, True, True, True, True),
        (768, 512, 256, 128),
        (3, 6, 4, 3, 3),
        ((1, 2), (2, 2), (3, 2)),
    )
}
