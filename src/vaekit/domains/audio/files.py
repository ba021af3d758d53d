"""Sound files and latent files through an engine: the stages of `reconstruct`, `encode` and `decode` for audio."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from vaekit.audio_format import AudioFormat
from vaekit.checkpoints.latent_files import LatentFile, LatentOrigin, check_readable, load_latent, save_latent
from vaekit.distributions import Posterior
from vaekit.domains.audio.measures import QUANTITIES, waveform_values
from vaekit.domains.audio.mixing import mixed
from vaekit.domains.audio.reading import reader_of
from vaekit.domains.audio.resampling import Resampler
from vaekit.domains.audio.schema import AudioSchema, in_length
from vaekit.domains.audio.sound_files import SUFFIXES, SoundFacts
from vaekit.domains.audio.spectrograms import sheet, waveform_image, write_png
from vaekit.domains.audio.writing import write_wav
from vaekit.domains.files import (
    ChangeLatents,
    DecodedResult,
    EncodedResult,
    FileResult,
    files_among,
    side_by_side_path,
    unchanged,
)
from vaekit.domains.finite_results import check_finite
from vaekit.errors import BadCorrection
from vaekit.pipeline import Stages
from vaekit.runtime.engine import Engine

SOUNDS = "sounds"


@dataclass(frozen=True)
class ReconstructedSound:
    """A sound that was encoded and decoded."""

    file: Path
    output: Path
    side_by_side: Path | None
    """Spectrograms and waveforms of both."""
    seconds_of_sound: float
    sample_rate: int
    """Of the file, in Hz."""
    channels: int
    """Of the file."""
    samples: int
    """Of the file and of the result, per channel."""
    run_at: AudioFormat
    """The format in which it was encoded."""
    latent_shape: tuple[int, ...]
    """Channels and frames."""
    compression: float
    """Values of the waveform per value of the latent."""
    measures: Mapping[str, float]
    """In the format of the VAE."""
    seconds: float
    """Encode and decode, without reading and writing."""
    notes: tuple[str, ...]

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        measured = {each.title: each.text(self.measures[each.name]) for each in QUANTITIES}
        return {
            "file": self.file.name,
            "sound": f"{self.seconds_of_sound:.2f} s",
            "rate": f"{self.sample_rate:,} Hz",
            "latent": "x".join(map(str, self.latent_shape)),
            "fewer": f"{self.compression:.0f}x",
            **measured,
            "time": f"{self.seconds:.2f} s",
        }


@dataclass(frozen=True)
class EncodedSound(EncodedResult):
    """A sound that was encoded into a latent file."""

    file: Path
    seconds_of_sound: float
    sample_rate: int
    channels: int
    samples: int

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"file": self.output.name, "sound": f"{self.seconds_of_sound:.2f} s", **self.latent_cells()}


@dataclass(frozen=True)
class DecodedSound(DecodedResult):
    """A latent file that was decoded into a sound."""

    samples: int
    sample_rate: int
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The caution, and what became of the samples."""
        return (*super().notes, *self.remarks)

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        seconds = self.samples / self.sample_rate
        return {"file": self.output.name, "sound": f"{seconds:.2f} s", "rate": f"{self.sample_rate:,} Hz"}


