"""A VAE that was trained on -> files like those that it came from: same layout, same dtype, same settings.

What was not trained is copied from the source, byte for byte, and read back and compared before the files get their
names: latents made with the source's encoder stay good.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_group
from vaekit.catalog.entries import CatalogEntry
from vaekit.checkpoints.convert import own_layout
from vaekit.checkpoints.save import required_layout, write
from vaekit.errors import HalfMissing, WrongTensors
from vaekit.families import padding_of
from vaekit.families.padding import PADDINGS
from vaekit.formats.paths import DIFFUSERS_SETTINGS
from vaekit.formats.safetensors_writer import Piece
from vaekit.identification.build import Network
from vaekit.identification.identify import Identified, identify
from vaekit.identification.locate import read_settings
from vaekit.identification.match import match_weights
from vaekit.identification.resolve import cached_hashes, cached_padding_probe, padded, padding_is_unresolved, resolve
from vaekit.identification.weights import StoredWeights, weights_in
from vaekit.library.upload import RESULT
from vaekit.vae import VAE

NATIVE, DIFFUSERS, TINY = "native", "diffusers", "tiny"


@dataclass(frozen=True)
class BaseModel:
    """A VAE to go on from."""

    name: str
    """As the user calls it; of a path, its last part."""
    identified: Identified
    """With the padding to go on with."""
    found: Identified
    """With the padding that it was made for: what it was before."""
    fingerprint: str
    """Of its weights."""
    card: CatalogEntry | None
    """What is known of these very weights."""
    layout: str
    """In which its successor is written: its own, where that can say all that is to be said."""
    folder: bool
    """Whether its successor is a diffusers folder, as it is one."""

    @property
    def stem(self) -> str:
        """What the names of a tiny autoencoder's two files begin with: programs look for `taesd_encoder`."""
        stems = {path.stem.removesuffix("_encoder").removesuffix("_decoder") for path in self.files}
        return stems.pop() if len(stems) == 1 else "vae"

    @property
    def files(self) -> tuple[Path, ...]:
        """Its weights."""
        return tuple(part.file.path for part in self.identified.parts)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Of its weights: "float16"."""
        pieces = weights_in(self.identified).tensors.values()
        return tuple(
            sorted({str(each.dtype).removeprefix("torch.") for each in pieces if each.dtype.is_floating_point})
        )

    def changes(self, dtype: torch.dtype | None = None) -> dict[str, dict[str, str]]:
        """What makes its successor's encoder another, whatever is trained: a padding that it was not made for, and the
        rounding of its weights. `{"padding": {"before": "zeros", "after": "reflect"}}`

        Args:
            dtype: of the successor's weights; None for its own.
        """
        told: dict[str, dict[str, str]] = {}
        before, after = (padding_of(each.config) for each in (self.found, self.identified))
        if before != after:
            told["padding"] = {"before": before, "after": after}
        rounded = [name for name in self.dtypes if dtype is not None and rounds(getattr(torch, name), dtype)]
        if rounded:
            told["dtype"] = {"before": " and ".join(rounded), "after": str(dtype).removeprefix("torch.")}
        return told


def base_model_at(path: Path, name: str, padding: str | None = None) -> BaseModel:
    """The VAE in a file or folder, as one to go on from.

    Args:
        path: where it is; `located` tells it of a name.
        name: what the user calls it.
        padding: "zeros" or "reflect", to go on with, whatever the file says.

    Raises:
        HalfMissing: it has no encoder, or no decoder.
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors, BadPlan: see `load`.
    """
    found = made_for(identify(path), padding)
    identified = padded(found, padding)
    if len(identified.halves) < 2:
        only, other = identified.halves[0], "encoder" if identified.halves[0] == "decoder" else "decoder"
        raise HalfMissing(
            f"{name} has only its {only}.",
            f"To train on, a VAE needs its {other} too: images go in and come back.",
            f"Name the folder that holds both halves, or a VAE with the same latents that has its {other}.",
        )
    hashes = cached_hashes(identified)
    files = identified.parts
    folder = own_layout(identified) == DIFFUSERS and (files[0].file.path.parent / DIFFUSERS_SETTINGS).is_file()
    layout = own_layout(identified)
    try:
        if layout == DIFFUSERS and folder:
            identified.family.diffusers(identified.config, identified.normalization)
        if layout != TINY:
            required_layout(layout, identified.family, identified.config)
    except WrongTensors:  # diffusers has no word for reflection, for example
        layout, folder = NATIVE, False
    card = match_weights(hashes.weights, hashes.sha256).card
    return BaseModel(Path(name).name or name, identified, found, hashes.weights.fingerprint, card, layout, folder)


def made_for(identified: Identified, padding: str | None) -> Identified:
    """The VAE with the padding that it was made for, as its file, its card or its borders tell.

    Where none of them is clear, nobody knows better than the user: the padding that they name is the VAE's own then.
    """
    if padding is None:
        return resolve(identified)
    named = padded(identified, padding)  # refuses one that there is not, before anything is measured
    told = resolve(identified, measure=False)
    network = Network()
    borders = cached_padding_probe(told, network) if padding_is_unresolved(told) else None
    unclear = padding_is_unresolved(told) and (borders is None or borders.verdict not in PADDINGS)
    return resolve(named if unclear else identified, network=network)


def rounds(old: torch.dtype, new: torch.dtype) -> bool:
    """Whether numbers of one dtype may be others in another one.

    >>> rounds(torch.bfloat16, torch.float16), rounds(torch.float16, torch.float32)
    (True, False)
    """
    before, after = torch.finfo(old), torch.finfo(new)
    return after.eps > before.eps or after.max < before.max


def write_finetuned(
    parent: BaseModel,
    vae: VAE,
    kept: Collection[str],
    folder: Path,
    notes: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> list[Path]:
    """Write what became of a VAE, all its files or none.

    Args:
        parent: what it was.
        vae: what it is now, in any dtype.
        kept: which tensors were not trained, by their native keys.
        folder: where the files go; others in it stay.
        notes: what the metadata tells beside what it always does.
        dtype: of the weights; None for the parent's.

    Returns:
        The files, weights first.

    Raises:
        WrongTensors: a tensor that was to be kept is another now, or numbers would overflow in this dtype.
        CannotWrite: the disk is full, or the like.
    """
    source = weights_in(parent.identified, dtype)
    outside = source.family.outside_nets
    now = {key: tensor.detach().cpu() for key, tensor in vae.state_dict().items()}
    changed = [
        key
        for key, piece in source.tensors.items()
        if key in kept and key not in outside and not same_values(piece, now[key])
    ]
    if changed:
        raise changed_error(changed)
    tensors = {
        key: piece if key in kept or key in outside else trained(piece, now[key])
        for key, piece in source.tensors.items()
    }
    weights = replace(source, tensors=tensors, notes={**source.notes, **notes}, padding_known=True)
    with atomic_group(folder) as staging:
        names = write_files(parent, weights, staging)
        verify_frozen(source, staging, kept)
    return [folder / name for name in names]


def same_values(piece: Piece, now: Tensor) -> bool:
    """Whether a tensor in memory, rounded as in the file, is the tensor of the file, bit for bit."""
    return same_bits(piece.tensor(), now.to(piece.dtype))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same bytes; equal numbers may not be, as 0 and -0."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    flat = [each.detach().cpu().contiguous().flatten().view(torch.uint8) for each in (one, other)]
    return alike and torch.equal(*flat)


def trained(piece: Piece, now: Tensor) -> Piece:
    """A tensor of the source with new numbers."""
    return Piece(piece.name, piece.shape, piece.dtype, lambda: now.reshape(piece.shape), stored=now.dtype)


def write_files(parent: BaseModel, weights: StoredWeights, staging: Path) -> list[str]:
    """Write into a folder for the time being; tell the names of the files."""
    if parent.layout == TINY:
        inside = staging / parent.stem
        write(weights, inside, TINY)
    elif parent.folder:
        inside = staging / "vae"
        write(weights, inside, DIFFUSERS)
        theirs = read_settings(parent.files[0].parent / DIFFUSERS_SETTINGS)
        ours = json.loads((inside / DIFFUSERS_SETTINGS).read_text("utf-8"))
        (inside / DIFFUSERS_SETTINGS).write_text(json.dumps(theirs | ours, indent=2, sort_keys=True) + "\n", "utf-8")
    else:
        write(weights, staging / RESULT, parent.layout)
        return [RESULT]
    names = sorted((file.name for file in inside.iterdir()), key=lambda name: (name == DIFFUSERS_SETTINGS, name))
    for name in names:
        (inside / name).rename(staging / name)
    inside.rmdir()
    return names


def verify_frozen(source: StoredWeights, staging: Path, kept: Collection[str]) -> None:
    """Read the files that were written, and compare what was to be kept with the source, bit for bit.

    Raises:
        WrongTensors: some of it is another.
    """
    written = weights_in(identify(staging)).tensors
    changed = [
        key
        for key, piece in source.tensors.items()
        if key in kept and (key not in written or not same_bits(piece.tensor(), written[key].tensor()))
    ]
    if changed:
        raise changed_error(changed)


def changed_error(keys: Sequence[str]) -> WrongTensors:
    """What was to stay as it is did not."""
    return WrongTensors(
        f"{len(keys)} tensors that were not to be trained are others now, such as {keys[0]}.",
        "Expected every bit of them as it was. Nothing was written.",
        "This is an error of vaekit's: please report it.",
    )


def frozen_names(vae: VAE, frozen: Sequence[str]) -> frozenset[str]:
    """The native keys of all tensors of these modules."""
    return frozenset(key for key in vae.state_dict() if any(key.startswith(f"{name}.") for name in frozen))
