"""`vaekit edit`: move items along learned directions."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_lines, show_results, spinner
from vaekit.cli.output import progress_bar as bar
from vaekit.tasks.options import DecodingOptions, EngineOptions, ModelOptions


@options.with_records
def edit(
    items: options.Given,
    directions: Annotated[
        list[Path],
        typer.Option("--direction", metavar="FILE", help="A file of `vaekit direction`; may be repeated."),
    ],
    *,
    source: ModelOptions,
    strengths: Annotated[
        list[str] | None,
        typer.Option(
            "--strength",
            metavar="S[,S...]",
            help="Steps along the direction, in standard deviations, such as 2 or -2,-1,0,1,2; once for each "
            "--direction, in the same order.",
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
    """Move items along learned directions of the latent space.

    Encodes each item, moves its latents, and decodes them. Results are what `vaekit reconstruct` writes; with strength
    0 they are identical to it. With several strengths there is one file for each, and of images a strip and an
    animation.
    """
    from vaekit.tasks.edit import edit as run
    from vaekit.tasks.given import first_lines, given_files
    from vaekit.tasks.model import open_model

    wanted = [numbers_in(text) for text in strengths or ["1"] * len(directions)]
    with spinner("loading the VAE"):
        model = open_model(source, engine, decoding=decoding)
    paths = given_files(model, items, out)
    with bar(model.items.files) as progress:
        result = run(model, paths, directions, wanted, out, side_by_side, progress)
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
