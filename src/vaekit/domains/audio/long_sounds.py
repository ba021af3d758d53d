"""Encode, decode and measure sounds that need not fit into memory, by ranges of samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.audio_format import AudioFormat
from vaekit.domains.audio.measures import finite_mean, waveform_values
from vaekit.domains.audio.reading import SoundReader, reader_of
from vaekit.domains.audio.sound_files import SoundFacts
from vaekit.domains.audio.writing import FLOAT, PCM, WavWriter, wav_file
from vaekit.domains.finite_results import check_finite
from vaekit.errors import system_errors
from vaekit.runtime.engine import Engine

BLOCK = 2**18
"""Samples that are converted at once."""
MEASURED = 10
"""Seconds of the parts in which a sound is measured."""


@contextmanager
def decoded(engine: Engine, z: Tensor, audio_format: AudioFormat, samples: int, beside: Path) -> Iterator[SoundReader]:
    """Decode raw latents (1, z, frames) into a temporary file, which is read by ranges.

    Args:
        engine: the VAE.
        z: the latents.
        audio_format: of the result.
        samples: the length of the result.
        beside: a file in the folder of the temporary one.

    Raises:
        BadItem: the result is not finite.
        CannotWrite: the disk is full, or the like.
    """
    with system_errors():
        beside.parent.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix=".", dir=beside.parent)
    with folder as place:
        path = Path(place, "decoded.wav")
        with wav_file(path, audio_format, samples, FLOAT) as write:

            def checked(x: Tensor) -> None:
                check_finite(x, engine)
                write(x)

            engine.decode_stream(z, checked, samples)
        with reader_of(path, audio_format) as reader:
            yield reader


def copied(reader: SoundReader, write: WavWriter, samples: int) -> None:
    """Write a sound block by block, with exactly as many samples."""
    for start in range(0, samples, BLOCK):
        stop = min(samples, start + BLOCK)
        inside = min(stop, reader.samples)
        x = reader(min(start, inside), inside)
        write(torch.nn.functional.pad(x, (0, stop - start - x.shape[1])))


def write_as_in_file(reader: SoundReader, facts: SoundFacts, path: Path) -> tuple[str, ...]:
    """Write a result with the sample rate and the length of the file that it was made from: exactly as many samples. A
    sound in one channel is written in one; of others, the channels of the result are kept.

    Returns:
        Notes on it.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    channels = 1 if facts.format.channels == 1 else reader.format.channels
    wanted = AudioFormat(facts.format.sample_rate, channels)
    with wav_file(path, wanted, facts.samples, PCM) as write:
        copied(SoundReader(reader.sound, wanted), write, facts.samples)
    return write.notes


def measured(original: SoundReader, result: SoundReader) -> dict[str, float]:
    """The measures of a sound and its reconstruction in the same format: means over parts of ten seconds."""
    step = MEASURED * original.format.sample_rate
    values: dict[str, list[Tensor]] = {}
    for start in range(0, original.samples, step):
        stop = min(start + step, original.samples)
        x, y = (each(start, stop)[None] for each in (original, result))
        for name, value in waveform_values(x, y, original.format.sample_rate).items():
            values.setdefault(name, []).append(value)
    return {name: finite_mean(torch.cat(each)) for name, each in values.items()}


def start_of(reader: SoundReader) -> Float[Tensor, "c t"]:
    """The start of a sound, for images."""
    return reader(0, min(reader.samples, MEASURED * reader.format.sample_rate))
