"""`vaekit generate`: new items from a diffusion model."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_facts, print_json, progress_bar


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROMPT|CLASS]",
            help="What to generate: a prompt, or the name of a class.",
            show_default="anything",
        ),
    ] = None,
    *,
    model: Annotated[
        Path,
        typer.Option(
            "--model", metavar="RUN", help="Folder of a run of a diffusion recipe, or of a diffusers pipeline."
        ),
    ],
    vae: Annotated[
        str | None,
        typer.Option(
            "--vae",
            metavar="VAE",
            help=f"Another VAE of the same latent space to decode with. {options.ANY_VAE}",
            show_default="the model's own",
        ),
    ] = None,
    models: options.Models = None,
    negative: Annotated[
        str | None, typer.Option("--negative", metavar="PROMPT", help="A prompt or class to move away from.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="ITEM", help="An item, such as an image, to start from.")
    ] = None,
    strength: Annotated[
        float,
        typer.Option(
            "--strength", metavar="S", min=0, max=1, help="Share of the steps that change --init: 0 none, 1 all."
        ),
    ] = 0.75,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=1, help="Number of items.")] = 1,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Number of steps.", show_default="the model's")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance",
            metavar="G",
            min=0,
            help="Scale of classifier-free guidance; 1 is none.",
            show_default="the model's",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="WIDTHxHEIGHT", help="Size of the images, for pipelines.", show_default="the model's"
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="NAME",
            help="Another scheduler for a pipeline, such as euler.",
            show_default="the pipeline's",
        ),
    ] = None,
    seed: options.Seed = 0,
    previews: Annotated[
        bool, typer.Option("--previews", help="Write a preview of the items after every few steps.")
    ] = False,
    out: options.Out = Path("generated"),
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    as_json: options.Json = False,
) -> None:
    """Generate new items with a diffusion model.

    The model is a run of a diffusion recipe (`vaekit train diffusion-mnist ...`), or a pipeline of diffusers. Its
    latents are decoded by its own VAE, or by another one of the same latent space. Item N depends on the seed and N
    only, whatever the number of items. With --init, the item is changed instead of beginning with noise. generated.json
    has everything that is needed to repeat the call. See docs/diffusion.md and docs/pipelines.md.
    """
    from vaekit.tasks.generate import generate as run
    from vaekit.tasks.generation import GenerateCallbacks, GenerateOptions

    wanted = GenerateOptions(
        model=model,
        out=out,
        prompt=prompt,
        negative=negative,
        vae=vae,
        init=init,
        strength=strength,
        count=count,
        steps=steps,
        guidance=guidance,
        seed=seed,
        previews=previews,
        size=None if size is None else size_of(size),
        scheduler=scheduler,
        dtype=dtype,
        device=device,
        memory=memory,
        models=models,
    )
    with progress_bar("steps") as progress:
        result = run(wanted, GenerateCallbacks(progress, log))
    for note in result.notes:
        log(note)
    if as_json:
        print_json({"files": [str(path) for path in result.paths], **result.settings, "notes": list(result.notes)})
        return
    shown = {name: str(value) for name, value in result.settings.items() if value is not None}
    print_facts(f"{model}: generated", shown)
    log(f"Written to {out}")


def size_of(text: str) -> tuple[int, int]:
    """(height, width) of a size such as 768x512, or of a square such as 512.

    Raises:
        typer.BadParameter: it is none.
    """
    width, cross, height = text.lower().partition("x")
    sides = (height, width) if cross else (width, width)
    if not all(side.strip().isdecimal() and int(side) for side in sides):
        raise typer.BadParameter(f"{text!r} is no size; expected WIDTHxHEIGHT, such as 768x512.", param_hint="--size")
    return int(sides[0]), int(sides[1])
