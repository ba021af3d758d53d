"""`vaekit compare`: a report on what VAEs do to images."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.comparison_output import candidate_json, print_latent_spaces, print_report
from vaekit.cli.output import log, log_note, print_json, progress_bar
from vaekit.tasks.options import EngineOptions, ModelOptions, SelectionOptions


@options.with_records
def compare(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Files or folders of images, or of sounds for VAEs of sounds. Without any: the built-in test cards.",
        ),
    ] = None,
    vae: Annotated[
        list[str] | None,
        typer.Option(
            "--vae",
            metavar="VAE",
            help="A VAE to compare, given as for the other verbs; may be repeated.",
            show_default="builtin",
        ),
    ] = None,
    decode_with: Annotated[
        list[str] | None,
        typer.Option(
            "--decode-with",
            metavar="VAE",
            help="Decode the latents of the only --vae with this VAE, which shares its latent space; may be repeated.",
        ),
    ] = None,
    originals: Annotated[
        Path | None,
        typer.Option("--originals", metavar="DIR", help="Originals of images that other tools reconstructed."),
    ] = None,
    reconstructions: Annotated[
        list[Path] | None,
        typer.Option(
            "--reconstructions",
            metavar="DIR",
            help="Another tool's reconstructions, named like the originals; may be repeated.",
        ),
    ] = None,
    folder: options.Folder = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    show: Annotated[int, typer.Option("--show", min=0, metavar="N", help="Maximum number of images on the page.")] = 6,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PAGE", help="Output page (.html); the numbers go beside it (.json).")
    ] = Path("report.html"),
    *,
    lpips: options.Lpips = None,
    vgg: Annotated[bool, typer.Option("--lpips-vgg", help="Also measure LPIPS with VGG16 (slow).")] = False,
    models: options.Models = None,
    engine: EngineOptions,
    padding: options.Padding = None,
    weights: options.EachWeights = None,
    fit_correction: Annotated[
        bool,
        typer.Option(
            "--fit-correction",
            help="Fit a color correction to each --vae (at least 8 images). It is saved beside the VAE if it helps on "
            "held-out images.",
        ),
    ] = False,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Also compare each --vae with its fitted color correction applied."),
    ] = False,
    latent: Annotated[
        bool,
        typer.Option("--latent", help="Also measure the latent space of each VAE (minutes); see docs/latent-space.md."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compare VAEs on the same images or sounds.

    Writes a self-contained HTML page (--out) and the same numbers as JSON. Compares VAEs (several --vae), decoders on
    one encoder's latents (one --vae, several --decode-with), or other tools' reconstructions (--originals and
    --reconstructions). VAEs of sounds are compared at the sample rate of each file, and the page plays original and
    reconstructions in sync.
    """
    from vaekit.tasks.compare import CompareOptions
    from vaekit.tasks.compare import compare as run

    check_use(images, folder, vae, decode_with, originals, reconstructions)
    check_correction(fit_correction, correct, bool(images or folder), decode_with, originals)
    request = CompareOptions(
        vaes=vae or ("builtin",),
        decoders=decode_with or (),
        weights=options.weights_of_each(weights, len(vae or ("builtin",)) + len(decode_with or ())),
        images=[*(images or ()), *(folder or ())],
        originals=originals,
        reconstructions=reconstructions or (),
        shown=show,
        lpips=lpips,
        lpips_vgg=vgg,
        fit_correction=fit_correction,
        correct=correct,
        latent=latent,
        command=" ".join(Path(word).name if "/" in word else word for word in sys.argv[1:]),
    )
    model, engine = (
        ModelOptions(models=models, padding=padding),
        engine,
    )
    with progress_bar("images", before="loading the VAEs") as progress:
        result = run(request, out, model, engine, SelectionOptions(limit, seed), progress)
    for name, note in result.notes.items():
        log_note(name, note)
    if as_json:
        extra = {"fitted": [one.as_json() for one in result.fitted]} if fit_correction else {}
        candidates = [candidate_json(one) for one in result.report.candidates]
        print_json({"report": str(out), "numbers": str(result.json), "candidates": candidates, **extra})
        return
    print_report(result.report)
    print_latent_spaces(result.report)
    for one in result.fitted:
        log(one.summary)
    for reason in result.not_measured.values():
        log(f"vaekit: {reason}")
    log(f"Written to {out}, numbers to {result.json.name}")


def check_use(
    images: Sequence[Path] | None,
    folder: Sequence[Path] | None,
    vae: Sequence[str] | None,
    decode_with: Sequence[str] | None,
    originals: Path | None,
    reconstructions: Sequence[Path] | None,
) -> None:
    """Refuse options that contradict each other.

    Raises:
        typer.BadParameter: they do.
    """
    if (originals is None) != (not reconstructions):
        given, other = (
            ("--reconstructions", "--originals") if originals is None else ("--originals", "--reconstructions")
        )
        raise typer.BadParameter(f"{given} requires {other}")
    if originals is not None and (images or folder or vae or decode_with):
        raise typer.BadParameter("--originals cannot be combined with images, --vae or --decode-with")
    if decode_with and len(vae or []) > 1:
        raise typer.BadParameter("--decode-with requires exactly one --vae, whose latents are decoded")


def check_correction(
    fit: bool, correct: bool, images: bool, decode_with: Sequence[str] | None, originals: Path | None
) -> None:
    """Refuse a color correction where it cannot be fitted or applied.

    Raises:
        typer.BadParameter: it cannot.
    """
    if not (fit or correct):
        return
    if decode_with or originals is not None:
        raise typer.BadParameter("--fit-correction and --correct need whole VAEs: no --decode-with, no --originals")
    if fit and correct:
        raise typer.BadParameter("--fit-correction and --correct cannot be combined: fit first, then apply")
    if fit and not images:
        raise typer.BadParameter("--fit-correction requires images: test cards do not have the colors of photographs")
