"""Convert VAE files between layouts, formats and dtypes, tensor by tensor."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from vaekit.checkpoints.save import LAYOUT_NAMES, write
from vaekit.errors import CannotWrite, WrongTensors, printable, system_errors
from vaekit.formats.safetensors_writer import Progress
from vaekit.identification.identify import Identified, identify
from vaekit.identification.resolve import resolve
from vaekit.identification.weights import weights_in
from vaekit.library.names import locate_vae
from vaekit.reading import exists

SAME_AS = {"diffusers-old": "diffusers", "bare-encoder": "ldm", "bare-decoder": "ldm"}
"""The layout to write in place of a read-only layout."""


@system_errors()
def convert(
    source: str | Path,
    target: str | Path,
    layout: str | None = None,
    dtype: str | None = None,
    progress: Progress | None = None,
    padding: str | None = None,
    models: Sequence[Path] | None = None,
    weights: str | None = None,
) -> Identified:
    """Write a VAE in another layout, format or dtype. Writing safetensors needs memory for one tensor at a time.

    Args:
        source: the name of a known VAE, a weights file, a folder, or a whole checkpoint with a VAE inside.
        target: see `vaekit.save`.
        layout: "native", "diffusers", "ldm" or "tiny"; None for the layout of the source.
        dtype: "fp32", "bf16", "fp16" or "fp64" for the weights; None to keep the current one.
        progress: called with the number of bytes written and the total.
        padding: "zeros" or "reflect", overriding the source's; see `vaekit.load`.
        models: where names are looked up; see `vaekit.load`.
        weights: "ema" or "plain", where the source holds both; see `vaekit.load`.

    Returns:
        The identification of the source.

    Raises:
        BadPlan: there is no such padding, or the family does not support it.
        WrongTensors: the layout cannot express this VAE, or values would overflow in this dtype.
        CannotWrite: the target is the source, or cannot be written.
        NotFound, BadCheckpoint, UnknownVAE: see `vaekit.errors`.
        ValueError: there is no such layout.
    """
    torch_dtype = None if dtype is None else storage_dtype(dtype)
    with locate_vae(source, models) as path:
        refuse_overwriting(Path(target), path)
        identified = resolve(identify(path, weights), padding=padding, measure=False)
        refuse_overwriting(Path(target), *identified.files)
        write(weights_in(identified, torch_dtype), Path(target), layout or own_layout(identified), progress)
        return identified


def own_layout(identified: Identified) -> str:
    """The default layout for a converted VAE: that of the source, where it can be written."""
    name = identified.parts[0].layout.name
    name = "tiny" if name.startswith("tiny-") else SAME_AS.get(name, name)
    return name if name in LAYOUT_NAMES else "native"


def storage_dtype(name: str) -> torch.dtype:
    """Parse a dtype for weights: fp16, bf16, fp32, fp64, or torch's names for them.

    Raises:
        WrongTensors: it is not a supported dtype for the weights of a VAE.
    """
    wide = re.fullmatch(r"(fp|float|bf|bfloat)(16|32|64)", name)
    result = vars(torch).get(("b" if name[0] == "b" else "") + "float" + wide[2]) if wide else None
    if isinstance(result, torch.dtype):
        return result
    if re.match(r"(fp|float|int)[48]|[fq][48]", name):
        raise WrongTensors(
            f"Weights in {printable(name)} reduce quality: rounded to 8 bits, the weights of the built-in VAE and of "
            "TAESD3 lose about 1 dB of PSNR, and convolutions do not compute in 8-bit types anyway.",
            "Expected fp32, bf16 or fp16.",
            "Use bf16 or fp16 for a small file.",
        )
    raise WrongTensors(
        f"There is no dtype {printable(name)!r} for weights.", "Expected one of fp32, bf16, fp16, fp64.", ""
    )


def refuse_overwriting(target: Path, *sources: Path) -> None:
    """Reject a target that is one of its sources, also through a link.

    Raises:
        CannotWrite: the target is a source.
    """
    for source in sources:
        if exists(target) and exists(source) and target.samefile(source):
            raise CannotWrite(
                f"The result {target} would overwrite an input.", "", "Choose another name for the result."
            )
