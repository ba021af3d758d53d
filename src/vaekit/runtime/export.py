"""Export the halves of a VAE as programs that run without vaekit: ONNX, or torch.export.

    encoder    pixels (batch, c, f * rows, f * columns) in [-1, 1]  ->  moments (batch, m, rows, columns)
    decoder    latents (batch, z, rows, columns), raw               ->  pixels (batch, c, f * rows, f * columns)

Batch, rows and columns are dynamic; for a VAE with a fixed image size only the batch is. Everything is in fp32. The
metadata of a file describes its inputs and outputs (`facts`). A file gets its final name after its outputs were
compared with those of the network.

The programs do not pad images to the multiple, sample from the moments, or denormalize the latents of a diffusion
model.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vaekit.atomic import atomic_group
from vaekit.errors import CannotExport, printable
from vaekit.geometry import HasGeometry
from vaekit.runtime.onnx_graph import open_onnx, require_onnx, write_onnx
from vaekit.vae import VAE, half_missing
from vaekit.version import __version__

HALVES = ("encoder", "decoder")
FACTS_FILE = "vaekit.json"
"""The name of the metadata inside a .pt2 file."""
EXAMPLE_SIZE = (2, 3, 5)
"""Items, rows and columns of the latent of the example input: all different and none 1, as torch specializes such
sizes."""
CHECKED_SIZES = ((1, 4, 3), (2, 2, 6))
"""Items, rows and columns of the latents with which a file is verified."""


@dataclass(frozen=True)
class Half:
    """An encoder or decoder to export."""

    name: str
    input_name: str
    output_name: str
    network: nn.Module
    channels: int
    """Channels of the input."""
    step: int
    """Input positions per latent position: the factor for an encoder, 1 for a decoder."""
    least: int
    """The minimum number of rows and columns of the latent, or its only one."""
    one_size: bool
    """Whether the latent has one size, which is square."""

    def example(self, batch: int, rows: int, columns: int) -> Tensor:
        """An input for a latent of this size: reproducible, uniform pixels or normal latents."""
        size = (self.least, self.least) if self.one_size else (max(self.least, rows), max(self.least, columns))
        shape = (batch, self.channels, *(self.step * side for side in size))
        generator = torch.Generator().manual_seed(0)
        if self.name == "encoder":
            return 2 * torch.rand(shape, generator=generator) - 1
        return torch.randn(shape, generator=generator)


class PixelsToMoments(nn.Module):
    """An encoder."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.encoder = vae.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder(pixels)  # type: ignore[misc]  # `half_of` has checked that it exists


