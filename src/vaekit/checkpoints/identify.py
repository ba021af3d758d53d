"""What VAE is in this file or folder: family, layout, config and frame, from keys, shapes and metadata.

Nothing but headers is read here. `load` and `inspect` both start from the answer.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vaekit.checkpoints.cards import Kind, agreed_frame, matching_kinds
from vaekit.checkpoints.families import Config, Family, family_of
from vaekit.checkpoints.files import TensorFile, TensorSpec, is_there, open_tensors
from vaekit.checkpoints.layouts import LAYOUTS, Layout
from vaekit.checkpoints.metadata import UNKNOWN, read_frame, read_norm_groups, sound_frame, spans
from vaekit.errors import BadCheckpoint, NotFound, UnknownVAE, WrongTensors, legible
from vaekit.nets.kl import KLConfig
from vaekit.vae import LatentFrame

WEIGHTS_ENDINGS = (".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin")
FEWEST_KEYS = 8
"""A scheme that explains fewer keys than this is a coincidence."""
TRAINING_LEFTOVERS = ("loss.", "model_ema.")
"""Keys that training code leaves beside the weights of an autoencoder: dropped, and counted as ignored."""

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
    "quantize.": "a vector-quantised autoencoder, a family that vaekit does not run yet",
}


@dataclass(frozen=True)
class Found:
    """Where the tensors of a VAE, or of one half, stand in one file."""

    file: TensorFile
    layout: Layout
    prefix: str
    names: Mapping[str, str]
    """Native key -> key in the file."""
    ignored: int
    """Tensors of the file that do not belong to the VAE."""

    def spec(self, native: str) -> TensorSpec:
        return self.file.specs[self.names[native]]

    def foreign(self, native: str) -> str:
        """What the file would call a native key, whether it has it or not."""
        levels = self.layout.native_levels(self.names)
        return self.prefix + (self.layout.from_native(native, levels) or native)


@dataclass(frozen=True)
class Identified:
    """A VAE in a file or folder, known but not loaded."""

    path: Path
    family: Family
    config: Config
    parts: tuple[Found, ...]
    kinds: tuple[Kind, ...]
    frame: LatentFrame | None
    frame_source: str
    """How the frame is known, or why it is not; a phrase."""

    @property
    def halves(self) -> tuple[str, ...]:
        """Which of "encoder" and "decoder" are there."""
        return tuple(
            half
            for half in ("encoder", "decoder")
            if any(key.startswith(half + ".") for part in self.parts for key in part.names)
        )

    @property
    def layout(self) -> str:
        """The name of the naming scheme; "tiny" for the two separate halves of one VAE."""
        names = sorted({part.layout.name for part in self.parts})
        return "tiny" if names == ["tiny-decoder", "tiny-encoder"] else " and ".join(names)


def identify(path: Path) -> Identified:
    """Say which VAE is at `path`: a weights file, a diffusers folder, or a folder with one VAE in one or two files.

    Raises:
        NotFound: nothing is there.
        BadCheckpoint: a file is damaged, hostile or no weights file.
        UnknownVAE: no VAE that vaekit knows is inside.
        WrongTensors: tensors are missing, left over or misshapen.
    """
    files, settings = gather(path)
    parts = tuple(locate(file) for file in files)
    check_one_vae(path, parts)
    shapes = {native: part.spec(native).shape for part in parts for native in part.names}
    family = family_of(parts[0].layout.family)
    config = family.detect(shapes)
    if config is None or residual_blocks(config) > len(shapes):
        raise UnknownVAE(
            f"{path} has the keys of a {family.name!r} autoencoder but not its structure.",
            "Expected one of the models in the README's table.",
            "If this is a VAE that others can run, please report its key names and shapes.",
        )
    config = with_norm_groups(config, files[0].metadata, settings)
    check_norm_groups(path, config)
    identified = Identified(path, family, config, parts, *find_frame(family, config, files[0].metadata, settings))
    check_tensors(identified)
    return identified


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


def diffusers_preference(file: Path) -> tuple[bool, int, str]:
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
    strangers = []
    for key, bare in inside.items():
        native = layout.to_native(bare, levels)
        if native is not None and native not in names:
            names[native] = key
        elif not bare.startswith(TRAINING_LEFTOVERS):
            strangers.append(key)
    if strangers:
        raise leftover_error(file, layout, strangers)
    return Found(file, layout, prefix, names, ignored=len(file.specs) - len(names))


def describe_strangers(keys: Mapping[str, TensorSpec]) -> str:
    """What a file without a VAE holds instead, in words."""
    for prefix, name in STRANGERS.items():
        if any(key.startswith(prefix) for key in keys):
            return f"its {len(keys):,} tensors look like {name}"
    return f"its {len(keys):,} tensors ({shorten(keys)}) belong to no family that vaekit knows"


def leftover_error(file: TensorFile, layout: Layout, strangers: list[str]) -> UnknownVAE | WrongTensors:
    if any("quantize." in key for key in strangers):
        remedy = "Use a KL or tiny autoencoder, or wait for a later version."
        return UnknownVAE(f"{file.path} is {STRANGERS['quantize.']}.", "", remedy)
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


def residual_blocks(config: Config) -> int:
    """How many blocks a network has; each has several tensors, so a file with fewer tensors holds something else."""
    if isinstance(config, KLConfig):
        levels = len(config.encoder_widths) * config.encoder_blocks, len(config.decoder_widths) * config.decoder_blocks
        return max(levels)
    return max(sum(config.encoder_blocks), sum(config.decoder_blocks))


def with_norm_groups(config: Config, metadata: Mapping[str, str], settings: Mapping[str, Any]) -> Config:
    """The config with the number of norm groups that the file tells, where it tells one."""
    groups = read_norm_groups(metadata) or settings.get("norm_num_groups")
    if isinstance(config, KLConfig) and isinstance(groups, int) and groups > 0:
        return dataclasses.replace(config, norm_groups=groups)
    return config


def check_norm_groups(path: Path, config: Config) -> None:
    """Refuse widths that the norm groups do not divide: nothing with these weights can have been trained."""
    if not isinstance(config, KLConfig):
        return
    widths = sorted({*config.encoder_widths, *config.decoder_widths})
    if any(width % config.norm_groups for width in widths):
        raise UnknownVAE(
            f"{path} has the keys of a 'kl' autoencoder of widths {shorten(map(str, widths))}, which "
            f"{config.norm_groups} norm groups do not divide.",
            "Expected the number of groups in the file's metadata or config.json: weights do not tell it.",
            'Add a config.json with the right "norm_num_groups" beside the file, and give the folder.',
        )


def find_frame(
    family: Family, config: Config, metadata: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[tuple[Kind, ...], LatentFrame | None, str]:
    """The kinds this VAE may be, its frame, and how that is known: metadata first, then shapes; never a guess."""
    candidates = matching_kinds(family.name, config)
    in_settings = frame_of_settings(settings) if family.name == "kl" else None
    for told, source in ((read_frame(metadata), "the file's metadata"), (in_settings, "config.json")):
        if told is not None and spans(told, config.latent_channels):
            return tuple(kind for kind in candidates if kind.frame == told) or candidates, told, source
    if says_unknown(metadata, settings):
        return candidates, None, "the file says that it is"
    agreed = agreed_frame(candidates)
    if agreed is not None:
        return candidates, agreed, "the shapes, which only this kind has"
    return candidates, None, why_unknown(candidates)


def says_unknown(metadata: Mapping[str, str], settings: Mapping[str, Any]) -> bool:
    """Whether the file tells that nobody knew the frame when it was written. Then its shapes prove nothing."""
    return metadata.get("vaekit.frame") == UNKNOWN or settings.get("scaling_factor", 0) is None


def why_unknown(candidates: tuple[Kind, ...]) -> str:
    """Why shapes alone do not tell the frame."""
    names = " or ".join(kind.name for kind in candidates)
    if not candidates:
        return "no known kind has these shapes, and the file does not say"
    if len(candidates) == 1:
        return f"{names} has none that a file of its own tells"
    return f"the shapes fit {names}, and the file does not say which"


def frame_of_settings(settings: Mapping[str, Any]) -> LatentFrame | None:
    """The frame in a diffusers config: mean and std per channel, or one scale and shift."""
    scale = settings.get("scaling_factor")
    mean, std = settings.get("latents_mean"), settings.get("latents_std")
    if isinstance(mean, list) and isinstance(std, list):
        deviations = sound_frame(mean, std)
        factor = sound_frame([0.0], [scale])
        if deviations is None or factor is None:
            return None
        return sound_frame(mean, [factor.scale[0] / value for value in deviations.scale])
    return sound_frame([settings.get("shift_factor") or 0.0], [scale])


def check_tensors(identified: Identified) -> None:
    """Compare every tensor with the network that the config describes.

    Raises:
        WrongTensors: some are missing, left over or misshapen; all are listed, by the file's own names.
    """
    with torch.device("meta"):
        encoder, decoder = identified.family.build(identified.config)
    expected = {
        f"{half}.{key}": tuple(tensor.shape)
        for half, net in (("encoder", encoder), ("decoder", decoder))
        if half in identified.halves
        for key, tensor in net.state_dict().items()
    }
    present = {native: part for part in identified.parts for native in part.names}
    problems = {
        "missing": [name_in_file(identified, key) for key in expected.keys() - present.keys()],
        "left over": [part.names[key] for key, part in present.items() if key not in expected],
        "misshapen": [
            f"{part.names[key]} {list(part.spec(key).shape)} instead of {list(expected[key])}"
            for key, part in present.items()
            if key in expected and not same_shape(part.spec(key).shape, expected[key])
        ],
        "not of floating point": [
            part.names[key] for key, part in present.items() if not part.spec(key).dtype.is_floating_point
        ],
    }
    told = "; ".join(f"{len(keys)} {what}: {shorten(sorted(keys))}" for what, keys in problems.items() if keys)
    if told:
        raise WrongTensors(
            f"{identified.path} is a {identified.family.name!r} autoencoder in the {identified.layout} layout, "
            f"but not a whole one ({told}).",
            f"Expected {len(expected)} tensors of the shapes that the others imply.",
            "Fetch the file again from its source; vaekit never fills gaps with random weights.",
        )


def name_in_file(identified: Identified, native: str) -> str:
    """The name that a missing tensor would have."""
    half = native.split(".")[0]
    holds_half = (part for part in identified.parts if any(key.startswith(half + ".") for key in part.names))
    part = next(holds_half, identified.parts[0])
    return part.foreign(native)


def same_shape(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Equal up to trailing ones: a 1x1 convolution is stored as a matrix in some layouts."""
    return strip_ones(found) == strip_ones(expected)


def strip_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def shorten(names: Iterable[str], most: int = 12) -> str:
    """The first names of a list, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(legible, listed[:most])) + more
