"""Waveforms as FLAC files with spectrograms, for pages."""

import io

from jaxtyping import Float
from torch import Tensor

from vaekit.domains.audio.mixing import mixed
from vaekit.domains.audio.resampling import Resampler
from vaekit.domains.audio.sound_files import soundfile
from vaekit.domains.audio.spectrograms import waveform_image
from vaekit.domains.listening import Listening

LONGEST = 30
"""Seconds of a waveform, from its start."""
LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
"""In Hz: sample rates that all browsers play; others are converted."""
MOST_CHANNELS = 2


def listening(x: Float[Tensor, "c t"], sample_rate: int) -> Listening:
    """The start of a waveform as a FLAC file with 16 bits, which is lossless and which browsers play.

    Args:
        x: in [-1, 1]; larger values are clipped.
        sample_rate: in Hz.

    Raises:
        MissingPackage: soundfile is not installed.
    """
    waveform = x[:, : LONGEST * sample_rate].detach().float().cpu()
    rate = min(max(sample_rate, LOWEST_RATE), HIGHEST_RATE)
    played = waveform if len(waveform) <= MOST_CHANNELS else mixed(waveform, MOST_CHANNELS)
    played = played if rate == sample_rate else Resampler(sample_rate, rate)(played)
    file = io.BytesIO()
    soundfile().write(file, played.clamp(-1, 1).T.numpy(), rate, format="FLAC", subtype="PCM_16")
    seconds = waveform.shape[1] / sample_rate
    return Listening(file.getvalue(), "audio/flac", seconds, waveform_image(waveform, sample_rate))
