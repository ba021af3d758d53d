"""The tensors of a VAE under native keys, read or copied lazily when a file is written."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vaekit.errors import WrongTensors, counted
from vaekit.families import HALVES, Config, Family, Layout
from vaekit.formats.safetensors_writer import Piece, piece_of
from vaekit.identification.fused_tensors import join_parts
from vaekit.identification.identify import Identified
from vaekit.identification.metadata import domain_notes, read_domain
from vaekit.identification.mismatches import expected_tensors
from vaekit.identification.non_finite import non_finite_note
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


@dataclass(frozen=True)
class StoredWeights:
    """The content of a VAE file: tensors with native names and shapes, and their metadata."""

    family: Family
    config: Config
    normalization: LatentNormalization | None
    tensors: Mapping[str, Piece]
    padding_known: bool = True
    """Whether the padding in the config is known rather than assumed; always true for a VAE in memory."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Additional metadata, such as the origin of the weights."""

    @property
    def halves(self) -> tuple[str, ...]:
        """The halves that are present, of "encoder" and "decoder"."""
        return tuple(half for half in HALVES if any(key.startswith(half + ".") for key in self.tensors))

    @property
    def non_finite(self) -> str:
        """A sentence about NaN and infinite values among the weights, all of which are read; empty without any."""
        return non_finite_note((key, piece.parts) for key, piece in self.tensors.items())

    def pieces(self, layout: Layout) -> list[Piece]:
        """The tensors with the names and shapes of a layout.

        Raises:
            WrongTensors: the layout has no name for a tensor.
        """
        names = names_in(layout, self.tensors)
        return join_parts(
            [
                replace(piece, name=names[key], shape=shape_in(layout, key, piece.shape))
                for key, piece in self.tensors.items()
            ]
        )


def weights_of(vae: VAE, family: Family, config: Config) -> StoredWeights:
    """The weights of a VAE in memory, with the normalization tensors of families that store it so."""
    native = vae.state_dict() | family.normalization_tensors_for(config, vae.normalization)
    pieces = {key: piece_in_memory(key, tensor) for key, tensor in native.items()}
    origin = vae.origin
    notes = domain_notes(origin.domain, origin.schema) if origin is not None and origin.domain else {}
    return StoredWeights(family, config, vae.normalization, pieces, notes=notes)


def weights_in(identified: Identified, dtype: torch.dtype | None = None) -> StoredWeights:
    """The weights of a VAE in a file, in their own or another dtype; nothing is read yet.

    Normalization statistics keep their dtype: they are not weights, and need full precision.
    """
    shapes = native_shapes(identified)
    pieces: dict[str, Piece] = {}
    statistics: dict[str, Piece] = {}
    for part in identified.parts:
        for key, name in part.names.items():
            pieces[key] = in_dtype(replace(piece_of(part.file, name), shape=shapes[key]), dtype)
        statistics |= {key: piece_of(part.file, name) for key, name in part.statistics.items()}
    beside = (
        {} if statistics else identified.family.normalization_tensors_for(identified.config, identified.normalization)
    )
    statistics |= {key: piece_in_memory(key, tensor) for key, tensor in beside.items()}
    ordered = {key: pieces[key] for key in shapes}
    known = bool(identified.padding_source)
    domain, schema = read_domain(identified.parts[0].file.metadata) if identified.parts else ("", {})
    return StoredWeights(
        identified.family,
        identified.config,
        identified.normalization,
        ordered | statistics,
        known,
        domain_notes(domain, schema) if domain else {},
    )


def native_shapes(identified: Identified) -> dict[str, tuple[int, ...]]:
    """The shapes of the network's tensors; files store some 1x1 convolutions as matrices."""
    present = [key for part in identified.parts for key in part.names]
    wanted = expected_tensors(identified.family, identified.config, present)
    return {key: tensor.shape for key, tensor in wanted.items()}


def in_dtype(piece: Piece, dtype: torch.dtype | None) -> Piece:
    """The piece in another dtype, converted lazily."""
    return piece if dtype is None or dtype == piece.dtype else replace(piece, dtype=dtype, stored=piece.dtype)


def names_in(layout: Layout, native: Iterable[str]) -> dict[str, str]:
    """The names of tensors in a layout, by their native keys.

    Raises:
        WrongTensors: it has no name for a tensor.
    """
    keys = list(native)
    levels = layout.native_levels(keys)
    named = {key: layout.from_native(key, levels) for key in keys}
    unnamed = [key for key, name in named.items() if name is None]
    if unnamed:
        raise WrongTensors(
            f"The {layout.name} layout has no name for {counted(len(unnamed), 'tensor')} of this VAE, such as "
            f"{unnamed[0]}.",
            "",
            'Save it in the "native" layout, which holds every VAE.',
        )
    return {key: name for key, name in named.items() if name is not None}


def shape_in(layout: Layout, native: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor in a layout: (c, d) for (c, d, 1, 1) if it stores 1x1 convolutions as matrices, and (c,)
    for (1, c, 1) if it stores them as vectors."""
    if layout.is_vector(native):
        return (math.prod(shape),)
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 and layout.is_matrix(native) else shape


def piece_in_memory(name: str, tensor: Tensor) -> Piece:
    """The piece of a tensor in memory."""
    return Piece(name, tuple(tensor.shape), tensor.dtype, lambda: tensor)
