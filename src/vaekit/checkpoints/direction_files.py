"""Direction files: learned directions in the latent space of one VAE, with the VAE's identity.

A safetensors file with two float32 tensors of one shape, (z) or with positions (z, *latent_size): `vector`, of unit
length, and `probe`, the standard deviations of the label per unit of the latents. The metadata holds the VAE's
fingerprint, family, geometry and normalization as in latent files, the standard deviation of latents along the
direction, its name, and how it was learned.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.checkpoints.latent_files import FINGERPRINT, GEOMETRY, LatentOrigin
from vaekit.checkpoints.save import write_tensors
from vaekit.errors import BadCheckpoint, BadDirection, LatentMismatch, printable, system_errors
from vaekit.formats.open import open_tensors
from vaekit.geometry import Geometry
from vaekit.identification.metadata import NORMALIZATION, normalization_text, read_normalization
from vaekit.latents.directions import KINDS, SPREAD, Direction

KEY, VERSION = "vaekit.direction", "1"
EXPECTED = "Expected a direction written by `vaekit direction`."
REMEDY = "Learn it again with `vaekit direction`, or copy it again: it may be damaged."
TENSORS = ("vector", "probe")
MOST_VALUES = 2**24
"""Of a direction."""
LARGEST = 1e12
"""The maximum standard deviation, and the maximum of a value of a probe."""
LENGTH_ERROR = 1e-3
"""The largest difference between the length of the vector and 1."""


@dataclass(frozen=True, eq=False)
class DirectionFile:
    """A direction, the VAE that it belongs to, and how it was learned."""

    direction: Direction
    probe: Tensor
    """The weights of the linear probe of its label, in the shape of the direction."""
    space: LatentOrigin
    facts: Mapping[str, Any]
    """How it was learned, as JSON values."""


def save_direction(path: Path, file: DirectionFile) -> None:
    """Write a direction atomically.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    metadata = {
        KEY: VERSION,
        "vaekit.fingerprint": file.space.fingerprint,
        "vaekit.family": file.space.family,
        GEOMETRY: json.dumps(file.space.geometry.as_json()),
        NORMALIZATION: normalization_text(file.space.normalization),
        "vaekit.name": file.direction.name,
        "vaekit.kind": file.direction.kind,
        "vaekit.std": repr(file.direction.std),
        "vaekit.learned": json.dumps(file.facts, allow_nan=False),
    }
    tensors = {"vector": file.direction.vector.float().contiguous(), "probe": file.probe.float().contiguous()}
    with atomic_file(path) as temporary:
        write_tensors(tensors, temporary, metadata, path)


@system_errors()
def load_direction(path: Path) -> DirectionFile:
    """Read a direction, strictly.

    Raises:
        NotFound: there is no such file.
        BadDirection: it is damaged or something else, or its values cannot be those of a direction.
    """
    try:
        file = open_tensors(path)
        if file.metadata.get(KEY) != VERSION:
            kept = "weights" if KEY not in file.metadata else f"version {printable(file.metadata[KEY], 20)}"
            raise ValueError(f"it holds {kept}")
        if set(file.specs) != set(TENSORS):
            raise ValueError(f"its tensors are {printable(', '.join(file.specs))}")
        if max(math.prod(spec.shape) for spec in file.specs.values()) > MOST_VALUES:
            raise ValueError("its tensors are too large")
        tensors = file.read(TENSORS)
        return parsed(file.metadata, tensors["vector"], tensors["probe"])
    except BadCheckpoint as error:
        raise BadDirection(error.found, EXPECTED, REMEDY) from error
    except KeyError as error:
        raise BadDirection(f"The metadata of {path} lacks {error}.", EXPECTED, REMEDY) from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadDirection(f"{path} is no direction: {printable(str(error), 200)}.", EXPECTED, REMEDY) from error


def parsed(metadata: Mapping[str, str], vector: Tensor, weights: Tensor) -> DirectionFile:
    """A direction from the content of its file.

    Raises:
        ValueError, TypeError, KeyError, OverflowError, RecursionError: the content is not that of a direction.
    """
    geometry = Geometry.from_json(json.loads(metadata[GEOMETRY]))
    if geometry is None:
        raise ValueError(f"its geometry is {printable(metadata[GEOMETRY])}")
    if not FINGERPRINT.fullmatch(metadata["vaekit.fingerprint"]):
        raise ValueError("its fingerprint is none")
    check_values(vector, weights, geometry)
    std = float(metadata["vaekit.std"])
    if not 0 < std <= LARGEST:
        raise ValueError(f"its standard deviation is {std:g}")
    kind = metadata["vaekit.kind"]
    if kind not in KINDS or (kind == SPREAD and (vector.dim() > 1 or not geometry.axes)):
        raise ValueError(f"its kind is {printable(kind, 20)}")
    facts = json.loads(metadata["vaekit.learned"])
    if not isinstance(facts, dict):
        raise TypeError("its facts are no JSON object")
    normalization = read_normalization(metadata)
    known = normalization if normalization is not None and normalization.fits(geometry.latent_channels) else None
    family = printable(metadata["vaekit.family"])
    return DirectionFile(
        Direction(printable(metadata["vaekit.name"]), vector.clone(), std, kind),
        weights.clone(),
        LatentOrigin(metadata["vaekit.fingerprint"], family, geometry, known),
        facts,
    )


def check_values(vector: Tensor, weights: Tensor, geometry: Geometry) -> None:
    """Check the tensors of a direction.

    Raises:
        ValueError: their shapes, dtypes or values cannot be those of a direction.
    """
    if vector.shape != weights.shape or vector.dim() not in (1, 1 + geometry.axes):
        raise ValueError(f"its tensors have the shapes {list(vector.shape)} and {list(weights.shape)}")
    if vector.shape[:1] != (geometry.latent_channels,) or not vector.numel():
        raise ValueError(f"its vector has the shape {list(vector.shape)}, for {geometry.latent_channels} channels")
    if not vector.dtype == weights.dtype == torch.float32:
        raise ValueError(f"its tensors are {vector.dtype} and {weights.dtype}")
    if not (vector.isfinite().all() and (weights.abs() <= LARGEST).all()):
        raise ValueError("some of its values are not finite or too large")
    length = vector.double().norm().item()
    if abs(length - 1) > LENGTH_ERROR:
        raise ValueError(f"the length of its vector is {length:g}, not 1")


def check_same_vae(path: Path, learned: LatentOrigin, given: LatentOrigin) -> None:
    """Check that a direction belongs to a VAE.

    Raises:
        LatentMismatch: it was learned in the latent space of another one.
    """
    if learned.fingerprint != given.fingerprint:
        raise LatentMismatch(
            f"{path} is a direction of a {learned}, and the given VAE is a {given}.",
            "Expected a direction of this VAE: latents of other VAEs mean something else.",
            "Use that VAE, or learn the direction again with this one.",
        )
