"""Options that several verbs share: one name, default and help text each, and the records made from them."""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.runner_options import PART_FLAGS, RUNNER_FLAGS, PartOptions, RunnerOptions
from vaekit.errors import counted
from vaekit.tasks.options import CodingOptions, DecodingOptions, EngineOptions, ModelOptions


class WeightsKind(StrEnum):
    """Kinds of weights in a checkpoint."""

    EMA = "ema"
    PLAIN = "plain"


ANY_VAE = "A known name, the name of a file in a models folder, a weights file, or a folder."

Vae = Annotated[
    str,
    typer.Option(
        "--vae",
        "--vae-path",
        metavar="VAE",
        help=ANY_VAE,
    ),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        "--vae-dir",
        metavar="DIR",
        help="Models folder, such as A1111's models/VAE or its parent; may be repeated.",
        show_default="VAEKIT_MODELS, else ~/.local/share/vaekit/models",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Dtype = Annotated[str, typer.Option("--dtype", metavar="DTYPE", help="Compute dtype: fp32, bf16 or fp16.")]
StorageDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="Dtype of the written weights: fp32, bf16 or fp16.",
        show_default="same as the input",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="DEVICE", help="Device, such as cpu or cuda:1.", show_default="CUDA if available, else cpu"
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Memory limit for encoding or decoding an item, with its input and result, without the weights, such as "
        "2GiB.",
        show_default="free memory",
    ),
]
Backend = Annotated[
    str,
    typer.Option("--backend", metavar="BACKEND", help="Convolution backend: auto, torch, or ncnn (CPU and fp32 only)."),
]
Beam = Annotated[
    int,
    typer.Option(
        "--beam",
        metavar="N",
        min=1,
        max=100,
        help="For sentences and molecules: keep the N most probable beginnings at each step; 1 is greedy search.",
    ),
]
Weights = Annotated[
    WeightsKind | None,
    typer.Option(
        "--weights",
        help="Which weights to take from a checkpoint that holds plain ones and averages over training steps (EMA).",
        show_default="as `vaekit inspect` shows",
    ),
]
EachWeights = Annotated[
    list[WeightsKind] | None,
    typer.Option(
        "--weights",
        help="Which weights to take from checkpoints that hold plain ones and averages over training steps (EMA); once "
        "for all VAEs, or repeated, once for each in their order.",
        show_default="as `vaekit inspect` shows",
    ),
]
Padding = Annotated[
    str | None,
    typer.Option(
        "--padding",
        metavar="PADDING",
        help="Convolution padding mode: zeros or reflect.",
        show_default="as stated by the file, else zeros",
    ),
]
Given = Annotated[
    list[str],
    typer.Argument(
        metavar="ITEM",
        help="Files of the kind that the VAE takes (images, CSV, text), or folders of them; or sentences and SMILES "
        "themselves.",
    ),
]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of images.")]
Sample = Annotated[bool, typer.Option("--sample", help="Use a sample of the posterior, not its mode.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Random seed.")]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=1, help="Maximum number of items (deterministic subset).", show_default="all"
    ),
]
Lpips = Annotated[
    Path | None,
    typer.Option(
        "--lpips",
        metavar="PATH",
        help="LPIPS weights: a file, or a folder of files.",
        show_default="VAEKIT_PERCEPTUAL, a models folder, or AlexNet's in the package",
    ),
]
Folder = Annotated[
    list[Path] | None,
    typer.Option("--images", metavar="DIR", help="Image file or folder of images, or of sounds; may be repeated."),
]
Correct = Annotated[
    bool,
    typer.Option("--correct", help="Apply the color correction that `vaekit compare --fit-correction` fitted."),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Output folder.")]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        metavar="N",
        min=1,
        help="Number of items to train on, with repetitions.",
        show_default="the recipe's",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value of the recipe, such as schedule.learning_rate=5e-4; may be repeated.",
    ),
]


Codes = Annotated[
    int | None,
    typer.Option(
        "--codes",
        metavar="N",
        min=1,
        help="Codecs with several codes at each position: encode to the first N, at a lower rate.",
        show_default="all",
    ),
]


class LayoutName(StrEnum):
    """Layouts that can be written."""

    NATIVE = "native"
    DIFFUSERS = "diffusers"
    LDM = "ldm"
    ORIGINAL = "original"
    TINY = "tiny"


FLAGS: dict[type, dict[str, tuple[Any, Any]]] = {
    ModelOptions: {
        "vae": (Vae, "builtin"),
        "models": (Models, None),
        "padding": (Padding, None),
        "weights": (Weights, None),
    },
    EngineOptions: {
        "dtype": (Dtype, "fp32"),
        "device": (Device, None),
        "memory": (Memory, None),
        "backend": (Backend, "auto"),
    },
    DecodingOptions: {"beam": (Beam, 1)},
    CodingOptions: {"codes": (Codes, None)},
    RunnerOptions: RUNNER_FLAGS,
    PartOptions: PART_FLAGS,
}
"""The option and the default of each field of a record; fields without an option keep the default of the record."""


def with_records(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters of a command that are records by an option for each field.

    >>> def show(source: ModelOptions, *, name: str = "") -> None:
    ...     print(source.vae, source.weights, name)
    >>> with_records(show)(vae="sd1", models=None, padding=None, weights="ema", name="a")
    sd1 ema a
    """
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    records: dict[str, type] = {}
    for parameter in signature.parameters.values():
        flags = FLAGS.get(parameter.annotation)
        if flags is None:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        records[parameter.name] = parameter.annotation
        parameters += [
            inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=flag)
            for field, (flag, default) in flags.items()
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, record in records.items():
            given[name] = record(**{field: given.pop(field) for field in FLAGS[record]})
        command(**given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the user gave an option, by the name of its parameter, rather than leaving its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def weights_of_each(weights: list[WeightsKind] | None, vaes: int) -> list[str | None]:
    """The kind of weights of each of several VAEs.

    Raises:
        typer.BadParameter: several kinds, and not one for each VAE.
    """
    kinds: list[str | None] = [str(kind) for kind in weights or ()]
    if len(kinds) <= 1:
        return (kinds or [None]) * vaes
    if len(kinds) != vaes:
        raise typer.BadParameter(
            f"it is given {len(kinds)} times for {counted(vaes, 'VAE')}; expected once, or once for each.",
            param_hint="--weights",
        )
    return kinds
