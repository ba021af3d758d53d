"""What VAE is in a file, as a record that a person or a program can read."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.checkpoints.cards import Card, card_of
from vaekit.checkpoints.families import HALVES
from vaekit.checkpoints.fingerprint import fingerprint
from vaekit.checkpoints.formats.files import TensorSpec
from vaekit.checkpoints.identify import Identified, identify
from vaekit.checkpoints.loading import build, located
from vaekit.checkpoints.locate import gather
from vaekit.checkpoints.telltales import recognise
from vaekit.errors import NotRunnable
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
    latent_channels: int | None
    """None where the file does not tell, which it always does for a VAE that runs; so with the next two."""
    factor: int | None
    """Pixels per latent position along one side."""
    compression: float | None
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
    runnable: bool = True
    """False for a VAE that is only recognised: it has no config, frame or fingerprint here."""


def inspect(name_or_path: str | Path) -> Inspection:
    """Say what VAE is in a file or folder; see `Inspection`.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE (but for NotRunnable), WrongTensors: see `vaekit.errors`.
    """
    with located(name_or_path) as path:
        try:
            identified = identify(path)
        except NotRunnable as refusal:
            return not_run(str(name_or_path), path, refusal)
        specs = [part.spec(key) for part in identified.parts for key in part.names]
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
            dtypes=dtypes_of(specs),
            fingerprint=hashed,
            card=card_of(hashed),
            config=dataclasses.asdict(config),
            problems=tuple(problems(identified)),
        )


def not_run(name: str, path: Path, refusal: NotRunnable) -> Inspection:
    """The record of a VAE that is recognised and not run, as far as its tensors tell.

    Raises:
        NotRunnable: the refusal itself, where the files changed since.
    """
    told = ((file, recognise(file.specs)) for file in gather(path)[0])
    file, recognition = next(((file, known) for file, known in told if known), (None, None))
    if file is None or recognition is None:
        raise refusal
    known, prefix = recognition
    specs = {key.removeprefix(prefix): spec for key, spec in file.specs.items() if key.startswith(prefix)}
    return Inspection(
        path=name,
        family=known.name,
        known_as=(),
        layout="",
        prefix=prefix,
        format=file.format,
        halves=tuple(half for half in HALVES if any(key.startswith(half) for key in specs)),
        latent_channels=known.channels_of(file.specs, prefix),
        factor=known.factor,
        compression=None,
        frame=None,
        frame_source="it is not looked for in a VAE that is not run",
        parameters=sum(math.prod(spec.shape) for spec in specs.values()),
        dtypes=dtypes_of(specs.values()),
        fingerprint="",
        card=None,
        config={},
        problems=(f"{known.why}. {refusal.remedy}",),
        runnable=False,
    )


def dtypes_of(specs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """The names of the dtypes that tensors have."""
    return tuple(sorted({str(spec.dtype).removeprefix("torch.") for spec in specs}))


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
