"""Replace the VAE inside a whole checkpoint, by copying bytes.

A checkpoint has gigabytes; most bytes are copied from file to file. Everything that does not belong to the VAE is
preserved: names, order, dtypes, metadata, and every byte of every tensor.
"""

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vaekit.atomic import atomic_file
from vaekit.checkpoints.compatibility import check_normalization
from vaekit.checkpoints.convert import refuse_overwriting
from vaekit.checkpoints.extract import not_safetensors, one_checkpoint
from vaekit.checkpoints.save import SAFETENSORS_ENDINGS
from vaekit.checkpoints.vae_location import VAELocation, location_of, vae_in_checkpoint
from vaekit.errors import UnknownVAE, WrongTensors, counted, printable, shorten, system_errors
from vaekit.formats.open import TensorFile, TensorSpec, open_weights
from vaekit.formats.quantization import MARKER, metadata_without
from vaekit.formats.safetensors import raw_header
from vaekit.formats.safetensors_writer import (
    METADATA_ENTRY,
    Piece,
    Progress,
    header,
    in_order,
    piece_of,
    write_safetensors,
)
from vaekit.formats.tensor_file import dtype_name
from vaekit.identification.fused_tensors import join_parts, whole_key
from vaekit.identification.identify import Identified, check_tensors, identify
from vaekit.identification.locate import LocatedVAE
from vaekit.identification.mismatches import same_shape
from vaekit.identification.resolve import resolve
from vaekit.identification.weights import in_dtype, names_in, shape_in, weights_in
from vaekit.library.names import locate_vae


@dataclass(frozen=True)
class BakeResult:
    """The result of `bake`."""

    checkpoint: str
    vae: str
    output: str
    model: str | None
    prefix: str
    layout: str
    halves: tuple[str, ...]
    """The halves of the checkpoint's VAE that were replaced or added."""
    dtypes: tuple[str, ...]
    """The dtypes of the new tensors."""
    replaced: int
    added: int
    removed: int
    kept: int
    """The number of unchanged tensors."""
    nbytes: int
    """The size of the whole file in bytes."""
    notes: tuple[str, ...]
    """Sentences about decisions, omissions and unverified assumptions."""


@system_errors()
def bake(
    checkpoint: str | Path,
    vae: str | Path,
    target: str | Path,
    assume_same_normalization: bool = False,
    progress: Progress | None = None,
    weights: str | None = None,
) -> BakeResult:
    """Write a copy of a whole checkpoint with another VAE inside, by copying bytes.

    The new VAE gets the names, prefix, layout and dtype of the checkpoint's own VAE; if there is none, the names that
    checkpoints of this model use, and its own dtype. Half a VAE replaces only that half. Every other tensor and
    the metadata are preserved bit for bit; if no tensor changes its size, so is the whole header.

    Args:
        checkpoint: one safetensors file, or a torch checkpoint, of which only the tensors are kept; or the shards of
            one, which become one file.
        vae: the name of a known VAE, a weights file, a folder, or another checkpoint with a VAE inside.
        target: a `.safetensors` file.
        assume_same_normalization: take an unknown normalization of the VAE to be the checkpoint's.
        progress: called with the number of bytes written and the total.
        weights: "ema" or "plain" of the VAE, where its file holds both; see `vaekit.load`.

    Raises:
        LatentMismatch: the VAE uses another latent space than the checkpoint, or this cannot be excluded.
        UnknownVAE: `vae` holds no VAE; or the checkpoint has VAE tensors of no known family, or
            its diffusion model is unknown, so that the prefix of the VAE is.
        NotRunnable: either VAE is recognized but cannot be run.
        HalfMissing: half a VAE for a checkpoint without the other half.
        WrongTensors: a VAE is incomplete, or would overflow in the checkpoint's dtype.
        CannotWrite: the target is an input, is not a safetensors file, or cannot be written.
        NotFound, BadCheckpoint: see `vaekit.errors`.
    """
    source, target = one_checkpoint(Path(checkpoint)), Path(target)
    if target.suffix not in SAFETENSORS_ENDINGS:
        raise not_safetensors(target, f"Use a name such as {target.with_suffix('.safetensors').name}.")
    with locate_vae(vae) as path:
        refuse_overwriting(target, source, path)
        file = open_weights(source)
        own = vae_in_checkpoint(file)
        new = resolve(identify(path, weights), measure=False)
        refuse_overwriting(target, *file.files, *new.files)
        place = location_of(file, own, new)
        notes = [*place.notes, check_normalization(new, own, place.model, assume_same_normalization)]
        fitted, replaceable = fit_to_checkpoint(new, own, place)
        removed = replaceable & file.specs.keys()
        pieces = merge(file, fitted, removed)
        head = header_for(file, pieces, removed - {piece.name for piece in fitted})
        with atomic_file(target) as temporary:
            write_safetensors(temporary, head, pieces, target, progress)
    replaced = sum(piece.name in file.specs for piece in fitted)
    return BakeResult(
        checkpoint=str(checkpoint),
        vae=str(vae),
        output=str(target),
        model=place.model.name if place.model else None,
        prefix=place.prefix,
        layout=place.layout.name,
        halves=new.halves,
        dtypes=tuple(sorted({dtype_name(piece.dtype) for piece in fitted})),
        replaced=replaced,
        added=len(fitted) - replaced,
        removed=len(removed - {piece.name for piece in fitted}),
        kept=len(pieces) - len(fitted),
        nbytes=8 + len(head) + sum(piece.nbytes for piece in pieces),
        notes=tuple(
            note for note in (*notes, taken_note(new), weights_in(new).non_finite, *remarks(file, own, new)) if note
        ),
    )


