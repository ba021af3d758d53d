"""`vaekit sample`: items from a prior."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_facts, print_json, print_table, progress_bar, spinner
from vaekit.tasks.options import DecodingOptions, EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.domains.sample_quality import SampleQuality

SHOWN = 20
"""Columns in the table; --json has all."""


@options.with_records
def sample(
    *,
    source: ModelOptions,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=1, help="Number of samples.")] = 16,
    out: options.Out = Path("samples"),
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            metavar="PRIOR",
            help="Distribution of the latents: standard, the VAE's own prior; or fitted, a mixture of Gaussians fitted "
            "to the latents of --data.",
        ),
    ] = "standard",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Data for a fitted prior; samples of tables are also compared with them.",
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            metavar="T",
            min=0,
            max=1000,
            help="Factor on the standard deviation of N(0, I); of sentences and molecules, instead the temperature of "
            "their tokens: below 1, the more probable ones.",
        ),
    ] = 1.0,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="The most probable item of each latent, as --beam above 1 also implies.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            metavar="N",
            min=1,
            help="Side of images in pixels, for a VAE that takes any size.",
            show_default="256",
        ),
    ] = None,
    unique: Annotated[
        bool, typer.Option("--unique", help="Each item once; more are drawn until there are N different ones.")
    ] = False,
    new_to: Annotated[
        Path | None,
        typer.Option(
            "--new-to",
            metavar="DATA",
            help="Only items that are not in these data, compared as they are written.",
            show_default="none",
        ),
    ] = None,
    keep_invalid: Annotated[
        bool, typer.Option("--keep-invalid", help="Keep invalid items, such as SMILES of no molecule.")
    ] = False,
    seed: options.Seed = 0,
    decoding: DecodingOptions,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Sample new items from a VAE.

    Draws latents from the VAE's own prior, or from a mixture of Gaussians fitted to the latents of data, and decodes
    them. Images become PNG files and a sheet of the first 64; rows become a CSV file, sentences a text file, and
    molecules a file of SMILES and a drawing. Cells of rows and tokens of sequences are drawn, too. The same seed gives
    the same samples, whatever their number.

    Rows are compared with --data: distances of the distributions of columns, differences of correlations, how well a
    classifier tells them from real rows, and whether they are closer to training rows than new real rows are. The last
    requires --data to be the training data. See docs/tables.md. For molecules, see docs/molecules.md.

    Invalid items are left out, and counted. With --unique and --new-to, sentences, molecules and rows are drawn until N
    are found, 20 N were drawn, or almost none of the last 10,000 were wanted.
    """
    from vaekit.tasks.model import open_model
    from vaekit.tasks.sample import SampleOptions
    from vaekit.tasks.sample import sample as run

    with spinner("loading the VAE"):
        model = open_model(source, engine, decoding=decoding)
    is_greedy = greedy or decoding.beam > 1
    wanted = SampleOptions(count, prior, data, temperature, seed, size, is_greedy, unique, new_to, keep_invalid)
    with progress_bar(model.domain.items) as progress:
        result = run(model, out, wanted, progress)
    log_note(source.vae, "; ".join(model.notes))
    for note in result.notes:
        log(note)
    if as_json:
        print_json({"vae": source.vae, "seed": seed, **vars(result)})
        return
    print_facts(f"{source.vae}: samples", {model.domain.items: f"{result.items:,}", "prior": result.prior})
    if result.quality is not None:
        print_quality(result.quality, data, model.domain.name)
    log(f"Written to {out}")


def print_quality(quality: "SampleQuality", data: Path | None, domain: str) -> None:
    """Tables of how similar samples are to data."""
    rows = [[each.title, each.text(quality.values[each.name])] for each in quality.measures]
    print_table(f"Compared with {data} (see docs/{domain}.md)", ("measure", "value"), rows)
    shown = list(quality.parts.items())[:SHOWN]
    more = f" (the largest {SHOWN} of {len(quality.parts):,})" if len(quality.parts) > SHOWN else ""
    parts = [[name, f"{value:.3f}"] for name, value in shown]
    print_table(f"Distances by {quality.part}{more}", (quality.part, "distance"), parts)
    for name, reason in quality.not_measured.items():
        log(f"Not measured: {name}. {reason}")
