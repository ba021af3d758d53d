"""Options that several verbs share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Vae = Annotated[
    str,
    typer.Option(
        "--vae",
        "--vae-path",
        metavar="VAE",
        help="The name of a known VAE or of a file in a models folder, a weights file, or a folder.",
    ),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        "--vae-dir",
        metavar="DIR",
        help="A models folder, such as A1111's models/VAE or the folder above; may be repeated.",
        show_default="those in VAEKIT_MODELS, else ~/.local/share/vaekit/models",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Dtype = Annotated[str, typer.Option("--dtype", metavar="DTYPE", help="What the VAE computes in: fp32, bf16 or fp16.")]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="Where it runs, such as cpu or cuda:1.", show_default="chosen"),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="What encoding or decoding may take beside the VAE itself, such as 2GiB. Results stay the same.",
        show_default="what is free",
    ),
]
Backend = Annotated[
    str,
    typer.Option("--backend", metavar="BACKEND", help="What runs convolutions: auto, torch, or ncnn on a CPU in fp32."),
]
Padding = Annotated[
    str | None,
    typer.Option(
        "--padding",
        metavar="PADDING",
        help="What the VAE's convolutions see beyond the edge: zeros, or reflect for the fine-tunes that need it.",
        show_default="what the file says, else zeros",
    ),
]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Where everything random starts.")]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=1, help="Take at most so many, the same for everybody.", show_default="all"
    ),
]
Lpips = Annotated[
    Path | None,
    typer.Option(
        "--lpips",
        metavar="PATH",
        help="A file or folder with the weights of LPIPS.",
        show_default="VAEKIT_PERCEPTUAL, a models folder, or an installed package",
    ),
]
Folder = Annotated[
    list[Path] | None,
    typer.Option("--images", metavar="DIR", help="A folder of images, or an image; may be repeated."),
]
Correct = Annotated[
    bool,
    typer.Option(
        "--correct",
        help="Correct colors, as `vaekit compare --fit-correction` found for this VAE. Results say so.",
    ),
]