def taken_note(new: Identified) -> str:
    """What `Identified.note` states about the VAE, as a sentence; empty if it states nothing."""
    return f"From {new.path}: {new.note}." if new.note else ""


def fit_to_checkpoint(new: Identified, own: Identified | None, place: VAELocation) -> tuple[list[Piece], set[str]]:
    """The new tensors in the checkpoint's naming scheme, and the names of the tensors that they replace.

    Raises:
        WrongTensors: they do not match the half that the checkpoint keeps.
    """
    weights, part = dict(weights_in(new).tensors), own.parts[0] if own else None
    if part and part.statistics:  # the normalizations agree: keep the checkpoint's bit for bit
        weights = {key: piece for key, piece in weights.items() if key not in new.family.outside_nets}
    modules = {key.split(".")[0] for key in weights}
    names = dict(part.names) if part else {}
    kept = {key: name for key, name in names.items() if key.split(".")[0] not in modules}
    if own and kept:
        check_halves(new, own, kept)
    new_names = names_in(place.layout, [*kept, *weights])
    dtypes = dtypes_for(weights, new.family.outside_nets, part)
    fitted = []
    for key, piece in weights.items():
        shape = shape_in(place.layout, key, piece.shape)
        if part and key in names and same_shape(part.spec(key).shape, piece.shape):
            shape = part.spec(key).shape
        fitted.append(in_dtype(replace(piece, name=place.prefix + new_names[key], shape=shape), dtypes[key]))
    removed = {whole_key(name) for name in set(names.values()) - set(kept.values())}
    return in_wrappers(join_parts(fitted), removed | scales_of(removed, part), place, new)


def in_wrappers(
    fitted: list[Piece], removed: set[str], place: VAELocation, new: Identified
) -> tuple[list[Piece], set[str]]:
    """New and replaced tensors under the names of the checkpoint, if those have training wrappers in their paths.

    Raises:
        WrongTensors: a tensor of the new VAE has no counterpart, and so no name.
    """
    if not place.wrapped:
        return fitted, removed
    added = [piece.name for piece in fitted if piece.name not in place.wrapped]
    if added:
        raise WrongTensors(
            f"The VAE in {printable(str(new.path))} has {counted(len(added), 'tensor')} that the checkpoint's VAE does "
            f"not have ({shorten(added, 4)}), and the checkpoint has the names of training wrappers in its paths.",
            "Expected a VAE with the same tensors.",
            "Save the checkpoint without wrappers first.",
        )
    return [replace(piece, name=place.wrapped[piece.name]) for piece in fitted], {
        place.wrapped.get(name, name) for name in removed
    }


def scales_of(weights: Iterable[str], part: LocatedVAE | None) -> set[str]:
    """The tensors of a checkpoint that belong to these quantized weights, such as scales and formats, and the marker of
    a VAE of which none remain."""
    companions = part.file.companions if part else {}
    gone = {name for weight in weights for name in companions.get(weight, ())}
    prefix = part.prefix if part else ""
    remain = any(name.startswith(prefix) and name not in weights for name in companions)
    return gone if remain or not gone else gone | {prefix + MARKER}


