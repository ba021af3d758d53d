"""A VAE -> a file or folder in any layout, whole or not at all."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vaekit.checkpoints.families import FAMILIES, HALVES, Config, Family, Layout, family_with, layout_of
from vaekit.checkpoints.metadata import describe
from vaekit.errors import CannotWrite, HalfMissing, WrongTensors
from vaekit.vae import VAE
from vaekit.whole_files import cannot_write, whole_file, whole_folder

LAYOUT_NAMES = ("native", "diffusers", "ldm", "original", "tiny")
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"


def save(vae: VAE, path: str | Path, layout: str = "native") -> None:
    """Write a VAE in the dtype that it has.

    Args:
        vae: a VAE of a family that vaekit knows.
        path: for "native", "ldm" and "original" a `.safetensors` file; for "diffusers" a folder, or a `.safetensors`
            file to get one file with diffusers' keys; for "tiny" a folder that gets an encoder and a decoder file.
        layout: "native", "diffusers"; "ldm" where the family's first code was LDM, "original" where it was its
            authors' own; for tiny autoencoders "tiny".

    Raises:
        WrongTensors: the layout cannot express this VAE.
        CannotWrite: the disk is full, the folder is not writable, or a folder with something in it is in the way.
        ValueError: there is no such layout.
    """
    if layout not in LAYOUT_NAMES:
        raise ValueError(f"layout {layout!r} is none of {', '.join(LAYOUT_NAMES)}")
    path = Path(path)
    family, config = family_and_config(vae)
    if layout == "tiny":
        _save_tiny_halves(vae, path, family, config)
    elif layout == "diffusers" and path.suffix != ".safetensors":
        _save_diffusers_folder(vae, path, family, config)
    else:
        _save_one_file(vae, path, _required_layout(layout, family), family, config)


def family_and_config(vae: VAE) -> tuple[Family, Config]:
    """The family of a VAE's nets and the config that they were built from.

    Raises:
        WrongTensors: the nets are of no family that has a file format.
    """
    family = family_with(vae.config)
    if family is not None:
        return family, vae.config
    raise WrongTensors(
        f"This VAE is made of {type(vae.encoder or vae.decoder).__name__}, which is of no family with a file format.",
        f"Expected nets of one of the families {', '.join(family.name for family in FAMILIES)}.",
        "Save its state_dict() with safetensors instead.",
    )


def tensors_in(vae: VAE, layout: Layout, family: Family, config: Config) -> dict[str, Tensor]:
    """The weights, and the statistics that tell the frame where it is of that kind, in a layout's keys and shapes."""
    native = vae.state_dict() | family.beside(config, vae.frame)
    levels = layout.native_levels(native)
    named = {key: layout.from_native(key, levels) for key in native}
    lost = [key for key, name in named.items() if name is None]
    if lost:
        raise WrongTensors(
            f"The {layout.name} layout has no name for {len(lost)} tensors of this VAE, such as {lost[0]}.",
            "",
            'Save it in the "native" layout, which holds every VAE.',
        )
    return {
        name: (as_matrix(key, tensor) if layout.linear_attention else tensor).detach().contiguous()
        for (key, tensor), name in zip(native.items(), named.values(), strict=True)
        if name is not None
    }


def as_matrix(native: str, tensor: Tensor) -> Tensor:
    """The 1x1 convolutions of attention as linear layers: (c, c, 1, 1) -> (c, c)."""
    inside_attention = ".attn" in native and native.endswith(".weight") and tensor.dim() == 4
    return tensor.flatten(1) if inside_attention else tensor


def _required_layout(name: str, family: Family) -> Layout:
    layout = layout_of(name, family.name)
    if layout is None:
        others = [f'"{other}"' for other in LAYOUT_NAMES if layout_of(other, family.name)]
        others += ['"tiny" for two files'] if family.name == "tiny" else []
        raise WrongTensors(
            f"There is no {name} layout for a {family.name!r} autoencoder.",
            "",
            f"Use {', '.join(others[:-1])} or {others[-1]}.",
        )
    return layout


def _save_one_file(vae: VAE, path: Path, layout: Layout, family: Family, config: Config) -> None:
    if path.suffix != ".safetensors":
        raise CannotWrite(
            f"The {layout.name} layout is one file, and {path.name} does not end in .safetensors.",
            "",
            f"Use a name such as {path.with_suffix('.safetensors').name}.",
        )
    with whole_file(path) as temporary:
        write_tensors(
            tensors_in(vae, layout, family, config), temporary, describe(family.name, config, vae.frame), path
        )


def write_tensors(tensors: dict[str, Tensor], temporary: Path, metadata: dict[str, str], target: Path) -> None:
    """Write one safetensors file, the same bytes for the same contents; a failure is told by the target's name.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    try:
        save_file(tensors, temporary, metadata)
        _sort_metadata(temporary)
    except (SafetensorError, OSError) as error:
        raise cannot_write(target, error) from error


def _sort_metadata(path: Path) -> None:
    """Put the metadata in order: the library writes it in another order each time, which changes the file's hash."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


def _save_diffusers_folder(vae: VAE, path: Path, family: Family, config: Config) -> None:
    both_halves(vae, "diffusers")
    settings = family.diffusers(config, vae.frame)
    layout = _required_layout("diffusers", family)
    with whole_folder(path) as temporary:
        write_tensors(tensors_in(vae, layout, family, config), temporary / DIFFUSERS_WEIGHTS, {"format": "pt"}, path)
        (temporary / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")


def both_halves(vae: VAE, layout: str) -> None:
    """Refuse a layout that has no place for half a VAE."""
    if vae.encoder is None or vae.decoder is None:
        half = "decoder" if vae.encoder is None else "encoder"
        raise HalfMissing(
            f"This VAE has only its {half}.",
            f"The {layout} layout is for whole VAEs.",
            'Save it in the "native" layout, or load the other half with it.',
        )


def _save_tiny_halves(vae: VAE, path: Path, family: Family, config: Config) -> None:
    halves = [half for half in HALVES if getattr(vae, half) is not None]
    native = vae.state_dict()
    metadata = describe(family.name, config, vae.frame)
    with whole_folder(path) as temporary:
        for half in halves:
            layout = _required_layout(f"tiny-{half}", family)
            tensors = {
                str(layout.from_native(key, 1)): tensor.detach().contiguous()
                for key, tensor in native.items()
                if key.startswith(half + ".")
            }
            write_tensors(tensors, temporary / f"{half}.safetensors", metadata, path)
