"""`vaekit compare`: what VAEs do to images, as a page to look at and numbers beside it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_json, print_table, progress_bar, spinner

if TYPE_CHECKING:
    from vaekit.comparison.candidates import Candidate
    from vaekit.comparison.compare import ImageSource
    from vaekit.comparison.fit_correction import Fitting
    from vaekit.comparison.records import MeasuredCandidate, Report
    from vaekit.runtime.plan import Plan

CARD_SIZE = (384, 512)
FEW = 5
"""Key numbers in a line of the table."""


def compare(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]...", help="Images, or folders of them. Without any: built-in cards."),
    ] = None,
    vae: Annotated[
        list[str] | None,
        typer.Option("--vae", metavar="VAE", help="A VAE as for the other verbs; repeat it for each to compare."),
    ] = None,
    decode_with: Annotated[
        list[str] | None,
        typer.Option(
            "--decode-with",
            metavar="VAE",
            help="Decode the latents of the one --vae with this VAE, which shares its latent space; may be repeated.",
        ),
    ] = None,
    originals: Annotated[
        Path | None, typer.Option("--originals", metavar="DIR", help="Originals, for images that other tools made.")
    ] = None,
    reconstructions: Annotated[
        list[Path] | None,
        typer.Option(
            "--reconstructions",
            metavar="DIR",
            help="What a tool made of the originals, under the same names; may be repeated.",
        ),
    ] = None,
    folder: options.Folder = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    show: Annotated[int, typer.Option("--show", min=0, metavar="N", help="How many images the page shows.")] = 6,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PAGE", help="The page; the numbers go beside it, as .json.")
    ] = Path("report.html"),
    lpips: options.Lpips = None,
    vgg: Annotated[bool, typer.Option("--lpips-vgg", help="Measure LPIPS with VGG16 too, which takes long.")] = False,
    models: options.Models = None,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    fit_correction: Annotated[
        bool,
        typer.Option(
            "--fit-correction",
            help="Fit the smallest correction of colors to each --vae, from 8 images or more; it is written beside "
            "the VAE if it helps on held-out ones.",
        ),
    ] = False,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Judge each --vae that has such a correction with it too, as another set."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show what VAEs do to images, and which is better.

    Writes one page that opens from disk (--out), and the same numbers beside it as JSON. Compare VAEs (--vae, more than
    once), decoders that share one encoder's latents (--vae once, --decode-with more than once), or images that other
    tools made (--originals and --reconstructions).
    """
    from vaekit.comparison.compare import compare as run
    from vaekit.report.page import json_beside, write_report
    from vaekit.runtime.plan import Plan

    json_beside(out)
    check_use(images, folder, vae, decode_with, originals, reconstructions)
    check_correction(fit_correction, correct, bool(images or folder), decode_with, originals)
    plan = Plan(device=device, dtype=dtype, memory=memory, backend=backend)
    fits: list[Fitting] = []
    with spinner("looking at the VAEs"):
        perceptual, absent = distances(lpips, vgg)
        if originals is not None:
            contenders = tools(reconstructions or [])
            sources = images_of([originals], limit, seed)
        else:
            contenders = vaes(vae or ["builtin"], decode_with or [], plan, padding, models)
            given = [*(images or []), *(folder or [])]
            sources = images_of(given, limit, seed) if given else built_in(contenders)
            fits = fittings(contenders, vae or ["builtin"], len(sources), seed) if fit_correction else []
            if correct:
                contenders = with_corrected(contenders, vae or ["builtin"], models)
    protocol = {
        "dtype": dtype,
        "device": str(plan.torch_device),
        "backend": backend,
        "seed": seed,
        "limit": limit,
        "latents": "the posterior's mode",
        "images_judged": "8-bit sRGB, upright, at their own size; transparency left aside",
        "corrections": {each.name: each.about()["correction"] for each in contenders if "correction" in each.about()},
        "not_measured": absent,
        "versions": versions(),
        "command": " ".join(Path(word).name if "/" in word else word for word in sys.argv[1:]),
    }
    with progress_bar("images") as progress:
        found = run(sources, contenders, perceptual, protocol, show, progress)
    fitted = [each.finish(versions(), models) for each in fits]
    with spinner("writing the page"):
        beside = write_report(found.report, found.shown, out)
    if as_json:
        told = {"fitted": [one.as_json() for one in fitted]} if fit_correction else {}
        sets = [summary(one) for one in found.report.sets]
        print_json({"report": str(out), "numbers": str(beside), "sets": sets, **told})
        return
    tell(found.report)
    for one in fitted:
        log(one.words)
    for reason in absent.values():
        log(f"vaekit: {reason}")
    log(f"Written to {out}, numbers in {beside.name}")


