"""`vaekit edit`: move items along learned directions."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_lines, show_results, spinner
from vaekit.cli.output import progress_bar as bar
from vaekit.tasks.options import DecodingOptions, EngineOptions, ModelOptions

PAIR = "given-pair"
"""The subfolder for the items of a direction that are given as text."""


@options.with_records
def edit(
    items: options.Given,
    *,
    directions: Annotated[
        list[Path] | None,
        typer.Option("--direction", metavar="FILE", help="A file of `vaekit direction`; may be repeated."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="A", help="An item: one more direction leads from A to B."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="B", help="The item that --from leads to.")] = None,
    source: ModelOptions,
    strengths: Annotated[
        list[str] | None,
        typer.Option(
            "--strength",
            metavar="S[,S...]",
            help="Steps along the direction, in standard deviations, such as 2 or -2,-1,0,1,2; once for each "
            "--direction, in the same order, and then for --from and --to.",
            show_default="1",
        ),
    ] = None,
    out: options.Out = Path("edited"),
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Also write original and result next to each other.")
    ] = False,
    decoding: DecodingOptions,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Move items along directions of the latent space: learned ones, or from one item to another.

    Encodes each item, moves its latents, and decodes them. Results are what `vaekit reconstruct` writes; with strength
    0 they are identical to it. With several strengths there is one file for each, and of images a strip and an
    animation. From A to B, strength 1 is all of the way: the result is to the item as B is to A.
    """
    from vaekit.tasks.edit import edit as run
    from vaekit.tasks.given import first_lines, given_files
    from vaekit.tasks.model import open_model

    if (start is None) != (end is None):
        raise typer.BadParameter("--from and --to belong together.")
    if not directions and start is None:
        raise typer.BadParameter("is missing; or give --from and --to.", param_hint="--direction")
    count = len(directions or ()) + (start is not None)
    wanted = [numbers_in(text) for text in strengths or ["1"] * count]
    with spinner("loading the VAE"):
        model = open_model(source, engine, decoding=decoding)
    paths = given_files(model, items, out)
    pair = [] if start is None or end is None else given_files(model, [start, end], out, PAIR)
    with bar(model.items.files) as progress:
        result = run(model, paths, directions or (), wanted, out, side_by_side, progress, pair)
    facts = {
        "vae": source.vae,
        "directions": list(result.directions),
        "steps": [list(step) for step in result.steps],
        "strips": [str(path) for path in result.strips],
        "record": str(result.record),
    }
    for path in result.strips:
        log(f"Strip: {path}")
    title = f"{source.vae}: edited along {', '.join(result.directions)}"
    remarks = [f"{source.vae}: {note}" for note in model.notes]
    strengths_of = {
        path: {"strength": ", ".join(f"{each + 0.0:+g}" for each in step)} for path, step in result.step_of.items()
    }
    show_results(result.batch, facts, model.items.files, title, remarks, out, as_json, strengths_of)
    if paths != [*map(Path, items)] and not as_json:
        print_lines(
            f"{strengths_of[each.output]['strength']:>8}  {line}"
            for each in result.batch.results
            for line in first_lines(model, each.output)
        )


def numbers_in(text: str) -> list[float]:
    """Numbers separated by commas.

    Raises:
        typer.BadParameter: a part is not a number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a number, or numbers separated by commas.") from error
