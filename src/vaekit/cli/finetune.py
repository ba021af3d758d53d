"""`vaekit finetune`: fine-tune a VAE, with a report and a model card."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.comparison_output import print_report
from vaekit.cli.output import log, print_json, progress_bar, spinner
from vaekit.cli.run_control import stop_on_signal, training_progress
from vaekit.tasks.options import ModelOptions


def finetune(
    vae: options.Vae,
    data: Annotated[Path, typer.Option("--data", metavar="PATH", help="Training images; folders are searched below.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Run folder; the same command resumes the run.")
    ],
    whole: Annotated[
        bool, typer.Option("--whole/--decoder-only", help="Also train the encoder (breaks latent compatibility).")
    ] = False,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="RECIPE", help="Name of a recipe, or a .toml file.")
    ] = "finetune",
    samples: options.Samples = None,
    seed: options.Seed = 0,
    overrides: options.Overrides = None,
    dtype: options.StorageDtype = None,
    padding: Annotated[
        str | None,
        typer.Option(
            "--padding",
            metavar="PADDING",
            help="Convolution padding mode: zeros or reflect. Another mode than the base model's changes latents.",
            show_default="same as the base model",
        ),
    ] = None,
    weights: options.Weights = None,
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="Title of the model card.", show_default="the run folder")
    ] = "",
    license: Annotated[
        str,
        typer.Option(
            "--license",
            metavar="LICENSE",
            help="License of the result, such as mit.",
            show_default="the base model's",
        ),
    ] = "",
    lpips: options.Lpips = None,
    latent: Annotated[
        bool, typer.Option("--latent", help="Also measure the latent spaces before and after; docs/latent-space.md.")
    ] = False,
    models: options.Models = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Fine-tune an existing VAE.

    By default only the decoder is trained: the encoder stays bit-identical, and so do latents, unless --padding or
    --dtype changes it. Weights are trained in fp32 and written in the layout and dtype of the base model. RUN gets the
    weights with their lineage in the metadata, a report, and a model card with numbers and images before and after,
    measured on held-out images. `vaekit push RUN` uploads it to the Hub.
    """
    from vaekit.tasks.finetune import CARD, PAGE, FinetuneRequest, open_finetuning

    request = FinetuneRequest(
        data=data,
        out=out,
        recipe=recipe,
        overrides=[*(overrides or ()), *([f"schedule.samples={samples}"] if samples else [])],
        seed=seed,
        whole=whole,
        dtype=dtype,
        lpips=lpips,
        device=device,
        title=title,
        license=license,
        latent=latent,
    )
    with ExitStack() as stack:
        with spinner("loading the VAE and the images"):
            job = stack.enter_context(open_finetuning(ModelOptions(vae, models, padding, weights), request, log))
        with stop_on_signal() as stop, training_progress() as (show, _):
            trained = job.train(show, log, stop)
        with progress_bar("images", before="loading the VAEs") as progress:
            result = job.measure(trained, progress)
    if as_json:
        fields = {"run": str(out), "files": result.files, "lineage": result.lineage, "metrics": result.metrics}
        print_json(fields)
        return
    print_report(result.report)
    log(f"Written to {out}: {', '.join(result.files)}, {CARD}, {PAGE}")
