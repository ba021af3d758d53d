"""`vaekit reconstruct`: images through a VAE and back."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import format_bytes, log, log_notes, print_json, print_table, run_all, spinner
from vaekit.cli.output_paths import targets
from vaekit.errors import VaekitError
from vaekit.geometry import size_text

if TYPE_CHECKING:
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Explanation


def reconstruct(
    items: options.Images,
    vae: options.Vae = "builtin",
    models: options.Models = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the results go.")] = Path(
        "reconstructed"
    ),
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Also write original and reconstruction beside each other.")
    ] = False,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    correct: options.Correct = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="First print how images of these sizes will be run, and in what memory.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put images through a VAE and back.

    Writes what comes back and says what the VAE changed. Results are PNG files, upright and in sRGB; transparency is
    kept beside the colors as it is. PSNR and SSIM compare the 8-bit result with the 8-bit original; the shift is the
    mean difference of red, green and blue in levels of 255; the time is that of encoding and decoding. With
    --correct they are those of the corrected image.
    """
    from vaekit.checkpoints.load import load
    from vaekit.domains.images.correction_files import correction_of
    from vaekit.domains.images.read import find_images
    from vaekit.domains.images.roundtrip import round_trip_stages
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Plan

    images = find_images(items)
    named = targets(images, out, ".png")
    with spinner("looking at the VAE"):
        plan = Plan(device=device, dtype=dtype, memory=memory, backend=backend)
        loaded = load(vae, padding=padding, models=models)
        correction = correction_of(vae, loaded, models) if correct else None
        engine = Engine(loaded, plan)
    plans = plans_for(engine, images) if explain else []
    if plans and not as_json:
        print_plans(plans)
    done, failures = run_all(list(named), round_trip_stages(engine, named, side_by_side, correction))
    if as_json:
        told: dict[str, Any] = {"plans": [plan_facts(plan) for plan in plans]} if explain else {}
        told |= {"correction": correction.as_json()} if correction is not None else {}
        results = {"images": [vars(trip) for trip in done], "failures": [vars(failure) for failure in failures]}
        print_json({"vae": vae, **told, **results})
    elif done:
        columns = ("image", "size", "latent", "fewer", "PSNR", "SSIM", "shift R G B", "time")
        print_table(f"{vae}: images through the VAE and back", columns, [row(vars(trip)) for trip in done])
        for trip in done:
            log_notes(trip.image, trip.notes)
        for note in engine.notes:
            log(f"{vae}: {note}")
        log(f"Written to {out}")
    if failures:
        raise typer.Exit(1)


def plans_for(engine: "Engine", images: Sequence[Path]) -> list["Explanation"]:
    """How each size among the images will be run; those that cannot be are told of when their turn comes."""
    from vaekit.domains.images.read import read_image

    sizes: dict[tuple[int, int], None] = {}
    plans: list[Explanation] = []
    for path in images:
        with suppress(VaekitError):
            image = read_image(path)
            if (image.height, image.width) not in sizes:
                sizes[image.height, image.width] = None
                plans += engine.explain(image.height, image.width)
    return plans


def plan_facts(plan: "Explanation") -> dict[str, Any]:
    """A plan as plain values."""
    height, width = plan.size
    return {"width": width, "height": height, **vars(plan)}


def print_plans(plans: Sequence["Explanation"]) -> None:
    """A table of plans."""
    columns = ("image", "half", "where", "dtype", "backend", "memory", "prepared", "to disk", "passes", "rows")
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
    print_table("How it will run", columns, rows, left=5)


def row(trip: dict[str, Any]) -> list[str]:
    """One line of the table."""
    return [
        Path(trip["image"]).name,
        f"{trip['width']}x{trip['height']}",
        "x".join(str(side) for side in trip["latent_shape"]),
        f"{trip['compression']:.0f}x",
        f"{trip['psnr']:.2f} dB",
        f"{trip['ssim']:.3f}",
        " ".join(f"{shift:+.1f}" for shift in trip["color_shift"]),
        f"{trip['seconds']:.2f} s",
    ]
