"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.vibevoice.net import VibeVoiceConfig

EXAMPLE = VibeVoiceConfig(1, 4, (4, 8, 16), (4, 8, 16), (2, 5), (1, 2, 1), (1, 2, 1), 7, 4, 0.625, 24_000)
WIDTHS, DEPTHS = (32, 64, 128, 256, 512, 1024, 2048), (3, 3, 3, 3, 3, 3, 8)
PUBLISHED = {
    "VibeVoice": VibeVoiceConfig(1, 64, WIDTHS, WIDTHS, (2, 2, 4, 5, 5, 8), DEPTHS, DEPTHS, 7, 4, 0.625, 24_000)
}
