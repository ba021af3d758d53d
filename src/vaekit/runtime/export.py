"""Export the halves of a VAE as programs that run without vaekit: ONNX, or torch.export.

    encoder    pixels (batch, c, f * rows, f * columns) in [-1, 1]  ->  moments (batch, m, rows, columns)
    decoder    latents (batch, z, rows, columns), raw               ->  pixels (batch, c, f * rows, f * columns)

Batch, rows and columns are free; a VAE of one image size has only the batch free. Everything is in fp32. A file says
in its metadata what its numbers mean (`facts`), and gets its name once it was run and gave what the network gives.

What a program takes no part in stays with its user: padding images to the multiple, sampling from the moments, and
the way from a diffusion model's latents to raw ones.
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
WATCHED = (2, 3, 5)
"""Items, rows and columns of the latent that a network is watched with: no two equal and none 1, for torch takes such
numbers for constants."""
CHECKED = ((1, 4, 3), (2, 2, 6))
"""Items, rows and columns that a file is run with before it gets its name."""


@dataclass(frozen=True)
class Half:
    """What is exported, and what it takes."""

    name: str
    given: str
    """What its input is called."""
    returned: str
    network: nn.Module
    channels: int
    """Of the input."""
    step: int
    """Rows and columns of the input for each of the latent: the factor for an encoder, 1 for a decoder."""
    least: int
    """Rows and columns of the latent that it takes at least."""
    one_size: bool
    """Whether it takes latents of one position only."""

    def example(self, batch: int, rows: int, columns: int) -> Tensor:
        """An input for a latent of this size: uniform pixels, normal latents, always the same."""
        size = (1, 1) if self.one_size else (max(self.least, rows), max(self.least, columns))
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
        return self.encoder(pixels)  # type: ignore[misc]  # it is there: `half_of` has looked


class LatentsToPixels(nn.Module):
    """A decoder and what reads its output as pixels, which for most VAEs leaves it as it is."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.decoder = vae.decoder
        self.to_likelihood = vae.to_likelihood

    def forward(self, latents: Tensor) -> Tensor:
        return self.to_likelihood(self.decoder(latents)).mode  # type: ignore[misc]


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    ending: str
    write: Callable[[ExportedProgram, dict[str, str], Path], None]
    """Program, metadata, where to."""
    open: Callable[[Path], Callable[[Tensor], Tensor]]
    """A file as a function."""
    tolerance: float
    """How far it may be from the network, in parts of the largest number that the network gives (at least of 1)."""


@torch.no_grad()
def export(vae: VAE, kind: str, folder: str | Path, half: str | None = None, verify: bool = True) -> dict[str, Path]:
    """Write `encoder` and `decoder` as programs of their own: `.onnx` or `.pt2` files.

    An encoder's program gives its moments as they are: for a Gaussian mean and log-variance one after the other, the
    log-variance not clamped; for a plain autoencoder the latents; for a vector-quantized one what the encoder said
    *before* it is quantized, since the codebook is no part of the program. A decoder's gives the pixels, not clamped.

    A torch.export encoder takes images of at least two latent positions on each side.

    Args:
        vae: on the CPU, in fp32 and in evaluation mode.
        kind: "onnx" or "torch.export".
        folder: where the files go; it is made where it is not there, and files of the same names are replaced. ONNX
            weights of more than 2 GB lie beside their file, in `<half>.onnx.data`.
        half: "encoder" or "decoder"; None for all halves of the VAE.
        verify: whether to run each file at two sizes, and to leave none that differs from the network: by 1e-4 for
            ONNX in onnxruntime, by 1e-5 for torch.export, in parts of the largest number (at least of 1).

    Returns:
        The file of each half.

    Raises:
        HalfMissing: the VAE has no such half.
        BadItem: the VAE takes no images.
        CannotExport: the network cannot be written as such a program, or the program gave something else.
        MissingPackage: ONNX needs the extra `onnx`.
        CannotWrite: the folder or the disk refuses.
        ValueError: there is no such kind or half.
    """
    if kind not in FORMATS:
        raise ValueError(f"unknown kind {kind!r}; expected one of {', '.join(FORMATS)}")
    if half not in (None, *HALVES):
        raise ValueError(f"unknown half {half!r}; expected one of {', '.join(HALVES)}")
    if kind == "onnx":
        require_onnx(verify)
    form, folder = FORMATS[kind], Path(folder)
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
                raise  # the disk's: `atomic_group` words it
            except Exception as error:  # what an exporter cannot translate it tells in errors of many kinds
                raise cannot_export(each, "cannot be exported", error) from error
            if verify:
                check(each, path, form)
    return {each.name: folder / (each.name + form.ending) for each in halves}


