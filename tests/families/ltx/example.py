"""A small config for the laws that hold for every family, and the published ones."""

from vaekit.families.ltx.net import LTXConfig

ALL = "spatiotemporal"
EXAMPLE = LTXConfig(3, 4, (4, 8, 8), (1, 1, 1), ("spatial", ALL), (16, 8, 4), (1, 1, 1), (ALL, ALL), True, "reflect")
PUBLISHED = {
    "LTX-Video 0.9.0": LTXConfig(
        3,
        128,
        (128, 256, 512, 512, 512),
        (4, 3, 3, 3, 4),
        ("conv", "conv", "conv", ""),
        (512, 512, 512, 256, 128),
        (4, 3, 3, 3, 4),
        ("", ALL, ALL, ALL),
        False,
        "zeros",
    ),
    "LTX-2": LTXConfig(
        3,
        128,
        (128, 256, 512, 1024, 2048),
        (4, 6, 6, 2, 2),
        ("spatial", "temporal", ALL, ALL),
        (1024, 512, 256, 128),
        (5, 5, 5, 5),
        (ALL, ALL, ALL),
        True,
        "reflect",
    ),
}
