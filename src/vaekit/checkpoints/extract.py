"""Extract the VAE from a whole checkpoint, by copying bytes."""

from dataclasses import dataclass
from pathlib import Path

from vaekit.checkpoints.convert import own_layout, refuse_overwriting
from vaekit.checkpoints.save import TORCH_ENDINGS, write
from vaekit.errors import BadCheckpoint, CannotWrite, NotFound, system_errors
from vaekit.families import layout_of
from vaekit.formats.safetensors_writer import Progress
from vaekit.formats.shard_sets import weights_entries
from vaekit.identification.identify import identify
from vaekit.identification.resolve import resolve
from vaekit.identification.weights import weights_in
from vaekit.normalization import LatentNormalization
from vaekit.reading import exists


@dataclass(frozen=True)
class ExtractResult:
    """The result of `extract`."""

    checkpoint: str
    output: str
    model: str | None
    """The diffusion model of the checkpoint, if its tensors identify it."""
    prefix: str
    """The prefix of the VAE's tensor names in the checkpoint."""
    layout: str
    halves: tuple[str, ...]
    normalization: LatentNormalization | None
    normalization_source: str
    tensors: int
    nbytes: int
    """The size of the weights in bytes."""
    note: str
    """Which of several sets of weights was taken; empty if the checkpoint holds one."""
    problem: str = ""
    """A sentence about NaN and infinite weights, which were written as they are; empty without any."""


@system_errors()
def extract(
    checkpoint: str | Path,
    target: str | Path,
    layout: str | None = None,
    progress: Progress | None = None,
    weights: str | None = None,
) -> ExtractResult:
    """Write the VAE of a whole checkpoint into a file of its own, in the dtype that it has, by copying bytes.

    The checkpoint's diffusion model determines the normalization if shapes cannot; it is written to the metadata.

    Args:
        checkpoint: one safetensors file or torch checkpoint; or its shards: one of them, their index, or their folder.
        target: a `.safetensors` file; for "diffusers" also a folder, for "tiny" always.
        layout: "ldm", "diffusers", "native" or "tiny". None for "ldm", bare, which is what A1111, ComfyUI and
            diffusers open; tiny autoencoders have no such layout and keep their own.
        progress: called with the number of bytes written and the total.
        weights: "ema" or "plain", where the checkpoint holds both; see `vaekit.load`.

    Raises:
        UnknownVAE: there is no VAE inside.
        WrongTensors: it is not whole, or the layout cannot express it.
        CannotWrite: the target is the checkpoint, is not a safetensors file, or cannot be written.
        NotFound, BadCheckpoint: see `vaekit.errors`.
        ValueError: there is no such layout.
    """
    source, target = one_checkpoint(Path(checkpoint)), Path(target)
    if target.suffix in TORCH_ENDINGS:
        raise not_safetensors(target, "`vaekit convert` writes other formats.")
    refuse_overwriting(target, source)
    identified = resolve(identify(source, weights), measure=False)
    refuse_overwriting(target, *identified.files)
    default = "ldm" if layout_of("ldm", identified.family.name) else own_layout(identified)
    content = weights_in(identified)
    write(content, target, layout or default, progress)
    return ExtractResult(
        checkpoint=str(checkpoint),
        output=str(target),
        model=identified.host.name if identified.host else None,
        prefix=identified.parts[0].prefix,
        layout=layout or default,
        halves=identified.halves,
        normalization=identified.normalization,
        normalization_source=identified.normalization_source,
        tensors=len(content.tensors),
        nbytes=sum(piece.nbytes for piece in content.tensors.values()),
        note=identified.note,
        problem=content.non_finite,
    )


def one_checkpoint(path: Path) -> Path:
    """The file of a whole checkpoint; for a folder that holds only the shards of one, their index or the first of them.

    Raises:
        NotFound: the path does not exist.
        BadCheckpoint: it is another folder.
    """
    if not exists(path):
        raise NotFound(f"There is no file {path}.", "", "Check the path.")
    if not path.is_dir():
        return path
    entries = weights_entries(path, [file.name for file in path.iterdir() if file.is_file()])
    if len(entries) == 1 and len(entries[0].files) > 1 and not (path / "model_index.json").is_file():
        return entries[0].path
    inside = "a diffusers folder" if (path / "model_index.json").is_file() else "a folder"
    raise BadCheckpoint(
        f"{path} is {inside}.",
        "Expected a whole checkpoint: one file, or the shards of one.",
        "In a diffusers folder the VAE is in the subfolder `vae`, which `vaekit convert` reads.",
    )


def not_safetensors(target: Path, remedy: str) -> CannotWrite:
    return CannotWrite(
        f"{target.name} does not end in .safetensors.",
        "Checkpoints and extracted VAEs are written as safetensors files.",
        remedy,
    )
