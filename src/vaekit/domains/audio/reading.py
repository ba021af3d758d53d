"""Waveforms of sound files, at the sample rate and with the channels of a VAE."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vaekit.audio_format import AudioFormat
from vaekit.datasets.dataset import Record
from vaekit.domains.audio.mixing import mixed, mixing_note
from vaekit.domains.audio.resampling import Resampler
from vaekit.domains.audio.sound_files import Sound, open_sound


@dataclass(frozen=True, eq=False)
class SoundReader:
    """Reads ranges of a sound in a format; a context manager."""

    sound: Sound
    format: AudioFormat

    @property
    def samples(self) -> int:
        """The number of samples per channel, in the format."""
        return self._resampler.length(self.sound.facts.samples)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the sound is changed on reading, and what is wrong with its file."""
        given = self.sound.facts.format
        resampled = given.sample_rate != self.format.sample_rate
        rate = f"resampled from {given.sample_rate:,} to {self.format.sample_rate:,} Hz" if resampled else ""
        changes = (mixing_note(given.channels, self.format.channels), rate)
        return (*self.sound.notes, *(change for change in changes if change))

    def __call__(self, start: int, stop: int) -> Float[Tensor, "c t"]:
        """The samples of a range, (channels, stop - start).

        Raises:
            BadItem: they cannot be read.
        """
        if self._resampler.source == self._resampler.target:
            return self._read(start, stop)
        return self._resampler.range(self._read, self.sound.facts.samples, start, stop)

    def all(self) -> Float[Tensor, "c t"]:
        """All samples."""
        return self(0, self.samples)

    def _read(self, start: int, stop: int) -> Tensor:
        return mixed(self.sound.read(start, stop), self.format.channels)

    @property
    def _resampler(self) -> Resampler:
        return Resampler(self.sound.facts.format.sample_rate, self.format.sample_rate)

    def __enter__(self) -> "SoundReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.sound.close()


def reader_of(record: Record | Path, audio_format: AudioFormat) -> SoundReader:
    """A reader of a sound file in a format.

    Raises:
        NotFound, BadItem, MissingPackage: see `open_sound`.
    """
    return SoundReader(open_sound(record), audio_format)
