"""A small config for the laws that hold for every family, and the published ones."""

from vaekit.families.same.net import SAMEConfig

EXAMPLE = SAMEConfig(2, 6, 8, (32,), (16,), (2,), 2, 8, True)
PUBLISHED = {
    "SAME-S in diffusers": SAMEConfig(2, 256, 256, (768,), (16,), (6,), 3, 64, True),
    "SAME-L": SAMEConfig(2, 256, 256, (1536,), (16,), (12,), 3, 64, True, decoder_sines=(8,)),
}
