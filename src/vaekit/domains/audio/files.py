"""Sound files and latent files through an engine: the stages of `reconstruct`, `encode` and `decode` for audio."""

import math
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
from vaekit.domains.audio.long_sounds import decoded, measured, start_of, write_as_in_file
from vaekit.domains.audio.measures import QUANTITIES
from vaekit.domains.audio.reading import reader_of
from vaekit.domains.audio.schema import AudioSchema
from vaekit.domains.audio.sound_files import SUFFIXES, SoundFacts
from vaekit.domains.audio.spectrograms import sheet, waveform_image, write_png
from vaekit.domains.audio.writing import wav_file
from vaekit.domains.files import (
    ChangeLatents,
    DecodedResult,
    EncodedResult,
    FileResult,
    files_among,
    no_correction,
    side_by_side_path,
    unchanged,
)
from vaekit.domains.finite_results import check_finite
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
        known = {each: self.measures[each.name] for each in QUANTITIES}
        measured = {each.title: "-" if math.isnan(value) else each.text(value) for each, value in known.items()}
        return {
            "file": self.file.name,
            "sound": f"{self.seconds_of_sound:.2f} s",
            "rate": f"{self.sample_rate:,} Hz",
            "latent": "x".join(map(str, self.latent_shape)),
            "fewer": f"{self.compression:.3g}x",
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
class OpenedSound:
    """A sound file whose header was read."""

    facts: SoundFacts
    samples: int
    """In the format of the VAE."""
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AudioFiles:
    """Sound files and the engine that they go through; see `ItemFiles`. Files are read and written by ranges."""

    engine: Engine
    schema: AudioSchema
    files: ClassVar[str] = SOUNDS
    correction: ClassVar[None] = None

    def corrected(self, name: str, models: Sequence[Path] | None) -> "AudioFiles":
        """There is no correction of sounds.

        Raises:
            BadCorrection: always.
        """
        raise no_correction(name, SOUNDS)

    def find(self, paths: Sequence[Path]) -> list[Path]:
        return files_among(paths, SUFFIXES, SOUNDS)

    def size(self, path: Path) -> tuple[int, ...]:
        """The number of samples, at the sample rate of the VAE."""
        return (self.opened(path).samples,)

    def opened(self, path: Path) -> OpenedSound:
        """Look at a file.

        Raises:
            NotFound, BadItem: it cannot be read.
            TooLittleMemory: it needs more memory than the plan allows.
        """
        with reader_of(path, self.schema.format) as reader:
            self.engine.explain(reader.samples, streamed=True)
            return OpenedSound(reader.sound.facts, reader.samples, reader.notes)

    def encoded(self, path: Path, sound: OpenedSound) -> Posterior:
        """The posterior of a file.

        Raises:
            BadItem: it cannot be decoded, or the latents are not finite.
        """
        with reader_of(path, self.schema.format) as reader:
            posterior = self.engine.encode_stream(reader, sound.samples)
        check_finite(posterior.mode, self.engine)
        return posterior

    def reconstruct(
        self, outputs: Mapping[Path, Path], side_by_side: bool, change: ChangeLatents = unchanged
    ) -> Stages[Path, Any, Any, FileResult]:
        def run(path: Path, sound: OpenedSound) -> ReconstructedSound:
            started = time.perf_counter()
            latent = change(self.encoded(path, sound).mode)
            facts, target, own = sound.facts, outputs[path], self.schema.format
            with decoded(self.engine, latent, own, sound.samples, target) as result:
                seconds = time.perf_counter() - started
                clipped = write_as_in_file(result, facts, target)
                with reader_of(path, own) as original:
                    values = measured(original, result)
                    pairs = side_by_side_path(target).with_suffix(".png") if side_by_side else None
                    if pairs is not None:
                        images = [waveform_image(start_of(each), own.sample_rate) for each in (original, result)]
                        write_png(sheet(images), pairs)
            return ReconstructedSound(
                file=path,
                output=target,
                side_by_side=pairs,
                seconds_of_sound=facts.seconds,
                sample_rate=facts.format.sample_rate,
                channels=facts.format.channels,
                samples=facts.samples,
                run_at=own,
                latent_shape=tuple(latent.shape[1:]),
                compression=self.engine.geometry.compression,
                measures=values,
                seconds=seconds,
                notes=(*sound.notes, *clipped),
            )

        return Stages(self.opened, run, lambda _, result: result, lambda sound: sound.samples)

    def encode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        def run(path: Path, sound: OpenedSound) -> tuple[OpenedSound, Posterior]:
            return sound, self.encoded(path, sound)

        def write(path: Path, encoded: tuple[OpenedSound, Posterior]) -> EncodedSound:
            sound, posterior = encoded
            save_latent(outputs[path], LatentFile(posterior, origin, (sound.samples,)))
            mode, facts = posterior.mode, sound.facts
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
                notes=sound.notes,
            )

        return Stages(self.opened, run, write, lambda sound: sound.samples)

    def decode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        def run(path: Path, latent: LatentFile) -> DecodedSound:
            caution = check_readable(path, latent.space, origin)
            latent.space.geometry.require_axes(1, SOUNDS)
            (samples,), target = latent.size, outputs[path]
            with wav_file(target, self.schema.format, samples) as write:

                def checked(x: Float[Tensor, "c n"]) -> None:
                    check_finite(x, self.engine)
                    write(x)

                self.engine.decode_stream(latent.posterior.mean, checked, samples)
            return DecodedSound(path, target, caution, samples, self.schema.sample_rate, write.notes)

        return Stages(load_latent, run, lambda _, result: result, lambda latent: latent.posterior.mean.numel())
