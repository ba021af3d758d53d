"""`vaekit train`: a VAE by a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import say


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name from the list below, or a .toml file.")],
    data: Annotated[Path, typer.Option("--data", metavar="PATH", help="What to train on.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="A folder for the run; the same command goes on.")
    ],
    samples: Annotated[int | None, typer.Option("--samples", metavar="N", min=1, help="Items shown in all.")] = None,
    seed: options.Seed = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe.")
    ] = None,
) -> None:
    """Train a VAE.

    The same command goes on after any stop, and ends with the weights of an uninterrupted run.
    """
    from vaekit.domains.images.training import prepared_run
    from vaekit.training.recipe import recipe as find_recipe
    from vaekit.training.run import carry_out

    told = [*(changes or []), *([f"schedule.samples={samples}"] if samples else [])]
    run = prepared_run(find_recipe(recipe, told), data, out, seed, say)
    carry_out(run, lambda news: say(f"{news.samples:,} {news.seconds:.0f} s {dict(news.numbers)}"), say)
    say(f"Written to {out}")
