"""What VAE is in this file or folder: family, layout, config and frame, from keys, shapes and metadata.

Nothing is read here but headers, and the few numbers of a frame that stands in the file as tensors. `load` and
`inspect` both start from the answer.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from vaekit.checkpoints.cards import Kind
from vaekit.checkpoints.families import HALVES, Config, Family, assemble, family_of
from vaekit.checkpoints.frames import find_frame
from vaekit.checkpoints.locate import Found, check_one_vae, gather, locate, shorten
from vaekit.checkpoints.metadata import read_config
from vaekit.checkpoints.statistics import read_statistics
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.vae import LatentFrame


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
            half for half in HALVES if any(key.startswith(half + ".") for part in self.parts for key in part.names)
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
    if config is None or config.blocks > len(shapes):
        raise UnknownVAE(
            f"{path} has the keys of a {family.name!r} autoencoder but not its structure.",
            "Expected one of the models in the README's table.",
            "If this is a VAE that others can run, please report its key names and shapes.",
        )
    told = parts[0].layout.tells | read_config(files[0].metadata)
    config = family.complete(config, told, settings)
    statistics = read_statistics(path, parts, config.latent_channels, settings)
    frame = find_frame(family, config, files[0].metadata, settings, statistics)
    identified = Identified(path, family, config, parts, *frame)
    check_tensors(identified)
    return identified


def check_tensors(identified: Identified) -> None:
    """Compare every tensor with the network that the config describes.

    Raises:
        WrongTensors: some are missing, left over or misshapen; all are listed, by the file's own names.
    """
    with torch.device("meta"):
        vae = assemble(identified.family, identified.config, identified.halves)
    wanted = vae.state_dict()
    expected = {key: tuple(tensor.shape) for key, tensor in wanted.items()}
    counters = {key for key, tensor in wanted.items() if not tensor.is_floating_point()}
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
            part.names[key]
            for key, part in present.items()
            if key not in counters and not part.spec(key).dtype.is_floating_point
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
