"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.kandinsky6_sr.net import Kandinsky6SRConfig

EXAMPLE = Kandinsky6SRConfig(3, 4, (8, 16, 16), (16, 16, 8), 1, 2, (1,), (1,))
WIDTHS = (16, 128, 256, 512, 1024), (2048, 1024, 512, 256, 16)
PUBLISHED = {"Kandinsky 6 SR": Kandinsky6SRConfig(3, 64, *WIDTHS, 2, 3, (1, 2), (1, 2))}
