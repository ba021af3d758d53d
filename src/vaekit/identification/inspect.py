"""What VAE is in a file, as a record that a person or a program can read."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.catalog.entries import CatalogEntry
from vaekit.errors import NotRunnable
from vaekit.families import HALVES
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.geometry import Geometry
from vaekit.identification.build import Network
from vaekit.identification.identify import Identified, identify_parts
from vaekit.identification.key_signatures import match_unsupported
from vaekit.identification.locate import gather, locate
from vaekit.identification.match import WeightMatch, match_weights
from vaekit.identification.resolve import cached_hashes, resolved_by, with_probed_normalization, with_probed_padding
from vaekit.normalization import LatentNormalization


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
    """None where the file does not tell, which it always does for a VAE that runs; so with the next four."""
    factor: int | None
    """Positions of an item per latent position along the first axis; None for a global latent, too."""
    image_size: int | None
    """Side of the only images that the VAE takes; None where it takes any size."""
    compression: float | None
    """Values in an item for each value in its latent."""
    geometry: Geometry | None
    """The shapes of items and latents."""
    normalization: LatentNormalization | None
    normalization_source: str
    padding_source: str
    """How the padding in the config is known; empty where nobody told it, or where the nets have one padding only."""
    parameters: int
    dtypes: tuple[str, ...]
    """The formats that the numbers have in the file: "float16"; "q8_0" in a GGUF file."""
    fingerprint: str | None
    """Of the weights, whatever file they are in; None where no hash was asked for."""
    sketches: Mapping[str, str] | None
    """Of each half: what survives rounding to half precision, see `fingerprint.py`."""
    sha256: str | None
    """Of the whole file; None for a VAE in two files or inside a larger checkpoint."""
    card: CatalogEntry | None
    """What is known about these very weights, whatever file they are in; None where they have no card."""
    recognized: str
    """How it is known that they are; a phrase, empty without a card."""
    akin: tuple[str, ...]
    """Sentences about the nearest known relative of weights without a card."""
    config: dict[str, Any]
    problems: tuple[str, ...]
    """What a user should know before relying on this file."""
    runnable: bool = True
    """False for a VAE that is only recognized: it has no config, normalization or fingerprint here."""


def inspect_path(path: Path, *, hash: bool = True, measure: bool = True) -> Inspection:
    """What `inspect` returns, for a path."""
    files, settings = gather(path)
    try:
        identified = identify_parts(path, tuple(locate(file) for file in files), settings)
    except NotRunnable as refusal:
        return not_run(path, files, refusal)
    held = (part.spec(key) for part in identified.parts for key in part.names)
    specs = [spec for spec in held if spec.dtype.is_floating_point]  # all but a batch norm's counter
    hashes = cached_hashes(identified) if hash else None
    recognition = match_weights(hashes.weights, hashes.sha256) if hashes else WeightMatch()
    identified = resolved_by(identified, recognition)
    if measure:
        network = Network()
        identified = with_probed_padding(with_probed_normalization(identified, network), network)
    config, geometry = identified.config, identified.config.geometry
    return Inspection(
        path=str(path),
        family=identified.family.name,
        known_as=tuple(kind.name for kind in identified.kinds),
        layout=identified.layout,
        prefix=identified.parts[0].prefix,
        format=identified.parts[0].file.format,
        halves=identified.halves,
        latent_channels=geometry.latent_channels,
        factor=geometry.factors[0] if geometry.axes else None,
        image_size=geometry.size[0] if geometry.size else None,
        compression=geometry.compression,
        geometry=geometry,
        normalization=identified.normalization,
        normalization_source=identified.normalization_source,
        padding_source=identified.padding_source,
        parameters=sum(math.prod(spec.shape) for spec in specs),
        dtypes=dtypes_of(specs),
        fingerprint=hashes.weights.fingerprint if hashes else None,
        sketches=hashes.weights.sketches if hashes else None,
        sha256=(hashes.sha256 or None) if hashes else None,
        card=recognition.card,
        recognized=recognition.how,
        akin=recognition.akin,
        config=dataclasses.asdict(config),
        problems=tuple(problems(identified)),
    )


def not_run(path: Path, files: Iterable[TensorFile], refusal: NotRunnable) -> Inspection:
    """The record of a VAE that is recognized and not run, as far as its tensors tell.

    Raises:
        NotRunnable: the refusal itself, where none of the files is recognized alone.
    """
    told = ((file, match_unsupported(file.specs)) for file in files)
    file, recognition = next(((file, known) for file, known in told if known), (None, None))
    if file is None or recognition is None:
        raise refusal
    known, prefix = recognition
    specs = {key.removeprefix(prefix): spec for key, spec in file.specs.items() if key.startswith(prefix)}
    return Inspection(
        path=str(path),
        family=known.name,
        known_as=(),
        layout="",
        prefix=prefix,
        format=file.format,
        halves=tuple(half for half in HALVES if any(key.startswith(half) for key in specs)),
        latent_channels=known.channels_of(file.specs, prefix),
        factor=known.factor,
        image_size=None,
        compression=None,
        geometry=None,
        normalization=None,
        normalization_source="it is not looked for in a VAE that is not run",
        padding_source="",
        parameters=sum(math.prod(spec.shape) for spec in specs.values()),
        dtypes=dtypes_of(specs.values()),
        fingerprint=None,
        sketches=None,
        sha256=None,
        card=None,
        recognized="",
        akin=(),
        config={},
        problems=(f"{known.why}. {refusal.remedy}",),
        runnable=False,
    )


def dtypes_of(specs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """The formats that the numbers of tensors have in their file."""
    return tuple(sorted({spec.stored_as for spec in specs}))


def problems(identified: Identified) -> list[str]:
    """Sentences about what is unusual or unknown."""
    told = []
    if len(identified.halves) == 1:
        half = identified.halves[0]
        verb, other = ("encode", "decode") if half == "encoder" else ("decode", "encode")
        told.append(f"Only the {half} is here: it can {verb}, not {other}.")
    if identified.normalization is None:
        told.append(f"The normalization is unknown: {identified.normalization_source}.")
    ignored = sum(part.ignored for part in identified.parts)
    if ignored:
        told.append(f"{ignored:,} other tensors of the file are not part of the VAE.")
    if not identified.kinds:
        told += identified.family.assumed(identified.config)
    return told