def check_use(
    images: Sequence[Path] | None,
    folder: Sequence[Path] | None,
    vae: Sequence[str] | None,
    decode_with: Sequence[str] | None,
    originals: Path | None,
    reconstructions: Sequence[Path] | None,
) -> None:
    """Refuse options that do not go together.

    Raises:
        typer.BadParameter: they do not.
    """
    if (originals is None) != (not reconstructions):
        alone = "--reconstructions" if originals is None else "--originals"
        raise typer.BadParameter(f"{alone} came alone: give --originals DIR and --reconstructions DIR")
    if originals is not None and (images or folder or vae or decode_with):
        raise typer.BadParameter("--originals compares images that are made already: leave out images and VAEs")
    if decode_with and len(vae or []) > 1:
        raise typer.BadParameter("--decode-with takes the latents of one encoder: give --vae once")


def check_correction(
    fit: bool, correct: bool, images: bool, decode_with: Sequence[str] | None, originals: Path | None
) -> None:
    """Refuse a correction of colors where there is nothing to fit it to, or to apply it to.

    Raises:
        typer.BadParameter: so it is.
    """
    if not (fit or correct):
        return
    if decode_with or originals is not None:
        raise typer.BadParameter(
            "a correction of colors belongs to a whole VAE: leave out --decode-with and --originals"
        )
    if fit and correct:
        raise typer.BadParameter("fit a correction first (--fit-correction), then look at what it does (--correct)")
    if fit and not images:
        raise typer.BadParameter("--fit-correction needs images: colors of cards are not those of photographs")


def fittings(contenders: Sequence["Candidate"], names: Sequence[str], images: int, seed: int) -> list["Fitting"]:
    """A fit for each VAE, which learns while they are compared."""
    from vaekit.comparison.candidates import VAECandidate
    from vaekit.comparison.fit_correction import Fitting, too_few
    from vaekit.domains.images.correction_fit import FEWEST

    if images < FEWEST:
        raise too_few(images)
    pairs = zip(contenders, names, strict=True)
    return [Fitting(each, name, seed) for each, name in pairs if isinstance(each, VAECandidate)]


def with_corrected(
    contenders: Sequence["Candidate"], names: Sequence[str], models: Sequence[Path] | None
) -> list["Candidate"]:
    """The VAEs, and after each that has a correction, the VAE with it.

    Raises:
        NotFound: none has one.
    """
    from vaekit.comparison.candidates import CorrectedCandidate, VAECandidate
    from vaekit.domains.images.correction_files import correction_of, find_correction

    made: list[Candidate] = []
    for each, name in zip(contenders, names, strict=True):
        made.append(each)
        saved = find_correction(name, each.encoder.vae, models) if isinstance(each, VAECandidate) else None
        if isinstance(each, VAECandidate) and saved is not None:
            made.append(CorrectedCandidate(each, saved))
    first = contenders[0]
    if len(made) == len(contenders) and isinstance(first, VAECandidate):
        correction_of(names[0], first.encoder.vae, models)  # says how one is made
    return made


def vaes(
    names: Sequence[str], decoders: Sequence[str], plan: "Plan", padding: str | None, models: Sequence[Path] | None
) -> list["Candidate"]:
    """An engine for each VAE; or one that encodes, and others that decode."""
    from vaekit.checkpoints.load import load
    from vaekit.comparison.candidates import VAECandidate, check_shared
    from vaekit.runtime.engine import Engine

    called = distinct([*(decoders or names)])
    if not decoders:
        return [
            VAECandidate(shown, Engine(load(name, padding=padding, models=models), plan))
            for shown, name in zip(called, names, strict=True)
        ]
    encoder = Engine(load(names[0], padding=padding, models=models), plan)
    made: list[Candidate] = []
    for shown, name in zip(called, decoders, strict=True):
        decoder = load(name, padding=padding, models=models)
        check_shared(encoder.vae, decoder, name)
        made.append(VAECandidate(shown, encoder, Engine(decoder, plan)))
    return made


