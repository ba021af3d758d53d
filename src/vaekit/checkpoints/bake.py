"""A VAE into a whole checkpoint, by copying bytes.

A checkpoint has gigabytes; little of that goes through the memory of this process. What is not the VAE's stays as it
is: names, order, dtypes, metadata, and every byte of every tensor.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vaekit.atomic import atomic_file
from vaekit.checkpoints.compatibility import check_latent_space, check_normalization, check_values
from vaekit.checkpoints.convert import refuse_overwriting
from vaekit.checkpoints.extract import check_one_file, not_safetensors
from vaekit.checkpoints.save import SAFETENSORS_ENDINGS
from vaekit.errors import HalfMissing, NotRunnable, UnknownVAE, WrongTensors, printable, shorten
from vaekit.families import HALVES, Layout, layout_of
from vaekit.formats.open import TensorFile, open_tensors
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
from vaekit.identification.fused_tensors import join_parts, whole_key
from vaekit.identification.host_model import HostModel, host_model_of, host_models
from vaekit.identification.identify import Identified, check_tensors, identify, identify_parts
from vaekit.identification.locate import TRAINING_LEFTOVERS, LocatedVAE, locate
from vaekit.identification.mismatches import same_shape
from vaekit.identification.resolve import resolve
from vaekit.identification.weights import in_dtype, names_in, shape_in, weights_in
from vaekit.library.names import locate_vae

OTHER_MODULES = ("model.diffusion_model.", "cond_stage_model.", "conditioner.", "text_encoders.")
"""Where whole checkpoints keep what is not their VAE. Conditioners of video models hold an encoder of a VAE as well."""


@dataclass(frozen=True)
class BakeResult:
    """What `bake` put into a checkpoint."""

    checkpoint: str
    vae: str
    output: str
    model: str | None
    prefix: str
    layout: str
    halves: tuple[str, ...]
    """Which halves of the VAE in the checkpoint are new."""
    dtypes: tuple[str, ...]
    """What the new tensors are in."""
    replaced: int
    added: int
    removed: int
    kept: int
    """Tensors that are as they were."""
    nbytes: int
    """Of the whole file."""
    notes: tuple[str, ...]
    """Sentences about what was decided, left out, or could not be proved."""


def bake(
    checkpoint: str | Path,
    vae: str | Path,
    target: str | Path,
    assume_same_normalization: bool = False,
    progress: Progress | None = None,
) -> BakeResult:
    """Write a copy of a whole checkpoint with another VAE inside, by copying bytes.

    The new VAE gets the names, prefix, layout and dtype of the checkpoint's own; where there is none, those that
    checkpoints of this model have, and its own dtype. Half a VAE takes the place of that half. Every other tensor and
    the metadata stay as they are, bit for bit; where no tensor changes its size, so does the whole header.

    Args:
        checkpoint: one safetensors file, or a torch checkpoint, of which only the tensors are kept.
        vae: the name of a known VAE, a weights file, a folder, or another checkpoint with a VAE inside.
        target: a `.safetensors` file.
        assume_same_normalization: take an unknown normalization of the VAE to be the checkpoint's.
        progress: called with the bytes that are written and the bytes there will be.

    Raises:
        LatentMismatch: the VAE speaks other latents than the checkpoint, or nothing shows that it speaks the same.
        UnknownVAE: there is no VAE in the one; or the other has tensors of a VAE that belong to no known family, or
            nothing that tells where a VAE belongs.
        NotRunnable: the VAE of either is recognized and cannot be run.
        HalfMissing: half a VAE for a checkpoint without the other half.
        WrongTensors: a VAE is not whole, or would overflow in the checkpoint's dtype.
        CannotWrite: the target is an input, is not a safetensors file, or the disk refuses.
        NotFound, BadCheckpoint: see `vaekit.errors`.
    """
    source, target = Path(checkpoint), Path(target)
    check_one_file(source)
    if target.suffix not in SAFETENSORS_ENDINGS:
        raise not_safetensors(target, f"Use a name such as {target.with_suffix('.safetensors').name}.")
    with locate_vae(vae) as path:
        refuse_overwriting(target, source, path)
        file = open_tensors(source)
        own = vae_in_checkpoint(file)
        new = resolve(identify(path), measure=False)
        refuse_overwriting(target, *(part.file.path for part in new.parts))
        place = location_of(file, own, new)
        notes = [*place.notes, check_normalization(new, own, place.model, assume_same_normalization)]
        fitted, removed = fit_to_checkpoint(new, own, place)
        pieces = merge(file, fitted, removed)
        head = header_for(file, pieces)
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
        dtypes=tuple(sorted({str(piece.dtype).removeprefix("torch.") for piece in fitted})),
        replaced=replaced,
        added=len(fitted) - replaced,
        removed=len(removed - {piece.name for piece in fitted}),
        kept=len(pieces) - len(fitted),
        nbytes=8 + len(head) + sum(piece.nbytes for piece in pieces),
        notes=tuple(note for note in (*notes, *remarks(file, own, new)) if note),
    )


@dataclass(frozen=True)
class VAELocation:
    """Where in a checkpoint its VAE stands, or would."""

    layout: Layout
    prefix: str
    model: HostModel | None
    notes: tuple[str, ...] = ()


def vae_in_checkpoint(file: TensorFile) -> Identified | None:
    """The VAE of a checkpoint; None where it has none, and no tensors of one.

    Raises:
        NotRunnable: it is recognized and cannot be run.
        UnknownVAE: it is of no known family.
        WrongTensors: it is not whole.
    """
    try:
        found = locate(file)
    except NotRunnable as error:
        raise NotRunnable(
            error.found,
            "Only a VAE that vaekit can run is replaced: of another one it is not known which tensors belong together.",
            "Give a checkpoint with an image VAE. Nothing was written.",
        ) from error
    except UnknownVAE:
        found = None
    if found is not None and not found.prefix.startswith(OTHER_MODULES):
        return identify_parts(file.path, (found,), {})
    remains = tensors_of_a_vae(file.specs)
    if remains:
        raise UnknownVAE(
            f"{file.path} has {len(remains)} tensors of a VAE of no family that vaekit knows: {shorten(remains)}.",
            "Expected a checkpoint with a VAE that vaekit can run, or one without any tensors of a VAE.",
            "If it should be a known VAE, fetch the checkpoint again. Nothing was written.",
        )
    return None


def tensors_of_a_vae(names: Iterable[str]) -> list[str]:
    """The names of tensors that belong to an autoencoder, of any family or none.

    They are behind a prefix that checkpoints keep their VAE behind, or in an encoder beside a decoder.
    """
    prefixes = {model.vae for model in host_models()}
    behind: list[str] = []
    halves: dict[str, dict[str, list[str]]] = {half: defaultdict(list) for half in HALVES}
    for name in names:
        module, dot, rest = name.partition(".")
        parts = name.split(".")
        if module + dot in prefixes:
            behind += [] if rest.startswith(TRAINING_LEFTOVERS) else [name]
        elif not name.startswith(OTHER_MODULES):
            half = next((part for part in parts if part in halves), None)
            if half is not None:
                halves[half][".".join(parts[: parts.index(half)])].append(name)
    encoders, decoders = (halves[half] for half in HALVES)
    return behind + [name for place in encoders.keys() & decoders.keys() for name in encoders[place] + decoders[place]]


def location_of(file: TensorFile, own: Identified | None, new: Identified) -> VAELocation:
    """Where a new VAE goes, once its shape is known to fit.

    Raises:
        LatentMismatch: it does not fit.
        UnknownVAE: the checkpoint has no VAE, and is of no model that would tell where one belongs.
        HalfMissing: it has none, and the new one is not whole.
    """
    if own is not None:
        check_values(new, own)
        return VAELocation(own.parts[0].layout, own.parts[0].prefix, own.around)
    model = host_model_of(file.specs)
    if model is None:
        raise UnknownVAE(
            f"{file.path} has no VAE, and is of no model that vaekit knows.",
            "Expected a checkpoint with a VAE, or one whose other tensors tell where its VAE belongs.",
            "Check that this is a whole checkpoint.",
        )
    check_latent_space(new, model)
    if len(new.halves) < 2:
        raise HalfMissing(
            f"{new.path} holds only a VAE's {new.halves[0]}, and {file.path} has no VAE.",
            "A checkpoint without a VAE needs a whole one.",
            "Give both halves.",
        )
    layout = layout_of("ldm", new.family.name, new.config) or layout_of("native", new.family.name, new.config)
    assert layout is not None
    return VAELocation(
        layout,
        model.vae,
        model,
        (f"The checkpoint had no VAE; as in other checkpoints of {model.name}, it is now behind {model.vae!r}.",),
    )


def fit_to_checkpoint(new: Identified, own: Identified | None, place: VAELocation) -> tuple[list[Piece], set[str]]:
    """The new tensors as the checkpoint keeps its own, and the names of its own that make room for them.

    Raises:
        WrongTensors: with what is left of the checkpoint's own VAE they make no whole one.
    """
    weights, theirs = dict(weights_in(new).tensors), own.parts[0] if own else None
    if theirs and theirs.statistics:  # the normalizations agree, and the checkpoint keeps its own to the last bit
        weights = {key: piece for key, piece in weights.items() if key not in new.family.outside_nets}
    modules = {key.split(".")[0] for key in weights}
    names = dict(theirs.names) if theirs else {}
    kept = {key: name for key, name in names.items() if key.split(".")[0] not in modules}
    if own and kept:
        check_halves(new, own, kept)
    called = names_in(place.layout, [*kept, *weights])
    dtypes = dtypes_for(weights, new.family.outside_nets, theirs)
    fitted = []
    for key, piece in weights.items():
        shape = shape_in(place.layout, key, piece.shape)
        if theirs and key in names and same_shape(theirs.spec(key).shape, piece.shape):
            shape = theirs.spec(key).shape
        fitted.append(in_dtype(replace(piece, name=place.prefix + called[key], shape=shape), dtypes[key]))
    removed = set(names.values()) - set(kept.values())
    return join_parts(fitted), {whole_key(name) for name in removed}


def check_halves(new: Identified, own: Identified, kept: dict[str, str]) -> None:
    """Refuse half a VAE that does not fit the other half, which the checkpoint keeps.

    Raises:
        WrongTensors: it does not.
    """
    parts = (replace(own.parts[0], names=kept), *new.parts)
    shapes = {key: part.spec(key).shape for part in parts for key in part.names}
    try:
        config = own.family.detect(shapes)
        if config is None:
            raise UnknownVAE("Together they are of no structure that vaekit knows.", "", "")
        told = dataclasses.asdict(own.config)
        check_tensors(replace(own, config=own.family.complete(config, told, {}), parts=parts))
    except (UnknownVAE, WrongTensors) as error:
        raise WrongTensors(
            f"The {new.halves[0]} in {printable(str(new.path))} does not fit what {own.path} keeps of its own VAE: "
            f"{error.found}",
            "Expected the other half of the same autoencoder.",
            "Give a whole VAE instead.",
        ) from error


def dtypes_for(
    weights: Mapping[str, Piece], outside: frozenset[str], theirs: LocatedVAE | None
) -> dict[str, torch.dtype]:
    """The dtype of each new tensor: that of the checkpoint's own, but none of 8 bits. Statistics of the normalization
    keep all digits."""
    specs = {key: theirs.spec(key) for key in theirs.names} if theirs else {}
    usual = {key: spec.dtype for key, spec in specs.items() if spec.dtype.itemsize > 1}
    fallback = next(iter(usual.values()), None)
    return {
        key: piece.dtype if key in outside else usual.get(key, fallback) or piece.dtype
        for key, piece in weights.items()
    }


def remarks(file: TensorFile, own: Identified | None, new: Identified) -> list[str]:
    """Sentences about what became of dtypes and of what is not kept."""
    told = []
    before, after = (sorted(dtype_names(vae)) if vae else [] for vae in (new, own))
    if any(name.startswith("float8") for name in after):
        told.append("The checkpoint's own VAE is in 8 bits, which is too coarse for one; the new one keeps its dtype.")
    elif own is not None and before != after:
        told.append(f"The VAE is in {' and '.join(before)}, and in {' and '.join(after)} as the checkpoint's own now.")
    if file.others:
        told.append(f"Left out, because safetensors holds tensors only: {shorten(file.others)}.")
    return told


def dtype_names(vae: Identified) -> set[str]:
    return {str(part.spec(key).dtype).removeprefix("torch.") for part in vae.parts for key in part.names}


def merge(file: TensorFile, fitted: list[Piece], removed: set[str]) -> list[Piece]:
    """All tensors of the new file in the order in which they stand: the checkpoint's, new ones in their places.

    What had no place stands before the first tensor of narrower numbers, so that all stay aligned.
    """
    new = {piece.name: piece for piece in fitted}
    names = [name for name in in_file_order(file) if name in new or name not in removed]
    merged = [new.get(name) or piece_of(file, name) for name in names]
    for piece in in_order(piece for piece in fitted if piece.name not in file.specs):
        narrower = (i for i, other in enumerate(merged) if other.dtype.itemsize < piece.dtype.itemsize)
        merged.insert(next(narrower, len(merged)), piece)
    return merged if file.format == "safetensors" else in_order(merged)


def in_file_order(file: TensorFile) -> list[str]:
    """The names of tensors in the order in which their numbers stand in the file."""
    # An empty tensor begins where the next one does, and stands before it.
    places = {name: (span.start, span.length) for name in file.specs if (span := file.span(name))}
    return sorted(file.specs, key=lambda name: places.get(name, (0, 0)))


def header_for(file: TensorFile, pieces: list[Piece]) -> bytes:
    """The checkpoint's own header where it still holds, else one with its metadata and in its order."""
    if file.format != "safetensors":
        return header(pieces, {"format": "pt"})
    head, before = header(pieces, file.metadata, file.specs), raw_header(file.path)
    return before if entries(before) == entries(head) else head


def entries(head: bytes) -> dict[str, Any]:
    """What a header says of tensors."""
    told = json.loads(head)
    told.pop(METADATA_ENTRY, None)
    return told
