"""`vaekit finetune`: an existing VAE trained on, measured before and after, with a card."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.compare import distances, images_of, tell, versions
from vaekit.cli.output import log, print_json, progress_bar, spinner
from vaekit.cli.run_control import stop_on_signal, training_progress

if TYPE_CHECKING:
    from vaekit.comparison.records import Report
    from vaekit.domains.images.finetune import Finetuning
    from vaekit.vae import VAE

PAGE, CARD = "report.html", "README.md"
SHOWN = 4
IN_METADATA = ("psnr", "ssim", "lpips_alex", "delta_e", "red_shift", "green_shift", "blue_shift")


def finetune(
    vae: options.Vae,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Images to train on; those below count.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="A folder for the run; the same command goes on.")
    ],
    whole: Annotated[
        bool,
        typer.Option(
            "--whole/--decoder-only", help="Train the encoder too: latents change their meaning. Or the decoder alone."
        ),
    ] = False,
    recipe: Annotated[str, typer.Option("--recipe", metavar="RECIPE", help="A name or a .toml file.")] = "finetune",
    samples: Annotated[
        int | None,
        typer.Option("--samples", metavar="N", min=1, help="Crops shown in all.", show_default="the recipe's"),
    ] = None,
    seed: options.Seed = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", metavar="DTYPE", help="Of the result: fp32, bf16 or fp16.", show_default="as it was"),
    ] = None,
    padding: Annotated[
        str | None,
        typer.Option(
            "--padding",
            metavar="PADDING",
            help="What convolutions see beyond the edge from now on: zeros or reflect. A change changes latents.",
            show_default="the parent's",
        ),
    ] = None,
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="The card's.", show_default="the run's folder")
    ] = "",
    license: Annotated[
        str,
        typer.Option(
            "--license", "--license", metavar="LICENSE", help="Of the result, such as mit.", show_default="the parent's"
        ),
    ] = "",
    lpips: options.Lpips = None,
    models: options.Models = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Train an existing VAE on.

    The decoder alone is trained by default: the encoder stays as it is, bit for bit, and so do latents, unless
    --padding changes how it pads or --dtype rounds it. The weights are kept in fp32 meanwhile, and written as they
    came: same layout, same dtype. RUN then holds them with what they come from in their metadata, a report and a model
    card with numbers and images of before and after, measured on images that were kept aside. `vaekit push RUN`
    puts it on the Hub.
    """
    from vaekit.checkpoints.convert import storage_dtype
    from vaekit.checkpoints.finetuned_writer import base_model_at
    from vaekit.domains.images.finetune import FinetuneOptions, prepare_finetuning
    from vaekit.domains.recipes import recipe as find_recipe
    from vaekit.library.names import locate_vae
    from vaekit.runtime.plan import Plan
    from vaekit.training.run import run_training

    told = [*(changes or []), *([f"schedule.samples={samples}"] if samples else [])]
    wishes = FinetuneOptions(whole, storage_dtype(dtype) if dtype else None, lpips, Plan(device=device).torch_device)
    with locate_vae(vae, models) as path:
        with spinner("looking at VAE and images"):
            parent = base_model_at(path, vae, padding)
            tuning = prepare_finetuning(find_recipe(recipe, told), parent, data, out, seed, wishes, log)
        with stop_on_signal() as stop, training_progress() as (show, _):
            result = run_training(tuning.run, show, log, stop)
        report = before_and_after(tuning, result, device, lpips, title or out.resolve().name, license)
    if as_json:
        print_json({"run": str(out), "files": files_in(out), "lineage": tuning.lineage(), "metrics": metrics(report)})
        return
    tell(report)
    log(f"Written to {out}: {', '.join(files_in(out))}, {CARD}, {PAGE}")


def before_and_after(
    tuning: "Finetuning", result: "VAE", device: str | None, lpips: Path | None, title: str, license: str
) -> "Report":
    """Measure the file that was written against its parent, and write report, card and metadata."""
    from vaekit.atomic import atomic_file
    from vaekit.checkpoints.load import load
    from vaekit.comparison.candidates import VAECandidate
    from vaekit.comparison.compare import compare
    from vaekit.domains.images.finetune import write_held_out
    from vaekit.identification.build import build
    from vaekit.report.card_images import AFTER, BEFORE, ColorErrors, write_crops, write_histogram
    from vaekit.report.model_card import IMAGES, model_card
    from vaekit.report.page import write_report
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Plan

    folder, plan = tuning.run.folder, Plan(device=device)
    paths = write_held_out(tuning)
    both = {AFTER: load(folder), BEFORE: build(tuning.parent.found)}
    contenders = [VAECandidate(name, Engine(each, plan)) for name, each in both.items()]
    errors = [ColorErrors(), ColorErrors()]
    for contender, listener in zip(contenders, errors, strict=True):
        contender.listeners.append(listener)
    perceptual, absent = distances(lpips, vgg=False)
    protocol: dict[str, Any] = {
        "dtype": plan.dtype,
        "device": str(plan.torch_device),
        "seed": tuning.run.stream.seed,
        "latents": "the posterior's mode",
        "images_judged": "images kept aside, 8-bit sRGB",
        "not_measured": absent,
        "versions": versions(),
    }
    with progress_bar("images") as progress:
        found = compare(images_of([paths[0].parent], None, 0), contenders, perceptual, protocol, SHOWN, progress)
    with spinner("writing report and card"):
        shown = list(found.shown)
        write_report(found.report, shown, folder / PAGE)
        files = [each.name for each in tuning.write(result, metrics(found.report))]
        crops = write_crops(shown, folder / IMAGES)
        histogram = write_histogram(errors[1], errors[0], folder / IMAGES / "color_errors.png")
        text = model_card(about(tuning, title, license, files), found.report, crops, histogram)
        with atomic_file(folder / CARD) as part:
            part.write_text(text, "utf-8")
    return found.report


def about(tuning: "Finetuning", title: str, license: str, files: list[str]) -> Any:
    """What the card tells of a run."""
    from vaekit.families import padding_of
    from vaekit.report.model_card import About

    parent, card = tuning.parent, tuning.parent.card
    dtype = tuning.wishes.dtype
    return About(
        title,
        tuning.lineage(),
        dict(tuning.run.recipe.words),
        files,
        parent.layout,
        [str(dtype).removeprefix("torch.")] if dtype else parent.dtypes,
        license or (card.license if card and card.license != "unknown" else ""),
        "as told by those who trained it" if license else "as that of its parent",
        card.maker if card else "",
        padding_of(parent.identified.config),
        bool(tuning.run.schedule.averages),
    )


def metrics(report: "Report") -> dict[str, Any]:
    """What the metadata tells of before and after."""
    values = {
        one.name: {name: one.measures[name].value for name in IN_METADATA if name in one.measures}
        for one in report.sets
    }
    return {"held_out_images": len(report.sets[0].images), **values}


def files_in(folder: Path) -> list[str]:
    """The names of the result's files."""
    from vaekit.library.upload import weights_files

    return [each.name for each in weights_files(folder)]
