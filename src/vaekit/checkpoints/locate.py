"""Which files make up a VAE, and where its tensors stand in them: the naming scheme and the prefix."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from vaekit.checkpoints.families import LAYOUTS, Layout
from vaekit.checkpoints.families.batch_norm import STATISTICS
from vaekit.checkpoints.formats.files import TensorFile, TensorSpec, is_there, open_tensors
from vaekit.errors import BadCheckpoint, NotFound, UnknownVAE, WrongTensors, legible

WEIGHTS_ENDINGS = (".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin")
FEWEST_KEYS = 8
"""A scheme that explains fewer keys than this is a coincidence."""
TRAINING_LEFTOVERS = ("loss.", "model_ema.")
"""Keys that training code leaves beside the weights of an autoencoder: dropped, and counted as ignored."""
OUTSIDE_NETS = frozenset(native for native, _ in STATISTICS)

STRANGERS = {
    "model.diffusion_model.": "the denoiser of a Stable Diffusion checkpoint",
    "double_blocks.": "a FLUX transformer",
    "transformer_blocks.": "a diffusion transformer",
    "joint_blocks.": "an SD3 transformer",
    "down_blocks.": "a UNet in the diffusers layout",
    "text_model.": "a CLIP text encoder",
    "encoder.block.0.layer.": "a T5 text encoder",
    "lora_": "a LoRA",
    "control_model.": "a ControlNet",
}


@dataclass(frozen=True)
class Found:
    """Where the tensors of a VAE, or of one half, stand in one file."""

    file: TensorFile
    layout: Layout
    prefix: str
    names: Mapping[str, str]
    """Native key -> key in the file, for the weights."""
    statistics: Mapping[str, str]
    """Native key -> key in the file, for tensors that tell the frame and belong to no net; see `statistics.py`."""
    ignored: int
    """Tensors of the file that do not belong to the VAE."""

    def spec(self, native: str) -> TensorSpec:
        return self.file.specs[self.names[native]]

    def foreign(self, native: str) -> str:
        """What the file would call a native key, whether it has it or not."""
        levels = self.layout.native_levels(self.names)
        return self.prefix + (self.layout.from_native(native, levels) or native)


def gather(path: Path) -> tuple[list[TensorFile], dict[str, Any]]:
    """The weights files that make up the VAE at `path`, and the settings of a diffusers `config.json`."""
    if not is_there(path):
        raise NotFound(
            f"There is no file or folder {legible(str(path))}.", "", "Check the path, or give the name of a known VAE."
        )
    if not path.is_dir():
        return [open_tensors(path)], {}
    folder = path / "vae" if (path / "vae" / "config.json").is_file() else path
    settings = read_settings(folder / "config.json")
    weights = sorted(file for file in folder.iterdir() if file.suffix.lower() in WEIGHTS_ENDINGS and file.is_file())
    if settings:
        weights = sorted(weights, key=diffusers_preference)[:1]
    if not 1 <= len(weights) <= 2:
        listing = ", ".join(file.name for file in weights[:8]) or "no weights file"
        raise NotFound(
            f"The folder {path} holds {len(weights)} weights files ({listing}).",
            "Expected a diffusers folder, one weights file, or the encoder and the decoder of one VAE.",
            "Name the file that you mean.",
        )
    return [open_tensors(file) for file in weights], settings


def read_settings(path: Path) -> dict[str, Any]:
    """A diffusers `config.json`; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise BadCheckpoint(
            f"{path} is not readable JSON ({error}).", "Expected a diffusers config.", "Fetch it again."
        ) from error
    return settings if isinstance(settings, dict) else {}


def diffusers_preference(file: PurePath) -> tuple[bool, int, str]:
    """Safetensors first, the plain variant before "fp16" and the like."""
    return file.suffix != ".safetensors", file.name.count("."), file.name


def locate(file: TensorFile) -> Found:
    """Find the VAE's tensors in a file: the scheme and prefix that explain the most keys.

    Raises:
        UnknownVAE: none explains enough.
    """
    candidates = [
        (count, -len(prefix), -rank, layout, prefix)
        for rank, layout in enumerate(LAYOUTS)
        for prefix, count in layout.prefixes(file.specs).items()
        if count >= FEWEST_KEYS
    ]
    if not candidates:
        raise UnknownVAE(
            f"There is no VAE in {file.path}: {describe_strangers(file.specs)}.",
            "Expected the tensors of an autoencoder, under any of the known naming schemes.",
            "Give the VAE's own file, or a checkpoint that includes one.",
        )
    *_, layout, prefix = max(candidates, key=lambda candidate: candidate[:3])
    inside = {key: key.removeprefix(prefix) for key in file.specs if key.startswith(prefix)}
    levels = layout.levels(inside.values())
    names: dict[str, str] = {}
    statistics: dict[str, str] = {}
    strangers = []
    for key, bare in inside.items():
        native = layout.to_native(bare, levels)
        held = statistics if native in OUTSIDE_NETS else names
        if native is not None and native not in held:
            held[native] = key
        elif not bare.startswith(TRAINING_LEFTOVERS):
            strangers.append(key)
    if strangers:
        raise leftover_error(file, layout, strangers)
    return Found(file, layout, prefix, names, statistics, ignored=len(file.specs) - len(names) - len(statistics))


def describe_strangers(keys: Mapping[str, TensorSpec]) -> str:
    """What a file without a VAE holds instead, in words."""
    for prefix, name in STRANGERS.items():
        if any(key.startswith(prefix) for key in keys):
            return f"its {len(keys):,} tensors look like {name}"
    return f"its {len(keys):,} tensors ({shorten(keys)}) belong to no family that vaekit knows"


def leftover_error(file: TensorFile, layout: Layout, strangers: list[str]) -> WrongTensors:
    return WrongTensors(
        f"{file.path} looks like a {layout.family!r} autoencoder in the {layout.name} layout, with "
        f"{len(strangers)} tensors too many: {shorten(strangers)}.",
        "Expected the tensors of one autoencoder and nothing else beside them.",
        "If this is a newer kind of VAE, please report it; a partial load would give wrong pictures.",
    )


def check_one_vae(path: Path, parts: tuple[Found, ...]) -> None:
    """Refuse a folder whose files are two VAEs rather than two halves of one."""
    if len({part.layout.family for part in parts}) > 1 or (
        len(parts) == 2 and parts[0].names.keys() & parts[1].names.keys()
    ):
        names = " and ".join(part.file.path.name for part in parts)
        raise NotFound(
            f"The folder {path} holds two VAEs, {names}.",
            "Expected one VAE, in one file or in an encoder and a decoder file.",
            "Name the file that you mean.",
        )


def shorten(names: Iterable[str], most: int = 12) -> str:
    """The first names of a list, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(legible, listed[:most])) + more