class LatentsToPixels(nn.Module):
    """A decoder with its likelihood head, which is the identity for most VAEs."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.decoder = vae.decoder
        self.to_likelihood = vae.to_likelihood

    def forward(self, latents: Tensor) -> Tensor:
        return self.to_likelihood(self.decoder(latents)).mode  # type: ignore[misc]


@dataclass(frozen=True)
class Format:
    """An export format."""

    ending: str
    write: Callable[[ExportedProgram, dict[str, str], Path], None]
    """Write a program with its metadata to a path."""
    open: Callable[[Path], Callable[[Tensor], Tensor]]
    """Open a file as a function."""
    tolerance: float
    """The maximum difference from the network, relative to the largest output value (at least 1)."""


@torch.no_grad()
def export(
    vae: VAE, file_format: str, folder: str | Path, half: str | None = None, verify: bool = True
) -> dict[str, Path]:
    """Export `encoder` and `decoder` as separate programs: `.onnx` or `.pt2` files.

    The encoder returns its moments: for a Gaussian posterior the mean and the log-variance, concatenated, not clamped;
    for a plain autoencoder the latents; for a vector-quantized one the latents *before* quantization, since the program
    does not include the codebook. The decoder returns pixels, not clamped.

    A torch.export encoder needs images of at least two latent positions on each side.

    Args:
        vae: on the CPU, in fp32 and in evaluation mode.
        file_format: "onnx" or "torch.export".
        folder: of the files; it is created if necessary, and files of the same names are replaced. ONNX weights of more
            than 2 GB are stored in a separate file, `<half>.onnx.data`.
        half: "encoder" or "decoder"; None for all halves of the VAE.
        verify: whether to run each file at two sizes and reject it if it differs from the network by more than 1e-4
            (ONNX, in onnxruntime) or 1e-5 (torch.export), relative to the largest output value (at least 1).

    Returns:
        The file of each half.

    Raises:
        HalfMissing: the VAE has no such half.
        BadItem: the VAE is not an image VAE.
        CannotExport: the network cannot be exported in this format, or the outputs of the file differ.
        MissingPackage: ONNX needs the extra `onnx`.
        CannotWrite: the folder is not writable, or the disk is full.
        ValueError: there is no such format or half.
    """
    if file_format not in FORMATS:
        raise ValueError(f"unknown format {file_format!r}; expected one of {', '.join(FORMATS)}")
    if half not in (None, *HALVES):
        raise ValueError(f"unknown half {half!r}; expected one of {', '.join(HALVES)}")
    if file_format == "onnx":
        require_onnx(verify)
    form, folder = FORMATS[file_format], Path(folder)
    halves = [
        half_of(vae, name) for name in HALVES if (getattr(vae, name) is not None if half is None else name == half)
    ]
    with atomic_group(folder) as temporary:
        for each in halves:
            path = temporary / (each.name + form.ending)
            program = program_of(each)
            try:
                form.write(program, facts(vae, each, program), path)
            except OSError:
                raise  # from the disk: `atomic_group` converts it
            except Exception as error:  # exporters raise many types of errors
                raise cannot_export(each, "cannot be exported", error) from error
            if verify:
                check(each, path, form)
    return {each.name: folder / (each.name + form.ending) for each in halves}


def half_of(vae: VAE, name: str) -> Half:
    """One half of a VAE.

    Raises:
        HalfMissing: the VAE does not have this half.
        BadItem: the VAE is not an image VAE.
    """
    if getattr(vae, name) is None:
        raise half_missing(name, next(other for other in HALVES if other != name))
    geometry = vae.geometry
    geometry.require_axes(2, "images")
    one_size = geometry.latent_shape is not None
    least = geometry.latent_shape[1] if geometry.latent_shape else geometry.least_positions
    if name == "encoder":
        factor = geometry.factors[0]
        return Half(name, "pixels", "moments", PixelsToMoments(vae), geometry.channels, factor, least, one_size)
    return Half(name, "latents", "pixels", LatentsToPixels(vae), geometry.latent_channels, 1, least, one_size)


def program_of(half: Half) -> ExportedProgram:
    """The network as a program with dynamic sizes.

    Raises:
        CannotExport: torch cannot export it, or only for a fixed size.
    """
    free = {0: Dim("batch", min=1)}
    if not half.one_size:
        # torch's program would be correct for an encoder whose map shrinks to one position, but its guards exclude that
        # size; with the same minimum in the range, the error is a clear one.
        least = max(half.least, 2 if half.name == "encoder" else 1)
        free |= {2: half.step * Dim("rows", min=least), 3: half.step * Dim("columns", min=least)}
    try:
        program = torch.export.export(
            half.network, (half.example(*EXAMPLE_SIZE),), dynamic_shapes=(free,), strict=False
        )
    except Exception as error:  # torch does not document its errors
        raise cannot_export(half, "cannot be exported", error) from error
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # local paths
    return program


def facts(vae: VAE, half: Half, program: ExportedProgram) -> dict[str, str]:
    """The metadata of a file, which describes the inputs and outputs of the program.

    `vaekit.config` and `vaekit.normalization` are JSON as in safetensors files written by vaekit. The normalization is
    "null" if unknown; otherwise, `LatentNormalization` documents how latents of a diffusion model are denormalized.
    """
    geometry = vae.geometry
    config: HasGeometry = vae.config
    metadata = {
        "vaekit.written_by": f"vaekit {__version__}",
        "vaekit.half": half.name,
        "vaekit.input": half.input_name,
        "vaekit.output": half.output_name,
        "vaekit.network": type(config).__module__,
        "vaekit.config": json.dumps(dataclasses.asdict(config)) if dataclasses.is_dataclass(config) else "{}",
        "vaekit.factor": str(geometry.factors[0]),
        "vaekit.latent_channels": str(geometry.latent_channels),
        "vaekit.latents": "raw",
        "vaekit.normalization": json.dumps(None if vae.normalization is None else vae.normalization.as_json()),
    }
    if geometry.upscale > 1:
        metadata["vaekit.upscale"] = str(geometry.upscale)
    if vae.origin is not None:
        metadata["vaekit.family"] = vae.origin.name
    if half.name == "encoder":
        moments = next(iter(program.graph.output_node().all_input_nodes)).meta["val"].shape[1]
        metadata["vaekit.posterior"] = type(vae.to_posterior(torch.zeros(1, int(moments), 1, 1))).__name__
    return metadata


def write_program(program: ExportedProgram, metadata: dict[str, str], path: Path) -> None:
    """Write a torch.export file; `torch.export.load(path, extra_files={"vaekit.json": ""})` returns its metadata."""
    torch.export.save(program, path, extra_files={FACTS_FILE: json.dumps(metadata)})


def open_program(path: Path) -> Callable[[Tensor], Tensor]:
    """Open a torch.export file as a function."""
    return torch.export.load(path).module()


def check(half: Half, path: Path, form: Format) -> None:
    """Run a file and compare its outputs with those of the network.

    Raises:
        CannotExport: the outputs differ, or the file does not run.
    """
    try:
        run = form.open(path)
        runs = [(x, run(x)) for x in (half.example(*size) for size in CHECKED_SIZES)]
    except Exception as error:  # neither runtime documents its errors
        raise cannot_export(half, "was exported, but the file does not run", error) from error
    for x, output in runs:
        expected = half.network(x)
        if not expected.isfinite().all():
            raise CannotExport(
                f"The {half.name} returns non-finite values, so the export cannot be verified.",
                "No file was written.",
                "Check the weights, or pass verify=False.",
            )
        difference = float((output - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not difference <= form.tolerance:
            raise CannotExport(
                f"The exported {half.name} differs from the network by {difference:.1e} of the largest value, for an "
                f"input of shape {list(x.shape)}.",
                f"Expected at most {form.tolerance:.0e}; no file was written.",
                "Try the other export format, or other versions of torch and onnxruntime.",
            )


def cannot_export(half: Half, what: str, error: Exception) -> CannotExport:
    """The error for a failure of torch or a runtime."""
    reason = printable(str(error), 300).rstrip(".")
    return CannotExport(f"The {half.name} {what}: {reason}.", "No file was written.", "Try the other export format.")


FORMATS = {
    "onnx": Format(".onnx", write_onnx, open_onnx, 1e-4),
    "torch.export": Format(".pt2", write_program, open_program, 1e-5),
}