def tools(folders: Sequence[Path]) -> list["Candidate"]:
    """The folders that other tools filled."""
    from vaekit.comparison.candidates import FolderCandidate, by_stem
    from vaekit.domains.images.read import find_images

    names = distinct([str(folder) for folder in folders])
    return [
        FolderCandidate(name, by_stem(folder, find_images([folder])))
        for name, folder in zip(names, folders, strict=True)
    ]


def distinct(names: Sequence[str]) -> list[str]:
    """What sets are called: the last part of a path, as much of it as tells them apart."""
    for parts in range(1, 20):
        short = ["/".join(Path(name).parts[-parts:]) for name in names]
        if len(set(short)) == len(names):
            return short
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def images_of(given: Sequence[Path], limit: int | None, seed: int) -> list["ImageSource"]:
    """The images to compare on; a sample that the seed draws, in the order of their names, where there are more."""
    from vaekit.comparison.compare import ImageSource
    from vaekit.domains.images.read import find_images, read_image
    from vaekit.evaluation.protocol import chosen_names

    found: dict[str, Path] = {}
    for place in given:
        for path in find_images([place]):
            name = path.relative_to(place).as_posix() if place.is_dir() else path.name
            found[name if name not in found else str(path)] = path
    names = chosen_names(list(found), limit, seed)
    return [ImageSource(name, lambda path=found[name]: read_image(path)) for name in names]  # type: ignore[misc]


def built_in(contenders: Sequence["Candidate"]) -> list["ImageSource"]:
    """The cards, in a size that all VAEs take, if there is one."""
    from vaekit.comparison.candidates import VAECandidate
    from vaekit.comparison.compare import ImageSource
    from vaekit.domains.images.read import LoadedImage
    from vaekit.metrics.image.levels import as_saved
    from vaekit.testcards.cards import cards

    sides = [each.image_size for each in contenders if isinstance(each, VAECandidate)]
    size = next(((side, side) for side in sides if side is not None), CARD_SIZE)
    return [
        ImageSource(card.name, lambda card=card: LoadedImage(as_saved(card.draw(size))))  # type: ignore[misc]
        for card in cards()
    ]


def distances(told: Path | None, vgg: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The perceptual distances that can be measured, and why others cannot."""
    from vaekit.pretrained.lpips_weights import available_lpips

    at_hand = available_lpips(told)
    wanted = ("alex", "vgg") if vgg else ("alex",)
    found = {name: one.lpips for name, one in at_hand.found.items() if name in wanted}
    return found, {f"lpips_{name}": reason for name, reason in at_hand.absent.items() if name in wanted}


def versions() -> dict[str, str]:
    """The libraries that numbers depend on."""
    from vaekit.evaluation.protocol import versions as of

    return of(("torch", "numpy", "pillow", "ncnn"))


def summary(judged: "MeasuredCandidate") -> Mapping[str, Any]:
    """What a program wants to know at once."""
    return {
        "name": judged.name,
        "rank": judged.rank,
        "reason": judged.reason,
        "verdict": list(judged.verdict),
        "defects": [vars(defect) for defect in judged.defects],
        "measures": {name: estimate.value for name, estimate in judged.measures.items()},
    }


def tell(report: "Report") -> None:
    """The ranked table and the verdicts in the terminal."""
    keys = [measure for measure in report.measures if measure.key][:FEW]
    rows = []
    for judged in report.sets:
        values = [judged.measures.get(key.name) for key in keys]
        numbers = ["" if value is None else f"{value.value:.4g}" for value in values]
        rows.append([str(judged.rank), judged.name, *numbers, ", ".join(one.name for one in judged.defects) or "none"])
    title = f"{len(report.sets[0].images)} images"
    print_table(title, ("rank", "VAE", *(key.title for key in keys), "defects"), rows, left=2)
    for judged in report.sets:
        log(f"{judged.name}: {' '.join(judged.verdict)}")
        log(f"  {judged.reason}")
        for note in judged.about.get("notes", ()):
            log(f"vaekit: {judged.name}: {note}")
    for one in report.skipped:
        log(f"vaekit: left out {one.name}: {one.reason}")
