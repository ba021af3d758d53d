"""A small config for the laws that hold for every family, and the published ones."""

from vaekit.families.audioldm.net import AudioLDMConfig
from vaekit.families.vocoders import VocoderConfig

VOCODER = VocoderConfig(
    64, 1024, 1, (16, 16, 8, 4, 4), (5, 4, 2, 2, 2), (3, 7, 11), ((1, 3, 5),) * 3, statistics=True, normalized=True
)
SMALL_VOCODER = VocoderConfig(8, 32, 1, (16, 16, 8, 4, 4), (5, 4, 2, 2, 2), (3,), ((1, 3),))
EXAMPLE = AudioLDMConfig(
    *(1, 2, 2, (32, 32), (32, 32), 1, 2, (), (), True, True, True, 32), bins=8, vocoder=SMALL_VOCODER
)
WIDTHS = (128, 256, 512)
NET = (1, 8, 8, WIDTHS, WIDTHS, 2, 3, (), (), True, True, True, 32)
PUBLISHED = {"AudioLDM": AudioLDMConfig(*NET, vocoder=VOCODER), "AudioLDM without its vocoder": AudioLDMConfig(*NET)}
