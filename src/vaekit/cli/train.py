"""`vaekit train`: train a VAE or a diffusion model from a recipe."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vaekit.cli import options
from vaekit.cli.evaluate import print_results, say_missing
from vaekit.cli.output import log, print_json
from vaekit.cli.run_control import stop_on_signal, training_progress


class WithRecipes(TyperCommand):
    """A command whose help page ends with the recipes. They are read only when somebody asks for that page."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from vaekit.domains.recipe_files import recipe_files

        with formatter.section("Recipes"):
            for name, file in recipe_files().items():
                formatter.write_text(f"{name}: {described(tomllib.loads(file.read_text('utf-8')))}")


def described(recipe: dict[str, Any]) -> str:
    """A recipe on the help page.

    >>> described({"about": "A VAE", "dataset": "digits", "takes": "a minute", "reached": "90 nats"})
    'A VAE. Data: digits. Takes a minute. Reached 90 nats.'
    >>> described({"about": "A VAE", "dataset": "photographs", "takes": "days"})
    'A VAE. Data: photographs. Takes days. Has no score yet: it was never trained to its end.'
    """
    score = (
        f"Reached {recipe['reached']}" if "reached" in recipe else "Has no score yet: it was never trained to its end"
    )
    return ". ".join([recipe["about"], f"Data: {recipe['dataset']}", f"Takes {recipe['takes']}", score]) + "."


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe below, or a .toml file.")],
    data: Annotated[Path, typer.Option("--data", metavar="PATH", help="Training data: a folder or a file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Run folder; the same command resumes.")],
    samples: options.Samples = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            metavar="M",
            min=0.01,
            help="Train for about M minutes instead, by the speed of a short trial.",
        ),
    ] = None,
    seed: options.Seed = 0,
    changes: options.Overrides = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=KIND",
            help="Tables: the kind of a column: real, normal, positive, count, ordinal (of texts: "
            "ordinal:LOW,...,HIGH), date, binary, categorical, constant or ignored; may be repeated.",
            show_default="inferred",
        ),
    ] = None,
    vae: Annotated[
        str | None,
        typer.Option(
            "--vae", metavar="VAE", help=f"Diffusion recipes: the VAE whose latents are generated. {options.ANY_VAE}"
        ),
    ] = None,
    models: options.Models = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Train a VAE from a recipe, or a diffusion model on the latents of one.

    The recipe names the kind of data: images, tables, text or molecules. An interrupted run is resumed by the same
    command; on a CPU it ends with the weights of an uninterrupted one, bit for bit. RUN gets vae.safetensors, which
    --vae RUN loads, the complete recipe (recipe.json), checkpoints, a log, and reconstructions of held-out items: of
    images while the run goes on, of others at its end, with a few samples. For several devices: torchrun
    --nproc-per-node N -m vaekit train ... See docs/training.md.

    A diffusion recipe needs --vae, and RUN gets diffusion.safetensors, with which `vaekit generate --model RUN` works.
    See docs/diffusion.md.
    """
    from vaekit.tasks.options import ModelOptions
    from vaekit.tasks.train import TrainCallbacks, TrainOptions
    from vaekit.tasks.train import train as train_vae

    if samples and minutes:
        raise typer.BadParameter("give --samples or --minutes, not both", param_hint="--minutes")
    encoder = None if vae is None else ModelOptions(vae, models)
    wanted = TrainOptions(
        recipe, data, out, samples, minutes, seed, tuple(changes or ()), device, kinds_of(columns or ()), encoder
    )
    with stop_on_signal() as stop, training_progress() as (tell, bar):
        result = train_vae(wanted, TrainCallbacks(tell, log, stop, bar, bar))
    if not result.first:
        return
    found = result.evaluation
    if as_json:
        print_json({"run": str(out), **(found.as_json() if found else {})})
        return
    if found:
        print_results(f"{found.measured:,} held-out {result.items}", found)
        say_missing(found)
    log(f"Written to {out}")


def kinds_of(columns: Sequence[str]) -> dict[str, str]:
    """Column to kind.

    >>> kinds_of(["size=ordinal:S,M,L"])
    {'size': 'ordinal:S,M,L'}

    Raises:
        typer.BadParameter: an entry has no kind.
    """
    pairs = [column.rpartition("=") for column in columns]
    wrong = next((column for column, (name, _, kind) in zip(columns, pairs, strict=True) if not name or not kind), None)
    if wrong is not None:
        raise typer.BadParameter(f"{wrong!r} is not NAME=KIND.", param_hint="--column")
    return {name: kind for name, _, kind in pairs}
