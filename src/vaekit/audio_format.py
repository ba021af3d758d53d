"""Audio formats: the sample rate and the channels of the waveforms that a VAE takes."""

from dataclasses import dataclass

MAX_SAMPLE_RATE = 1_000_000
"""The highest sample rate of a format, in Hz: converters go to 768 kHz."""


@dataclass(frozen=True)
class AudioFormat:
    """The format of waveforms (b, channels, t) with values in [-1, 1].

    Args:
        sample_rate: in Hz, 1 to a million.
        channels: 1 for mono, 2 for stereo.

    Raises:
        ValueError: a value is less than 1, or the sample rate is too high.

    >>> AudioFormat(44_100, 2).seconds(22_050)
    0.5
    """

    sample_rate: int
    channels: int

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"{self.channels} channels; expected 1 or more")
        if not 1 <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise ValueError(f"a sample rate of {self.sample_rate} Hz; expected 1 to {MAX_SAMPLE_RATE}")

    def seconds(self, samples: int) -> float:
        """The duration of a waveform of `samples` samples per channel, in seconds."""
        return samples / self.sample_rate

    def __str__(self) -> str:
        """For messages.

        >>> str(AudioFormat(44_100, 2)), str(AudioFormat(16_000, 1)), str(AudioFormat(8_000, 6))
        ('44100 Hz stereo', '16000 Hz mono', '8000 Hz with 6 channels')
        """
        layout = {1: "mono", 2: "stereo"}.get(self.channels, f"with {self.channels} channels")
        return f"{self.sample_rate} Hz {layout}"
