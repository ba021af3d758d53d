"""Write WAV files block by block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.audio_format import AudioFormat
from vaekit.domains.audio.sound_files import soundfile
from vaekit.errors import BadItem, CannotWrite

ENDING = ".wav"
PCM, FLOAT = "PCM_16", "FLOAT"
LEVELS = 2**15
"""Of 16-bit samples per unit."""
LARGEST = 2**32 - 2**16
"""The size in bytes from which the header of a WAV file has to be that of RF64."""
BYTES = {PCM: 2, FLOAT: 4}


@dataclass(eq=False)
class WavWriter:
    """Writes waveforms in order; call it with (channels, n)."""

    file: Any
    encoding: str
    written: int = 0
    """Samples per channel."""
    clipped: int = 0
    """Values beyond full scale, which 16 bits cannot hold."""

    def __call__(self, x: Float[Tensor, "c n"]) -> None:
        """Append samples.

        Raises:
            BadItem: some are NaN or infinite.
        """
        if not x.isfinite().all():
            raise BadItem("The waveform has NaN or infinite samples.", "Expected finite samples.", "")
        values = x.detach().cpu().float().T.contiguous()
        if self.encoding == PCM:
            values = (values * LEVELS).round()
            self.clipped += int(((values > LEVELS) | (values < -LEVELS)).sum())
            self.file.write(values.clamp(-LEVELS, LEVELS - 1).to(torch.int16).numpy())
        else:
            self.file.write(values.numpy())
        self.written += x.shape[1]

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether samples were clipped."""
        return (f"{self.clipped:,} samples beyond full scale were clipped",) if self.clipped else ()


@contextmanager
def wav_file(path: Path, audio_format: AudioFormat, samples: int, encoding: str = PCM) -> Iterator[WavWriter]:
    """Open a WAV file for writing; it has its name once the block has ended.

    Args:
        path: of the file.
        audio_format: sample rate and channels.
        samples: the number of samples that will be written: beyond 4 GB, the header is that of RF64.
        encoding: `PCM`, 16 bits, or `FLOAT`, 32 bits.

    Raises:
        CannotWrite: the disk is full, or the like.
        MissingPackage: soundfile is not installed.
    """
    module = soundfile()
    large = samples * audio_format.channels * BYTES[encoding] > LARGEST
    settings = {"subtype": encoding, "format": "RF64" if large else "WAV"}
    with atomic_file(path) as part:
        try:
            file = module.SoundFile(part, "w", audio_format.sample_rate, audio_format.channels, **settings)
            with file:
                yield WavWriter(file, encoding)
        except RuntimeError as error:
            raise CannotWrite(f"{path} cannot be written: {error}", "", "") from error


def write_wav(path: Path, x: Float[Tensor, "c t"], sample_rate: int, encoding: str = PCM) -> tuple[str, ...]:
    """Write a waveform, and return notes.

    Raises:
        CannotWrite, BadItem, MissingPackage: see `wav_file`.
    """
    with wav_file(path, AudioFormat(sample_rate, x.shape[0]), x.shape[1], encoding) as write:
        write(x)
    return write.notes