def check_halves(new: Identified, own: Identified, kept: dict[str, str]) -> None:
    """Reject half a VAE that does not match the half that the checkpoint keeps.

    Raises:
        WrongTensors: it does not match.
    """
    parts = (replace(own.parts[0], names=kept), *new.parts)
    shapes = {key: part.spec(key).shape for part in parts for key in part.names}
    try:
        config = own.family.detect(shapes)
        if config is None:
            raise UnknownVAE("Together they have no structure that vaekit knows.", "", "")
        fields = dataclasses.asdict(own.config)
        check_tensors(replace(own, config=own.family.complete(config, fields, {}), parts=parts))
    except (UnknownVAE, WrongTensors) as error:
        raise WrongTensors(
            f"The {new.halves[0]} in {printable(str(new.path))} does not match the other half in {own.path}: "
            f"{error.found}",
            "Expected the other half of the same autoencoder.",
            "Give a whole VAE instead.",
        ) from error


def dtypes_for(
    weights: Mapping[str, Piece], outside: frozenset[str], part: LocatedVAE | None
) -> dict[str, torch.dtype]:
    """The dtype of each new tensor: that of the checkpoint's VAE, or its own if that one has weights in 8 bits.
    Normalization statistics keep their full precision."""
    specs = {key: part.spec(key) for key in part.names} if part else {}
    usual = {} if any(map(in_eight_bits, specs.values())) else {key: spec.dtype for key, spec in specs.items()}
    fallback = next(iter(usual.values()), None)
    return {
        key: piece.dtype if key in outside else usual.get(key, fallback) or piece.dtype
        for key, piece in weights.items()
    }


def in_eight_bits(spec: TensorSpec) -> bool:
    """Whether weights are stored in 8 bits, plain or quantized."""
    return spec.dtype.itemsize == 1 or bool(spec.quantization)


def remarks(file: TensorFile, own: Identified | None, new: Identified) -> list[str]:
    """Notes about changed dtypes and omitted content."""
    notes = []
    before, after = (sorted(dtype_names(vae)) if vae else [] for vae in (new, own))
    if own is not None and any(in_eight_bits(part.spec(key)) for part in own.parts for key in part.names):
        notes.append("The checkpoint's own VAE has 8-bit weights, which are too coarse; the new one keeps its dtype.")
    elif own is not None and before != after:
        notes.append(f"The VAE was converted from {' and '.join(before)} to the checkpoint's {' and '.join(after)}.")
    if own and own.selection and own.selection.others:
        others = " and ".join(map(str, own.selection.others))
        notes.append(f"The checkpoint also holds the {others} of its own VAE, which were not replaced.")
    if file.others:
        notes.append(f"Left out, because safetensors holds only tensors: {shorten(file.others)}.")
    return notes


def dtype_names(vae: Identified) -> set[str]:
    return {part.spec(key).stored_as for part in vae.parts for key in part.names}


def merge(file: TensorFile, fitted: list[Piece], removed: set[str]) -> list[Piece]:
    """All tensors of the new file in file order, with replaced tensors at their old positions.

    Added tensors precede the first tensor with a smaller element size, so that all remain aligned.
    """
    new = {piece.name: piece for piece in fitted}
    names = [name for name in in_file_order(file) if name in new or name not in removed]
    merged = [new.get(name) or piece_of(file, name) for name in names]
    for piece in in_order(piece for piece in fitted if piece.name not in file.specs):
        narrower = (i for i, other in enumerate(merged) if other.dtype.itemsize < piece.dtype.itemsize)
        merged.insert(next(narrower, len(merged)), piece)
    return merged if is_one_safetensors(file) else in_order(merged)


def in_file_order(file: TensorFile) -> list[str]:
    """The names of tensors in the order of their data in the file."""
    number = {path: i for i, path in enumerate(file.files)}
    # An empty tensor starts at the offset of the next tensor, and precedes it.
    places = {name: (number[span.path], span.start, span.length) for name in file.specs if (span := file.span(name))}
    return sorted(file.specs, key=lambda name: places.get(name, (0, 0, 0)))


def is_one_safetensors(file: TensorFile) -> bool:
    """Whether the order of the tensors, and the header, can be kept."""
    return file.format == "safetensors" and len(file.files) == 1


def header_for(file: TensorFile, pieces: list[Piece], removed: Collection[str]) -> bytes:
    """The checkpoint's own header if it is still valid, else a new one with its metadata and order; the metadata does
    not state formats of quantized layers whose scales were removed."""
    metadata = metadata_without(file.metadata, (name.rpartition(".")[0] for name in removed))
    if not is_one_safetensors(file):
        return header(pieces, metadata if file.format == "safetensors" else {"format": "pt"})
    head, before = header(pieces, metadata, file.specs), raw_header(file.path)
    return before if entries(before) == entries(head) else head


def entries(head: bytes) -> dict[str, Any]:
    """The description of tensors in a header."""
    entries = json.loads(head)
    entries.pop(METADATA_ENTRY, None)
    return entries
