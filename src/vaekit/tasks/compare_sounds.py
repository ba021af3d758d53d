"""Compare VAEs of sounds on the same files, and write a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vaekit.audio_format import AudioFormat
from vaekit.comparison.records import Report
from vaekit.comparison.sounds import SOUNDS, SoundCandidate, SoundSource, compare_sounds, shown_sounds
from vaekit.domains.audio.domain import AUDIO, audio_schema
from vaekit.domains.audio.listening import LONGEST, listening
from vaekit.domains.files import files_among
from vaekit.domains.find import domain_of
from vaekit.errors import BadItem, NotFound, printable
from vaekit.evaluation.protocol import chosen_names, versions
from vaekit.report.page import write_report
from vaekit.report.players import PlayedItem
from vaekit.runtime.engine import Engine
from vaekit.tasks.batch import Progress
from vaekit.tasks.options import EngineOptions, SelectionOptions
from vaekit.vae import VAE

ONLY_FOR_IMAGES = {
    "decoders": "--decode-with",
    "lpips": "--lpips",
    "lpips_vgg": "--lpips-vgg",
    "fit_correction": "--fit-correction",
    "correct": "--correct",
    "latent": "--latent",
    "features": "--features",
}
"""Options by the field of `CompareOptions`."""


@dataclass(frozen=True)
class SoundComparisonOptions:
    """What is compared; see `CompareOptions`."""

    paths: Sequence[Path]
    shown: int
    command: str


def check_only_for_images(options: Mapping[str, Any]) -> None:
    """Refuse options that only a comparison of images has.

    Raises:
        BadItem: one is given.
    """
    given = [option for field, option in ONLY_FOR_IMAGES.items() if options[field]]
    if given:
        raise BadItem(
            f"These are VAEs of sounds, and {' and '.join(given)} {'is' if len(given) == 1 else 'are'} about images.",
            "",
            f"Leave {'it' if len(given) == 1 else 'them'} out.",
        )


def compare_sound_files(
    vaes: Mapping[str, VAE],
    options: SoundComparisonOptions,
    out: Path,
    engine: EngineOptions,
    selection: SelectionOptions,
    progress: Progress,
) -> Report:
    """Compare VAEs of sounds, and write a page with its numbers beside it as JSON.

    Args:
        vaes: by the names of the candidates.
        options: what is compared.
        out: the page.
        engine: how the VAEs are run.
        selection: which of the sounds.
        progress: called with the number of measured sounds and of all.

    Raises:
        NotFound: a path does not exist, or there are no sounds.
        BadItem: a VAE takes other items.
        NothingEvaluated: none of the sounds could be compared.
        CannotWrite: the page cannot be written.
    """
    plan = engine.plan()
    candidates = [SoundCandidate(name, Engine(vae, plan), format_of(name, vae)) for name, vae in vaes.items()]
    protocol = {
        "dtype": engine.dtype,
        "device": str(plan.torch_device),
        "backend": engine.backend,
        "seed": selection.seed,
        "limit": selection.limit,
        "latents": "the posterior's mode",
        "measured": f"the first {LONGEST} s of each file, at its sample rate, with the fewest channels of it and VAEs",
        "versions": versions(("torch", "numpy", "soundfile")),
        "command": options.command,
    }
    sources = sounds_in(options.paths, selection)
    report, chosen = compare_sounds(sources, candidates, protocol, options.shown, progress)

    @torch.no_grad()
    def played() -> Iterator[PlayedItem]:
        for source, why, found in shown_sounds(chosen, candidates):
            results = {each.name: found.results[each.name] for each in report.candidates}
            waveforms = {"Original": found.original, **results}
            sounds = {name: listening(each, found.sample_rate) for name, each in waveforms.items()}
            values = {name: found.values(name) for name in results}
            rows = [(each, {name: values[name][each.name] for name in values}) for each in SOUNDS.measures if each.key]
            yield PlayedItem(source.name, why, sounds, rows)

    write_report(report, (), out, played())
    return report


def format_of(name: str, vae: VAE) -> AudioFormat:
    """The format of the waveforms that a VAE takes.

    Raises:
        BadItem: it takes other items.
    """
    domain, schema = domain_of(vae)
    if domain is not AUDIO:
        raise BadItem(
            f"{printable(name)} is a VAE of {domain.items}, and another one is of sounds.",
            "Expected VAEs of the same kind of data.",
            "Compare them apart.",
        )
    return audio_schema(schema).format


def sounds_in(paths: Sequence[Path], selection: SelectionOptions) -> list[SoundSource]:
    """The sounds at some paths, in the order of their names; at most `selection.limit`, drawn with the seed.

    Raises:
        NotFound: there are none.
    """
    if not paths:
        raise NotFound(
            "No sounds are given.", "There are built-in images, and no built-in sounds.", "Give files or folders."
        )
    files: dict[str, Path] = {}
    for path in paths:
        for file in files_among([path], AUDIO.suffixes, AUDIO.items):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            files[name if name not in files else str(file)] = file
    return [SoundSource(name, files[name]) for name in chosen_names(list(files), selection.limit, selection.seed)]
