"""`vaekit reconstruct`: pictures through a VAE and back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.naming import targets
from vaekit.cli.output import each, print_json, print_table, say, say_notes, working


def reconstruct(
    images: options.Images,
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
    padding: options.Padding = None,
    as_json: options.Json = False,
) -> None:
    """Put pictures through a VAE and back.

    Writes what comes back and says what the VAE changed. Results are PNG files, upright and in sRGB; transparency is
    kept beside the colours as it is. PSNR and SSIM compare the 8-bit result with the 8-bit original; the shift is the
    mean difference of red, green and blue in levels of 255; the time is that of encoding and decoding.
    """
    from vaekit.checkpoints.loading import load
    from vaekit.domains.images.reading import find_pictures
    from vaekit.domains.images.roundtrip import round_trips
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Plan

    pictures = find_pictures(images)
    named = targets(pictures, out, ".png")
    with working("looking at the VAE"):
        engine = Engine(load(vae, padding=padding, models=models), Plan(device=device, dtype=dtype))
    done, failures = each(list(named), round_trips(engine, named, side_by_side))
    if as_json:
        print_json({"vae": vae, "pictures": [vars(trip) for trip in done], "failures": [vars(f) for f in failures]})
    elif done:
        columns = ("picture", "size", "latent", "fewer", "PSNR", "SSIM", "shift R G B", "time")
        print_table(f"{vae}: pictures through the VAE and back", columns, [row(vars(trip)) for trip in done])
        for trip in done:
            say_notes(trip.picture, trip.notes)
        say(f"Written to {out}")
    if failures:
        raise typer.Exit(1)


def row(trip: dict[str, Any]) -> list[str]:
    """One line of the table."""
    return [
        Path(trip["picture"]).name,
        f"{trip['width']}x{trip['height']}",
        "x".join(str(side) for side in trip["latent_shape"]),
        f"{trip['compression']:.0f}x",
        f"{trip['psnr']:.2f} dB",
        f"{trip['ssim']:.3f}",
        " ".join(f"{shift:+.1f}" for shift in trip["colour_shift"]),
        f"{trip['seconds']:.2f} s",
    ]
