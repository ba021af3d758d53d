"""`vaekit train`: a VAE by a recipe."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from vaekit.cli import options
from vaekit.cli.evaluate import COLUMNS, row, say_missing
from vaekit.cli.output import log, print_json, print_table, progress_bar
from vaekit.cli.run_control import stop_on_signal, training_progress

if TYPE_CHECKING:
    from vaekit.training.recipe import Recipe


class WithRecipes(TyperCommand):
    """A command whose help page ends with the recipes. They are read only when somebody asks for that page."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        folder = resources.files("vaekit").joinpath("training", "recipes")
        with formatter.section("Recipes"):
            for each in sorted(folder.iterdir(), key=lambda path: path.name):
                if each.name.endswith(".toml"):
                    told = tomllib.loads(each.read_text("utf-8"))
                    formatter.write_text(f"{each.name.removesuffix('.toml')}: {described(told)}")


def described(told: dict[str, Any]) -> str:
    """What the help page says of a recipe.

    >>> described({"about": "A VAE", "data": "digits", "takes": "a minute", "reached": "90 nats"})
    'A VAE. Data: digits. Takes a minute. Reached 90 nats.'
    >>> described({"about": "A VAE", "data": "photographs", "takes": "days"})
    'A VAE. Data: photographs. Takes days. Has no score yet: it was never trained to its end.'
    """
    score = f"Reached {told['reached']}" if "reached" in told else "Has no score yet: it was never trained to its end"
    return ". ".join([told["about"], f"Data: {told['data']}", f"Takes {told['takes']}", score]) + "."


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name from the list below, or a file of your own.")],
    data: Annotated[Path, typer.Option("--data", metavar="PATH", help="What to train on.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run's folder.")],
    samples: Annotated[
        int | None,
        typer.Option("--samples", metavar="N", min=1, help="Items shown in all.", show_default="the recipe's"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="M", min=0.1, help="As many samples as this machine sees in M minutes."),
    ] = None,
    seed: options.Seed = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as schedule.learning_rate=5e-4."),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Train a VAE by a recipe.

    The same command goes on after any stop, and on a CPU ends with the very weights of an uninterrupted run. RUN gets
    vae.safetensors, which --vae RUN loads, with checkpoints, a log, images of how it went, and recipe.json, which
    says everything that was settled. For several devices: torchrun --nproc-per-node N -m vaekit train ... See
    docs/training.md.
    """
    from vaekit.domains.images.train import evaluate_run, prepare_run, with_duration
    from vaekit.runtime.plan import Plan
    from vaekit.training.processes import join_processes
    from vaekit.training.recipe import recipe as find_recipe
    from vaekit.training.run import run_training, samples_for_duration

    if samples and minutes:
        raise typer.BadParameter("give --samples or --minutes, not both", param_hint="--minutes")
    processes, place = join_processes(Plan(device=device).torch_device)
    told, speak = list(changes or []), log if processes.first else quietly

    def recipe_of(count: int | None) -> "Recipe":
        return find_recipe(recipe, [*told, *([f"schedule.samples={count}"] if count else [])])

    run = prepare_run(recipe_of(samples), data, out, seed, place, processes, speak)
    if minutes:
        run = with_duration(run, recipe_of(samples_for_duration(run, 60 * minutes, speak)))
    with stop_on_signal() as stop, training_progress() as (tell, bar):
        vae = run_training(run, tell, speak, stop, bar)
    if not processes.first:
        return
    with progress_bar("images") as progress:
        found = evaluate_run(run, vae, progress)
    if as_json:
        print_json({"run": str(out), **(found.as_json() if found else {})})
        return
    if found:
        rows = [row(result) for result in found.results]
        print_table(f"{found.measured} held-out images", COLUMNS, rows, left=2)
        say_missing(found)
    log(f"Written to {out}")


def quietly(_: str) -> None:
    """One of several processes speaks."""
