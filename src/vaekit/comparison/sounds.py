"""Compare VAEs of sounds on the same sounds, in the format of each file.

VAEs have other sample rates and channels than the files and than each other. Results are converted to the sample rate
of the file, so that what a VAE leaves out because its sample rate is lower counts as an error.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.audio_format import AudioFormat
from vaekit.comparison.compare import Tally, build_report, choose_items
from vaekit.comparison.records import MeasuredImage, Report, SkippedImage, Subject
from vaekit.domains.audio.listening import HIGHEST_RATE, LONGEST
from vaekit.domains.audio.measures import QUANTITIES, waveform_values
from vaekit.domains.audio.mixing import mixed
from vaekit.domains.audio.reading import reader_of
from vaekit.domains.audio.resampling import Resampler
from vaekit.domains.audio.schema import in_length
from vaekit.domains.finite_results import check_finite
from vaekit.errors import NothingEvaluated, VaekitError, counted
from vaekit.metrics.measure import Measure
from vaekit.runtime.engine import Engine

TIME = Measure(
    *("seconds", "time per second of sound", "s", "lower", "Seconds to encode and decode a second of sound."),
    group="cost",
)
RATE = Measure(
    *("values_per_second", "latent values per second", "", None, "Values of the latent for a second of sound."),
    group="latents",
)
SOUNDS = Subject(
    *("sound", "sounds", (*(replace(each, key=True) for each in QUANTITIES), RATE, TIME)),
    headlines=("log_mel_l1", "mr_stft"),
    chosen_by=("log_mel_l1",),
)
"""Sounds, and their measures. SI-SDR is no headline: good reconstructions may have other phases."""


@dataclass(frozen=True, eq=False)
class SoundSource:
    """A sound file of a comparison, not read yet."""

    name: str
    path: Path


@dataclass(frozen=True, eq=False)
class SoundCandidate:
    """A VAE of sounds."""

    name: str
    engine: Engine
    format: AudioFormat
    """Of the waveforms that it takes."""

    def reconstruct(self, path: Path, wanted: AudioFormat, samples: int) -> tuple[Float[Tensor, "c t"], float]:
        """The start of a file after encoding and decoding, in another format, and the time that this took in seconds.

        Args:
            path: the file.
            wanted: the format of the result.
            samples: the length of the result.

        Raises:
            NotFound, BadItem: the file cannot be read, or the result is not finite.
        """
        with reader_of(path, self.format) as reader:
            x = reader(0, min(LONGEST * self.format.sample_rate, reader.samples))
        started = time.perf_counter()
        decoded = self.engine.decode(self.engine.encode(x[None]).mode, (x.shape[1],))[0].cpu()
        seconds = time.perf_counter() - started
        check_finite(decoded, self.engine)
        result = mixed(decoded, wanted.channels)
        if wanted.sample_rate != self.format.sample_rate:
            result = Resampler(self.format.sample_rate, wanted.sample_rate)(result)
        return in_length(result, samples), seconds

    def about(self) -> Mapping[str, Any]:
        """Facts for the report."""
        vae, geometry = self.engine.vae, self.engine.geometry
        return {
            "family": "unknown" if vae.origin is None else vae.origin.name,
            "sample_rate": self.format.sample_rate,
            "channels": self.format.channels,
            "latent_channels": geometry.latent_channels,
            "factor": geometry.factors[0],
            "parameters": sum(weight.numel() for weight in vae.parameters()),
            "notes": list(self.engine.notes),
        }

    def overall(self) -> Mapping[str, float]:
        """The rate of the latents."""
        geometry = self.engine.geometry
        return {RATE.name: geometry.latent_channels * self.format.sample_rate / geometry.factors[0]}


@dataclass(frozen=True, eq=False)
class ComparedSound:
    """A sound with its reconstructions, in one format."""

    sample_rate: int
    original: Float[Tensor, "c t"]
    results: Mapping[str, Float[Tensor, "c t"]]
    """By the name of the candidate."""
    seconds: Mapping[str, float]

    def values(self, name: str) -> dict[str, float]:
        """The measures of a candidate."""
        values = waveform_values(self.original[None], self.results[name][None], self.sample_rate)
        length = self.original.shape[1] / self.sample_rate
        return {**{key: value.item() for key, value in values.items()}, TIME.name: self.seconds[name] / length}


def compared_sound(source: SoundSource, candidates: Sequence[SoundCandidate]) -> ComparedSound:
    """The start of a sound and its reconstructions, at its own sample rate, with the fewest channels of all.

    Raises:
        NotFound, BadItem: it cannot be read, or a result is not finite.
    """
    channels = min(each.format.channels for each in candidates)
    with reader_of(source.path, candidates[0].format) as reader:
        given = reader.sound.facts.format
    wanted = AudioFormat(min(given.sample_rate, HIGHEST_RATE), min(channels, given.channels))
    with reader_of(source.path, wanted) as reader:
        original = reader(0, min(LONGEST * wanted.sample_rate, reader.samples))
    found = {each.name: each.reconstruct(source.path, wanted, original.shape[1]) for each in candidates}
    results = {name: result for name, (result, _) in found.items()}
    return ComparedSound(wanted.sample_rate, original, results, {name: taken for name, (_, taken) in found.items()})


@torch.no_grad()
def compare_sounds(
    sources: Sequence[SoundSource],
    candidates: Sequence[SoundCandidate],
    protocol: Mapping[str, Any],
    show: int,
    progress: Callable[[int, int], None],
) -> tuple[Report, list[tuple[SoundSource, str]]]:
    """Reconstruct every sound with every candidate, and measure the results.

    Args:
        sources: the sounds. One that cannot be read, or not be reconstructed by a candidate, is skipped for all.
        candidates: one or more.
        protocol: the settings, for the report.
        show: the maximum number of sounds on the page.
        progress: called with the number of finished sounds and of all.

    Returns:
        The report, and the sounds for its page with the reasons.

    Raises:
        NothingEvaluated: none of the sounds could be compared.
    """
    tallies, skipped, done = [Tally(each) for each in candidates], list[SkippedImage](), list[SoundSource]()
    for number, source in enumerate(sources, 1):
        try:
            found = compared_sound(source, candidates)
            values = [found.values(each.name) for each in candidates]
        except VaekitError as error:
            skipped.append(SkippedImage(source.name, str(error)))
        else:
            done.append(source)
            for tally, each in zip(tallies, values, strict=True):
                tally.images.append(MeasuredImage(source.name, each))
        progress(number, len(sources))
    if not done:
        raise NothingEvaluated(
            f"None of {counted(len(sources), 'sound')} could be compared.",
            f"The first failed: {skipped[0].reason}" if skipped else "There were none.",
            "",
        )
    report = build_report(tallies, skipped, protocol, subject=SOUNDS)
    return report, choose_items(done, report, show, SOUNDS)


def shown_sounds(
    chosen: Sequence[tuple[SoundSource, str]], candidates: Sequence[SoundCandidate]
) -> Iterator[tuple[SoundSource, str, ComparedSound]]:
    """Reconstruct the chosen sounds again, lazily. One that cannot be read any more is left out."""
    for source, why in chosen:
        try:
            yield source, why, compared_sound(source, candidates)
        except VaekitError:
            continue
