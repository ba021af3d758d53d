"""Convert a VAE into another layout, format or dtype."""

from dataclasses import dataclass
from pathlib import Path

from vaekit.checkpoints.convert import convert as write_converted
from vaekit.identification.identify import identify
from vaekit.identification.resolve import identity_in
from vaekit.identification.weights import weights_in
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.options import ModelOptions


@dataclass(frozen=True)
class Conversion:
    """A VAE that was written."""

    input: str
    output: str
    layout: str
    fingerprint: str
    """The dtypes of the written weights."""
    note: str = ""
    """Which of several sets of weights was taken; empty if the input holds one."""
    problem: str = ""
    """A sentence about NaN and infinite weights, which were written as they are; empty without any."""


def convert(
    source: ModelOptions,
    target: Path,
    layout: str | None = None,
    dtype: str | None = None,
    progress: Progress = no_progress,
) -> Conversion:
    """Write a VAE, tensor for tensor, and read back what was written; see `vaekit.checkpoints.convert`.

    Args:
        source: the VAE, and the padding mode to write.
        target: a file, or a folder for diffusers and tiny autoencoders.
        layout: the naming scheme; None keeps the source's.
        dtype: "fp32", "bf16" or "fp16"; None keeps the source's.
        progress: called with the number of written bytes and of all.
    """
    read = write_converted(source.vae, target, layout, dtype, progress, source.padding, source.models, source.weights)
    written = identify(target)
    fingerprint, problem = identity_in(written).fingerprint, weights_in(written).non_finite
    return Conversion(source.vae, str(target), layout or written.layout, fingerprint, read.note, problem)
