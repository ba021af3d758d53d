"""What is found by reading the weights of a VAE, or by running it, remembered until its files change."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vaekit.checkpoints.borders import BorderError, Borders, measure_borders
from vaekit.checkpoints.building import build
from vaekit.checkpoints.collection.hashes import sha256_of
from vaekit.checkpoints.fingerprint import Identity, Numbers, as_json, from_json, identity_of
from vaekit.checkpoints.identify import Identified
from vaekit.checkpoints.locate import OUTSIDE_NETS
from vaekit.checkpoints.measuring import MeasuredLatents, measure_latents
from vaekit.checkpoints.remembered import remembered, stamp
from vaekit.checkpoints.weights import weights_in


@dataclass(frozen=True)
class Hashes:
    """What a file and the weights in it are known by."""

    weights: Identity
    sha256: str
    """Of the whole file, 64 hexadecimal digits; empty for a VAE in two files, or inside a larger checkpoint."""


def hashes_of(identified: Identified) -> Hashes:
    """Hash a VAE. The first time reads every weight."""
    weights = about(identified, "weights", lambda: as_json(identity_of(numbers_in(identified))))
    alone = len(identified.parts) == 1 and identified.parts[0].ignored == 0
    return Hashes(from_json(weights), sha256_of(identified.parts[0].file.path) if alone else "")


def numbers_in(identified: Identified) -> list[Numbers]:
    """The tensors of the nets, without those that only tell the normalization; nothing is read yet."""
    pieces = sorted(weights_in(identified).tensors.items())
    return [Numbers(key, piece.shape, piece.parts) for key, piece in pieces if key not in OUTSIDE_NETS]


def latents_of(identified: Identified) -> MeasuredLatents:
    """Encode the built-in pictures. The first time takes seconds for a large VAE.

    Raises:
        HalfMissing, BadPicture: see `measure_latents`.
    """
    config = sorted(dataclasses.asdict(identified.config).items())
    told = about(identified, f"latents {config}", lambda: dataclasses.asdict(measure_latents(build(identified))))
    return MeasuredLatents(tuple(told["mean"]), tuple(told["std"]), tuple(tuple(row) for row in told["covariance"]))


def borders_of(identified: Identified) -> Borders | None:
    """Put flat pictures through under both paddings. The first time takes seconds for a large VAE."""

    def find() -> dict[str, Any] | None:
        found = measure_borders(build(identified))
        return None if found is None else dataclasses.asdict(found)

    told = about(identified, "borders", find)
    return (
        None if told is None else Borders(told["verdict"], BorderError(**told["zeros"]), BorderError(**told["reflect"]))
    )


def about(identified: Identified, question: str, find: Callable[[], Any]) -> Any:
    """A remembered answer about all the files of a VAE."""
    first, *others = (part.file.path for part in identified.parts)
    return remembered(first, " ".join((question, *(stamp(path, "") for path in others))), find)