def half_of(vae: VAE, name: str) -> Half:
    """One half of a VAE, and what it takes.

    Raises:
        HalfMissing: it is not there.
        BadItem: it is no half of an image VAE.
    """
    if getattr(vae, name) is None:
        raise half_missing(name, next(other for other in HALVES if other != name))
    geometry = vae.geometry
    geometry.require_axes(2, "images")
    least, one_size = geometry.least_positions, geometry.size is not None
    if name == "encoder":
        factor = geometry.factors[0]
        return Half(name, "pixels", "moments", PixelsToMoments(vae), geometry.channels, factor, least, one_size)
    return Half(name, "latents", "pixels", LatentsToPixels(vae), geometry.latent_channels, 1, least, one_size)


def program_of(half: Half) -> ExportedProgram:
    """The network as a list of operations, with free sizes.

    Raises:
        CannotExport: torch cannot tell them, or only for one size.
    """
    free = {0: Dim("batch", min=1)}
    if not half.one_size:
        # torch's graph is right for an encoder whose map shrinks to one position, but the conditions that come with it
        # exclude that; saying so in the range makes the refusal a clear one.
        least = max(half.least, 2 if half.name == "encoder" else 1)
        free |= {2: half.step * Dim("rows", min=least), 3: half.step * Dim("columns", min=least)}
    try:
        program = torch.export.export(half.network, (half.example(*WATCHED),), dynamic_shapes=(free,), strict=False)
    except Exception as error:  # torch documents no set of errors
        raise cannot_export(half, "cannot be exported", error) from error
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def facts(vae: VAE, half: Half, program: ExportedProgram) -> dict[str, str]:
    """What the numbers of a program mean: the metadata of its file.

    `vaekit.config` and `vaekit.normalization` are JSON in the form that vaekit writes into safetensors files. The
    normalization is "null" where it is not known; else a diffusion model's latents become raw as `LatentNormalization`
    says.
    """
    geometry = vae.geometry
    config: HasGeometry = vae.config
    told = {
        "vaekit.written_by": f"vaekit {__version__}",
        "vaekit.half": half.name,
        "vaekit.input": half.given,
        "vaekit.output": half.returned,
        "vaekit.network": type(config).__module__,
        "vaekit.config": json.dumps(dataclasses.asdict(config)) if dataclasses.is_dataclass(config) else "{}",
        "vaekit.factor": str(geometry.factors[0]),
        "vaekit.latent_channels": str(geometry.latent_channels),
        "vaekit.latents": "raw",
        "vaekit.normalization": json.dumps(None if vae.normalization is None else vae.normalization.as_json()),
    }
    if vae.origin is not None:
        told["vaekit.family"] = vae.origin.name
    if half.name == "encoder":
        moments = next(iter(program.graph.output_node().all_input_nodes)).meta["val"].shape[1]
        told["vaekit.posterior"] = type(vae.to_posterior(torch.zeros(1, int(moments), 1, 1))).__name__
    return told


def write_program(program: ExportedProgram, told: dict[str, str], path: Path) -> None:
    """A torch.export file. `torch.export.load(path, extra_files={"vaekit.json": ""})` gives the metadata back."""
    torch.export.save(program, path, extra_files={FACTS_FILE: json.dumps(told)})


def open_program(path: Path) -> Callable[[Tensor], Tensor]:
    """A torch.export file as a function."""
    return torch.export.load(path).module()


def check(half: Half, path: Path, form: Format) -> None:
    """Run a file and compare it with the network that it was made from.

    Raises:
        CannotExport: it does something else, or does not run.
    """
    try:
        run = form.open(path)
        runs = [(x, run(x)) for x in (half.example(*size) for size in CHECKED)]
    except Exception as error:  # neither runtime documents a set of errors
        raise cannot_export(half, "was exported, but the file does not run", error) from error
    for x, given in runs:
        expected = half.network(x)
        if not expected.isfinite().all():
            raise CannotExport(
                f"The {half.name} returns non-finite values, so the export cannot be verified.",
                "No file was written.",
                "Check the weights, or pass verify=False.",
            )
        difference = float((given - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not difference <= form.tolerance:
            raise CannotExport(
                f"The exported {half.name} differs from the network by {difference:.1e} of the largest value, for an "
                f"input of shape {list(x.shape)}.",
                f"Expected at most {form.tolerance:.0e}; no file was written.",
                "Try the other export format, or other versions of torch and onnxruntime.",
            )


def cannot_export(half: Half, what: str, error: Exception) -> CannotExport:
    """The error a user sees when torch or a runtime refused."""
    reason = printable(str(error), 300).rstrip(".")
    return CannotExport(f"The {half.name} {what}: {reason}.", "No file was written.", "Try the other export format.")


FORMATS = {
    "onnx": Format(".onnx", write_onnx, open_onnx, 1e-4),
    "torch.export": Format(".pt2", write_program, open_program, 1e-5),
}
