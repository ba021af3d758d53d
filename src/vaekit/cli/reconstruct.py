"""`vaekit reconstruct`: encode and decode images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import (
    failures_json,
    format_bytes,
    log,
    log_failures,
    log_notes,
    print_json,
    print_table,
    progress_bar,
    spinner,
)
from vaekit.geometry import size_text
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.domains.images.roundtrip import RoundTrip
    from vaekit.runtime.plan import Explanation

COLUMNS = ("image", "size", "latent", "fewer", "PSNR", "SSIM", "shift R G B", "time")
PLAN_COLUMNS = ("image", "half", "device", "dtype", "backend", "memory", "prepared", "to disk", "passes", "rows")


def reconstruct(
    items: options.Images,
    vae: options.Vae = "builtin",
    models: options.Models = None,
    out: options.Out = Path("reconstructed"),
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Also write original and reconstruction next to each other.")
    ] = False,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    correct: options.Correct = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="First print how images of each size will be run, and the memory needed.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Encode and decode images, and measure the difference.

    Results are upright PNG files in sRGB; transparency is copied unchanged. PSNR and SSIM compare the 8-bit result with
    the 8-bit original. The shift is the mean difference of red, green and blue, in levels of 255. The time is that of
    encoding and decoding. With --correct, all of them are measured on the corrected image.
    """
    from vaekit.tasks import reconstruct as tasks
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(ModelOptions(vae, models, padding), EngineOptions(dtype, device, memory, backend), correct)
    plans = tasks.explain(model, items) if explain else []
    if plans and not as_json:
        print_plans(plans)
    with progress_bar("images") as progress:
        batch = tasks.reconstruct(model, items, out, side_by_side, progress)
    log_failures(batch)
    if as_json:
        extra: dict[str, Any] = {"plans": [plan_facts(plan) for plan in plans]} if explain else {}
        extra |= {"correction": model.correction.as_json()} if model.correction is not None else {}
        images = [vars(result) for result in batch.results]
        print_json({"vae": vae, **extra, "images": images, "failures": failures_json(batch)})
    elif batch.results:
        print_table(f"{vae}: reconstructions", COLUMNS, [row(result) for result in batch.results])
        for result in batch.results:
            log_notes(result.image, result.notes)
        for note in model.engine.notes:
            log(f"{vae}: {note}")
        log(f"Written to {out}")
    if not batch.complete:
        raise typer.Exit(1)


def plan_facts(plan: "Explanation") -> dict[str, Any]:
    """A plan as plain values."""
    height, width = plan.size
    return {"width": width, "height": height, **vars(plan)}


def print_plans(plans: Sequence["Explanation"]) -> None:
    """A table of plans."""
    rows = [
        [
            size_text(plan.size),
            plan.half,
            plan.device,
            plan.dtype,
            plan.backend,
            "unknown" if plan.predicted_peak is None else format_bytes(plan.predicted_peak),
            format_bytes(plan.prepared),
            format_bytes(plan.to_file),
            str(plan.stages),
            "-".join(str(rows) for rows in sorted(set(plan.slab_rows))),
        ]
        for plan in plans
    ]
    print_table("Plan", PLAN_COLUMNS, rows, left=5)


def row(result: "RoundTrip") -> list[str]:
    """One line of the table."""
    return [
        result.image.name,
        f"{result.width}x{result.height}",
        "x".join(str(side) for side in result.latent_shape),
        f"{result.compression:.0f}x",
        f"{result.psnr:.2f} dB",
        f"{result.ssim:.3f}",
        " ".join(f"{shift:+.1f}" for shift in result.color_shift),
        f"{result.seconds:.2f} s",
    ]
