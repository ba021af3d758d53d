"""A small config for the laws that hold for every family, and the published ones."""

from vaekit.families.ltx_audio.net import ExtensionConfig, LTXAudioConfig
from vaekit.families.vocoders import SNAKE, VocoderConfig

KERNELS = (3, 7, 11)
DILATIONS = ((1, 3, 5),) * 3
VOCODER = VocoderConfig(128, 1024, 2, (16, 15, 8, 4, 4), (6, 5, 2, 2, 2), KERNELS, DILATIONS)
FIRST = VocoderConfig(
    128, 1536, 2, (11, 4, 4, 4, 4, 4), (5, 2, 2, 2, 2, 2), KERNELS, DILATIONS, activation=SNAKE, final="", bias=False
)
SECOND = VocoderConfig(
    128, 512, 2, (12, 11, 4, 4, 4), (6, 5, 2, 2, 2), KERNELS, DILATIONS, activation=SNAKE, final="", bias=False
)
SMALL_VOCODER = VocoderConfig(32, 32, 2, (16, 15, 8, 4, 4), (6, 5, 2, 2, 2), (3,), ((1, 3),))
EXAMPLE = LTXAudioConfig(2, 4, (16, 16, 32), 1, bins=16, vocoder=SMALL_VOCODER)
WIDTHS = (128, 256, 512)
PUBLISHED = {
    "LTX-2 audio": LTXAudioConfig(2, 8, WIDTHS, 2, vocoder=VOCODER),
    "LTX-2.3 audio": LTXAudioConfig(2, 8, WIDTHS, 2, vocoder=FIRST, extension=ExtensionConfig(SECOND, 512, 80, 64)),
    "LTX-2 audio without its vocoder": LTXAudioConfig(2, 8, WIDTHS, 2),
}
