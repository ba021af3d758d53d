"""`vaekit interpolate`: items between items."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_facts, print_json, print_lines, progress_bar, spinner
from vaekit.tasks.options import DecodingOptions, EngineOptions, LatentOptions, ModelOptions

SHOWN = 8
"""Items, and ghost indices, that are listed at most."""


@options.with_records
def interpolate(
    items: options.Given,
    *,
    source: ModelOptions,
    out: options.Out = Path("interpolation"),
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=0, max=10_000, help="Number of points between two items.")
    ] = 7,
    path: Annotated[
        str,
        typer.Option(
            "--path",
            metavar="PATH",
            help="linear, spherical, or gaussian (linear, with the norm that samples of the prior have).",
        ),
    ] = "linear",
    ordered: Annotated[
        bool,
        typer.Option(
            "--ordered",
            help="For sentences and molecules: of eight times as many points, choose those whose items differ, and are "
            "ever less similar to the first one.",
        ),
    ] = False,
    animation: Annotated[
        str | None,
        typer.Option(
            "--animation",
            metavar="FORMAT",
            help="For images: webp, gif, or mp4 (needs PyAV).",
            show_default="webp",
        ),
    ] = None,
    sample: options.Sample = False,
    seed: options.Seed = 0,
    decoding: DecodingOptions,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Interpolate between two or more items.

    Encodes the items, follows a path through their latents in the given order, and decodes every point. Images become a
    strip (PNG) and an animation, resized and cropped to the size of the first one; rows of tables become a CSV file.
    Sentences and SMILES, which can be given themselves, become a text file, one line per point, and are printed.
    Ghost index: the distance of the item in the middle to the average of the two ends, relative to the distance of the
    ends. Near 0, the items cross-fade, as with all VAEs of latent diffusion, whose latents are maps; with VAEs of one
    vector per item, they change into each other.
    """
    from vaekit.latents.ghost import meaning_of
    from vaekit.tasks.given import first_lines, given_files
    from vaekit.tasks.interpolate import InterpolationOptions
    from vaekit.tasks.interpolate import interpolate as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, engine, decoding=decoding)
    wanted = InterpolationOptions(steps, path, ordered, animation, LatentOptions(sample, seed))
    with progress_bar(model.domain.items) as progress:
        result = run(model, given_files(model, items, out), out, wanted, progress)
    log_note(source.vae, "; ".join(model.notes))
    for note in result.notes:
        log(note)
    if as_json:
        print_json({"vae": source.vae, "steps": steps, "path": path, "cross_fades": result.cross_fades, **vars(result)})
        return
    facts = {model.domain.items: f"{result.items:,}, through {first_and_last(result.ends, ' -> ')}", "path": path}
    if result.ghosts:
        known = [ghost for ghost in result.ghosts if ghost is not None]
        shown = ["none (equal ends)" if ghost is None else f"{ghost:.3f}" for ghost in result.ghosts]
        meaning = f": {meaning_of(known)}" if known else ""
        facts["ghost index"] = f"{first_and_last(shown, ', ')}{meaning}"
    print_facts(f"{source.vae}: interpolation", facts)
    print_lines(first_lines(model, result.files[0], result.items))
    log(f"Written to {', '.join(map(str, result.files))}")


def first_and_last(texts: Sequence[str], between: str) -> str:
    """Texts on one line: all of them, or the first ones and the last one."""
    shown = texts if len(texts) <= SHOWN else [*texts[: SHOWN - 2], "...", texts[-1]]
    return between.join(shown)
