"""`vaekit convert`: a VAE into another layout."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import print_facts, print_json


class LayoutName(StrEnum):
    """Layouts that can be written."""

    NATIVE = "native"
    DIFFUSERS = "diffusers"
    LDM = "ldm"
    TINY = "tiny"


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A weights file, a folder, or the name of a known VAE.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .safetensors file; a folder for diffusers and tiny.")
    ],
    layout: Annotated[LayoutName, typer.Option("--layout", help="The naming scheme to write.")],
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="DTYPE", help="fp32, bf16 or fp16.", show_default="as it is")
    ] = None,
    models: options.Models = None,
    as_json: options.Json = False,
) -> None:
    """Write a VAE in another layout, tensor for tensor.

    `diffusers` is a folder with config.json, or one file if OUT ends in .safetensors; `ldm` and `native` are one file;
    `tiny` is a folder with the encoder and the decoder of a tiny autoencoder.
    """
    from vaekit.checkpoints.fingerprint import fingerprint
    from vaekit.checkpoints.loading import load
    from vaekit.checkpoints.saving import save
    from vaekit.runtime.plan import Plan

    vae = load(source, models=models)
    if dtype is not None:
        vae = vae.to(Plan(dtype=dtype).torch_dtype)
    save(vae, target, layout.value)
    facts = {"input": source, "output": str(target), "layout": layout.value, "fingerprint": fingerprint(vae)}
    if as_json:
        print_json(facts)
    else:
        print_facts("converted", facts)
