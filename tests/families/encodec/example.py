"""A small config for the laws that hold for every family, and the published ones."""

from vaekit.families.encodec.net import EncodecConfig

EXAMPLE = EncodecConfig(1, 6, 4, (2, 3), 1, 2, True, 7, 7, 3, 2, 12, 3, True, True, 24_000)
PUBLISHED = {
    "EnCodec 24 kHz": EncodecConfig(1, 128, 32, (2, 4, 5, 8), 1, 2, True, 7, 7, 3, 2, 1024, 32, True, True, 24_000),
    "EnCodec 32 kHz (MusicGen)": EncodecConfig(
        1, 128, 64, (4, 4, 5, 8), 1, 2, False, 7, 7, 3, 2, 2048, 4, False, True, 32_000
    ),
    "EnCodec 48 kHz": EncodecConfig(
        2, 128, 32, (2, 4, 5, 8), 1, 2, True, 7, 7, 3, 2, 1024, 16, False, False, 48_000, 48_000, 480
    ),
}
