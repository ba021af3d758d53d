"""Save VAEs in any layout, atomically and reproducibly: the same VAE gives the same bytes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from vaekit.atomic import atomic_file, atomic_folder, cannot_write
from vaekit.errors import CannotWrite, HalfMissing, WrongTensors
from vaekit.families import FAMILIES, HALVES, Config, Family, Layout, family_with, layout_of
from vaekit.formats.nested_weights import METADATA
from vaekit.formats.paths import DIFFUSERS_SETTINGS, DIFFUSERS_WEIGHTS
from vaekit.formats.safetensors_writer import Piece, Progress, check_free_space, header, in_order, write_safetensors
from vaekit.identification.metadata import describe
from vaekit.identification.weights import StoredWeights, piece_in_memory, weights_of
from vaekit.vae import VAE

LAYOUT_NAMES = ("native", "diffusers", "ldm", "original", "tiny")
SAFETENSORS_ENDINGS = (".safetensors", ".sft")
TORCH_ENDINGS = (".pt", ".pth", ".ckpt", ".bin")


def save(vae: VAE, path: str | Path, layout: str = "native", notes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write a VAE in its dtype.

    Args:
        vae: a VAE of a family that vaekit knows.
        path: a file for "native", "ldm" and "original"; for "diffusers" a folder, or a file with diffusers' keys;
            for "tiny" a folder that gets an encoder and a decoder file. The extension gives the format: `.safetensors`
            or `.sft`, or `.pt`, `.pth`, `.ckpt` or `.bin` for a file that `torch.load` reads.
        layout: "native", "diffusers"; "ldm" for families first released with LDM code, "original" for those with their
            authors' own code; for tiny autoencoders "tiny".
        notes: additional metadata entries.

    Raises:
        WrongTensors: the layout cannot express this VAE.
        CannotWrite: the disk is full, the folder is not writable, or a non-empty folder exists at this path.
        ValueError: there is no such layout.
    """
    family, config = family_and_config(vae)
    weights = weights_of(vae, family, config)
    write(replace(weights, notes={**weights.notes, **notes}), Path(path), layout)


def write(weights: StoredWeights, path: Path, layout: str, progress: Progress | None = None) -> None:
    """Write the weights of a VAE, tensor by tensor; see `save`."""
    if layout not in LAYOUT_NAMES:
        raise ValueError(f"unknown layout {layout!r}; expected one of {', '.join(LAYOUT_NAMES)}")
    if layout == "tiny":
        _write_tiny_halves(weights, path)
    elif layout == "diffusers" and path.suffix not in (*SAFETENSORS_ENDINGS, *TORCH_ENDINGS):
        _write_diffusers_folder(weights, path, progress)
    else:
        _write_one_file(weights, path, required_layout(layout, weights.family, weights.config), progress)


def family_and_config(vae: VAE) -> tuple[Family, Config]:
    """The family of a VAE's nets and the config that they were built from.

    Raises:
        WrongTensors: the nets are of no family that has a file format.
    """
    family = family_with(vae.config)
    if family is not None:
        return family, vae.config
    raise WrongTensors(
        f"This VAE consists of {type(vae.encoder or vae.decoder).__name__}, which has no file format.",
        f"Expected nets of one of the families {', '.join(family.name for family in FAMILIES)}.",
        "Save its state_dict() with safetensors instead.",
    )


def required_layout(name: str, family: Family, config: Config) -> Layout:
    """The layout of this name for a family and a network of this config.

    Raises:
        WrongTensors: there is no such layout for this network.
    """
    layout = layout_of(name, family.name, config)
    if layout is None:
        possible = [other for other in LAYOUT_NAMES if writes(other, family, config)]
        such = "such " if layout_of(name, family.name) else ""
        raise WrongTensors(
            f"There is no {name} layout for {such}a {family.name!r} autoencoder.",
            "",
            "Use " + " or ".join(f'"{known}"' for known in possible) + ".",
        )
    return layout


def writes(name: str, family: Family, config: Config | None = None) -> bool:
    """Whether a family has a layout of this name, or one for each half; with a config, one that fits it."""
    names = (name, *(f"{name}-{half}" for half in HALVES))
    return any(layout_of(each, family.name, config) for each in names)


