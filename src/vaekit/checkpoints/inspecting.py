"""What VAE is in a file, as a record that a person or a program can read."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.checkpoints.cards import Card, card_of
from vaekit.checkpoints.fingerprint import fingerprint
from vaekit.checkpoints.identify import Identified, identify
from vaekit.checkpoints.loading import build, located
from vaekit.nets.config import compression
from vaekit.vae import LatentFrame


@dataclass(frozen=True)
class Inspection:
    """The facts about one VAE file or folder."""

    path: str
    family: str
    known_as: tuple[str, ...]
    """The models whose shapes these are; more than one where shapes cannot tell."""
    layout: str
    prefix: str
    format: str
    halves: tuple[str, ...]
    latent_channels: int
    factor: int
    """Pixels per latent position along one side."""
    compression: float
    """Numbers in a picture for each number in its latent."""
    frame: LatentFrame | None
    frame_source: str
    parameters: int
    dtypes: tuple[str, ...]
    fingerprint: str
    card: Card | None
    """What is known about these very weights, whatever file they are in; None where they have no card."""
    config: dict[str, Any]
    problems: tuple[str, ...]
    """What a user should know before relying on this file."""


def inspect(name_or_path: str | Path) -> Inspection:
    """Say what VAE is in a file or folder; see `Inspection`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors: see `vaekit.errors`.
    """
    with located(name_or_path) as path:
        identified = identify(path)
        held = (part.spec(key) for part in identified.parts for key in part.names)
        specs = [spec for spec in held if spec.dtype.is_floating_point]  # all but a batch norm's counter
        config = identified.config
        hashed = fingerprint(build(identified))
        return Inspection(
            path=str(name_or_path),
            family=identified.family.name,
            known_as=tuple(kind.name for kind in identified.kinds),
            layout=identified.layout,
            prefix=identified.parts[0].prefix,
            format=identified.parts[0].file.format,
            halves=identified.halves,
            latent_channels=config.latent_channels,
            factor=config.factor,
            compression=compression(config),
            frame=identified.frame,
            frame_source=identified.frame_source,
            parameters=sum(math.prod(spec.shape) for spec in specs),
            dtypes=tuple(sorted({str(spec.dtype).removeprefix("torch.") for spec in specs})),
            fingerprint=hashed,
            card=card_of(hashed),
            config=dataclasses.asdict(config),
            problems=tuple(problems(identified)),
        )


def problems(identified: Identified) -> list[str]:
    """Sentences about what is unusual or unknown."""
    told = []
    if len(identified.halves) == 1:
        half = identified.halves[0]
        verb, other = ("encode", "decode") if half == "encoder" else ("decode", "encode")
        told.append(f"Only the {half} is here: it can {verb}, not {other}.")
    if identified.frame is None:
        told.append(f"The frame is unknown: {identified.frame_source}.")
    ignored = sum(part.ignored for part in identified.parts)
    if ignored:
        told.append(f"{ignored:,} other tensors of the file are not part of the VAE.")
    if not identified.kinds:
        told += identified.family.assumed(identified.config)
    return told