@dataclass(frozen=True, eq=False)
class LoadedSound:
    """A sound as the VAE takes it."""

    x: Float[Tensor, "1 c t"]
    facts: SoundFacts
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AudioFiles:
    """Sound files and the engine that they go through; see `ItemFiles`."""

    engine: Engine
    schema: AudioSchema
    files: ClassVar[str] = SOUNDS
    correction: ClassVar[None] = None

    def corrected(self, name: str, models: Sequence[Path] | None) -> "AudioFiles":
        """There is no correction of sounds.

        Raises:
            BadCorrection: always.
        """
        raise BadCorrection(
            f"{name} is a VAE of sounds, which have no colors.",
            "Only VAEs of images have a color correction.",
            "Leave out --correct.",
        )

    def find(self, paths: Sequence[Path]) -> list[Path]:
        return files_among(paths, SUFFIXES, SOUNDS)

    def size(self, path: Path) -> tuple[int, ...]:
        """The number of samples, at the sample rate of the VAE."""
        with reader_of(path, self.schema.format) as reader:
            return (reader.samples,)

    def read(self, path: Path) -> LoadedSound:
        """A sound as the VAE takes it.

        Raises:
            NotFound, BadItem: it cannot be read.
            TooLittleMemory: it needs more memory than the plan allows.
        """
        with reader_of(path, self.schema.format) as reader:
            self.engine.explain(reader.samples)
            return LoadedSound(reader.all()[None], reader.sound.facts, reader.notes)

    def reconstruct(
        self, outputs: Mapping[Path, Path], side_by_side: bool, change: ChangeLatents = unchanged
    ) -> Stages[Path, Any, Any, FileResult]:
        def run(_: Path, loaded: LoadedSound) -> tuple[LoadedSound, Tensor, tuple[int, ...], float]:
            started = time.perf_counter()
            latent = change(self.engine.encode(loaded.x).mode)
            result = self.engine.decode(latent, tuple(loaded.x.shape[2:]))
            seconds = time.perf_counter() - started
            check_finite(result, self.engine)
            return loaded, result, tuple(latent.shape[1:]), seconds

        def write(path: Path, ran: tuple[LoadedSound, Tensor, tuple[int, ...], float]) -> ReconstructedSound:
            loaded, result, latent_shape, seconds = ran
            facts, rate, target = loaded.facts, self.schema.sample_rate, outputs[path]
            restored = as_in_file(result[0], rate, facts)
            written = write_wav(target, restored, facts.format.sample_rate)
            pairs = side_by_side_path(target).with_suffix(".png") if side_by_side else None
            if pairs is not None:
                write_png(sheet([waveform_image(each[0], rate) for each in (loaded.x, result)]), pairs)
            values = waveform_values(loaded.x, result, rate)
            return ReconstructedSound(
                file=path,
                output=target,
                side_by_side=pairs,
                seconds_of_sound=facts.seconds,
                sample_rate=facts.format.sample_rate,
                channels=facts.format.channels,
                samples=facts.samples,
                run_at=self.schema.format,
                latent_shape=latent_shape,
                compression=self.engine.geometry.compression,
                measures={name: value.item() for name, value in values.items()},
                seconds=seconds,
                notes=(*loaded.notes, *written),
            )

        return Stages(self.read, run, write, lambda loaded: loaded.x.numel())

    def encode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        def run(_: Path, loaded: LoadedSound) -> tuple[LoadedSound, Posterior]:
            posterior = self.engine.encode(loaded.x)
            check_finite(posterior.mode, self.engine)
            return loaded, posterior

        def write(path: Path, encoded: tuple[LoadedSound, Posterior]) -> EncodedSound:
            loaded, posterior = encoded
            save_latent(outputs[path], LatentFile(posterior, origin, tuple(loaded.x.shape[2:])))
            mode, facts = posterior.mode, loaded.facts
            return EncodedSound(
                file=path,
                output=outputs[path],
                latent_shape=tuple(mode.shape[1:]),
                mean=mode.mean().item(),
                std=mode.std(correction=0).item(),
                seconds_of_sound=facts.seconds,
                sample_rate=facts.format.sample_rate,
                channels=facts.format.channels,
                samples=facts.samples,
                notes=loaded.notes,
            )

        return Stages(self.read, run, write, lambda loaded: loaded.x.numel())

    def decode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        def run(path: Path, latent: LatentFile) -> tuple[Tensor, str | None]:
            caution = check_readable(path, latent.space, origin)
            latent.space.geometry.require_axes(1, SOUNDS)
            result = self.engine.decode(latent.posterior.mean, latent.size)
            check_finite(result, self.engine)
            return result[0], caution

        def write(path: Path, decoded: tuple[Tensor, str | None]) -> DecodedSound:
            result, caution = decoded
            notes = write_wav(outputs[path], result, self.schema.sample_rate)
            return DecodedSound(path, outputs[path], caution, result.shape[1], self.schema.sample_rate, notes)

        return Stages(load_latent, run, write, lambda latent: latent.posterior.mean.numel())


def as_in_file(x: Float[Tensor, "c t"], sample_rate: int, facts: SoundFacts) -> Float[Tensor, "d n"]:
    """A result with the sample rate and the length of the file that it was made from: exactly as many samples. A sound
    in one channel is written in one; of others, the channels of the VAE are kept."""
    if facts.format.channels == 1:
        x = mixed(x, 1)
    if facts.format.sample_rate != sample_rate:
        x = Resampler(sample_rate, facts.format.sample_rate)(x)
    return in_length(x, facts.samples)