def _write_one_file(weights: StoredWeights, path: Path, layout: Layout, progress: Progress | None) -> None:
    if path.suffix not in (*SAFETENSORS_ENDINGS, *TORCH_ENDINGS):
        raise CannotWrite(
            f"The {layout.name} layout is one file, and {path.name} has none of the extensions "
            f"{', '.join((*SAFETENSORS_ENDINGS, *TORCH_ENDINGS))}.",
            "",
            f"Use a name such as {path.with_suffix('.safetensors').name}.",
        )
    pieces = weights.pieces(layout)
    metadata = metadata_of(weights)
    with atomic_file(path) as temporary:
        if path.suffix in TORCH_ENDINGS:
            write_torch_file(pieces, temporary, metadata, path)
        else:
            write_pieces(pieces, temporary, metadata, path, progress)


def metadata_of(weights: StoredWeights) -> dict[str, str]:
    """The metadata of a file written by vaekit."""
    return describe(weights.family.name, weights.config, weights.normalization, weights.padding_known) | dict(
        weights.notes
    )


def write_pieces(
    pieces: Sequence[Piece],
    temporary: Path,
    metadata: Mapping[str, str],
    target: Path,
    progress: Progress | None = None,
) -> None:
    """Write one safetensors file inside the block of an `atomic_file` or `atomic_folder`."""
    ordered = in_order(pieces)
    write_safetensors(temporary, header(ordered, dict(sorted(metadata.items()))), ordered, target, progress)


def write_tensors(tensors: dict[str, Tensor], temporary: Path, metadata: dict[str, str], target: Path) -> None:
    """Write one safetensors file of tensors in memory; see `write_pieces`."""
    write_pieces([piece_in_memory(name, tensor) for name, tensor in tensors.items()], temporary, metadata, target)


def write_torch_file(pieces: Sequence[Piece], temporary: Path, metadata: Mapping[str, str], target: Path) -> None:
    """Write a file for `torch.load`, with or without `weights_only`, with the weights under "state_dict".

    Every reader of VAEs looks there, and some nowhere else (kohya's). A `.bin` holds the weights at the top level, as
    in diffusers and transformers. The metadata is stored beside the weights, as text, except in a `.bin`.
    All tensors are in memory at once.

    Raises:
        CannotWrite: the file cannot be written, e.g. because the disk is full.
    """
    check_free_space(temporary.parent, sum(piece.nbytes for piece in pieces), target)
    tensors = {piece.name: alone(piece.tensor()) for piece in in_order(pieces)}
    content = tensors if target.suffix == ".bin" else {"state_dict": tensors, METADATA: dict(sorted(metadata.items()))}
    try:
        with open(temporary, "wb") as file:  # given a path, torch stores its name in the file
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise cannot_write(target, error) from error


def alone(tensor: Tensor) -> Tensor:
    """A copy of a view without the rest of its storage, all of which torch would write."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _write_diffusers_folder(weights: StoredWeights, path: Path, progress: Progress | None) -> None:
    require_both_halves(weights.halves, "diffusers")
    settings = weights.family.diffusers(weights.config, weights.normalization)
    pieces = weights.pieces(required_layout("diffusers", weights.family, weights.config))
    with atomic_folder(path, (DIFFUSERS_WEIGHTS, DIFFUSERS_SETTINGS)) as temporary:
        write_pieces(pieces, temporary / DIFFUSERS_WEIGHTS, {"format": "pt", **weights.notes}, path, progress)
        (temporary / DIFFUSERS_SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")


def require_both_halves(halves: Sequence[str], layout: str) -> None:
    """Reject half a VAE for a layout that needs both."""
    if len(halves) < 2:
        raise HalfMissing(
            f"This VAE has only its {halves[0]}.",
            f"The {layout} layout needs both halves.",
            'Save it in the "native" layout, or load both halves.',
        )


def _write_tiny_halves(weights: StoredWeights, path: Path) -> None:
    """Write two files named after the folder: ComfyUI finds its tiny autoencoders by such names (`taesd_encoder`)."""
    metadata = metadata_of(weights)
    layouts = {half: required_layout(f"tiny-{half}", weights.family, weights.config) for half in weights.halves}
    names = {half: f"{path.name}_{half}.safetensors" for half in layouts}
    with atomic_folder(path, names.values()) as temporary:
        for half, layout in layouts.items():
            inside = {key: piece for key, piece in weights.tensors.items() if key.startswith(half + ".")}
            pieces = replace(weights, tensors=inside).pieces(layout)
            write_pieces(pieces, temporary / names[half], metadata, path)
