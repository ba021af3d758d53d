"""Write fine-tuned VAEs in the layout, dtype and settings of their base model's files.

Frozen tensors are copied from the source byte for byte, and read back and compared before the files get their
final names: latents from the source's encoder remain valid.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_group
from vaekit.catalog.entries import CatalogEntry
from vaekit.checkpoints.convert import own_layout
from vaekit.checkpoints.save import required_layout, write
from vaekit.errors import HalfMissing, WrongTensors, counted
from vaekit.families import padding_of
from vaekit.families.padding import PADDINGS
from vaekit.formats.paths import DIFFUSERS_SETTINGS
from vaekit.formats.safetensors_writer import Piece
from vaekit.formats.tensor_file import dtype_name
from vaekit.identification.build import Network
from vaekit.identification.identify import Identified, identify
from vaekit.identification.locate import read_settings
from vaekit.identification.match import match_weights
from vaekit.identification.resolve import cached_hashes, cached_padding_probe, padded, padding_is_unresolved, resolve
from vaekit.identification.weight_dtypes import common_dtype, rounds
from vaekit.identification.weights import StoredWeights, weights_in
from vaekit.library.upload import RESULT
from vaekit.vae import VAE

NATIVE, DIFFUSERS, TINY = "native", "diffusers", "tiny"


@dataclass(frozen=True)
class BaseModel:
    """A VAE to fine-tune."""

    name: str
    """The name that the user gave; for a path, its last component."""
    identified: Identified
    """The VAE with the padding for fine-tuning."""
    original: Identified
    """The VAE with its original padding."""
    fingerprint: str
    """The identity of its weights."""
    entry: CatalogEntry | None
    """The catalog entry of these weights."""
    layout: str
    """The layout of the fine-tuned file: that of the base model, if it can express all settings."""
    folder: bool
    """Whether the base model, and hence the result, is a diffusers folder."""
    weights: str | None = None
    """The kind of weights that the user chose: "ema" or "plain"."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the fingerprint, not the weights."""
        padding = padding_of(self.identified.config) or None
        return reopen_base_model, (self.identified.path, self.name, padding, self.fingerprint, self.weights)

    @property
    def stem(self) -> str:
        """The prefix of a tiny autoencoder's two file names: programs look for `taesd_encoder`."""
        stems = {path.stem.removesuffix("_encoder").removesuffix("_decoder") for path in self.files}
        return stems.pop() if len(stems) == 1 else "vae"

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights of the VAE."""
        return tuple(part.file.path for part in self.identified.parts)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of its weights: "float16"."""
        pieces = weights_in(self.identified).tensors.values()
        return tuple(sorted({dtype_name(each.dtype) for each in pieces if each.dtype.is_floating_point}))

    def written_dtype(self, dtype: torch.dtype | None = None) -> torch.dtype | None:
        """The dtype of fine-tuned weights; None if each keeps that of the base model.

        A base model in 8 bits, plain or quantized, is written in the dtype that it is loaded in: 8 bits would round
        most of the training away.

        Args:
            dtype: the requested one; None for the base model's.
        """
        specs = [part.spec(key) for part in self.identified.parts for key in part.names]
        coarse = any(spec.dtype.is_floating_point and (spec.dtype.itemsize == 1 or spec.quantization) for spec in specs)
        return common_dtype(spec.dtype for spec in specs) if dtype is None and coarse else dtype

    @property
    def diffusers_class(self) -> str:
        """The class of diffusers that builds its network; empty if there is none."""
        try:
            settings = self.identified.family.diffusers(self.identified.config, self.identified.normalization)
        except WrongTensors:
            return ""
        return str(settings["_class_name"])

    def changes(self, dtype: torch.dtype | None = None) -> dict[str, dict[str, str]]:
        """Changes of the encoder besides training: a padding other than the original, and the
        rounding of the weights. `{"padding": {"before": "zeros", "after": "reflect"}}`

        Args:
            dtype: of the fine-tuned weights; None for the base model's.
        """
        changes: dict[str, dict[str, str]] = {}
        before, after = (padding_of(each.config) for each in (self.original, self.identified))
        if before != after:
            changes["padding"] = {"before": before, "after": after}
        rounded = [name for name in self.dtypes if dtype is not None and rounds(getattr(torch, name), dtype)]
        if dtype is not None and rounded:
            changes["dtype"] = {"before": " and ".join(rounded), "after": dtype_name(dtype)}
        return changes


def base_model_at(path: Path, name: str, padding: str | None = None, weights: str | None = None) -> BaseModel:
    """Open the VAE in a file or folder for fine-tuning.

    Args:
        path: of the file or folder; `locate_vae` resolves names.
        name: the name that the user gave.
        padding: "zeros" or "reflect", overriding the file's.
        weights: "ema" or "plain", where the file holds both; see `load`.

    Raises:
        HalfMissing: the VAE has no encoder, or no decoder.
        NotFound, BadCheckpoint, UnknownVAE, WrongTensors, BadPlan: see `load`.
    """
    original = with_original_padding(identify(path, weights), padding)
    identified = padded(original, padding)
    if len(identified.halves) < 2:
        only, other = identified.halves[0], "encoder" if identified.halves[0] == "decoder" else "decoder"
        raise HalfMissing(
            f"{name} has only its {only}.",
            f"Fine-tuning needs the {other} as well: it compares images with their reconstructions.",
            f"Give the folder that holds both halves, or a VAE of the same latent space with its {other}.",
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
    except WrongTensors:  # diffusers cannot express reflection padding, for example
        layout, folder = NATIVE, False
    entry = match_weights(hashes.weights, hashes.sha256).entry
    return BaseModel(
        Path(name).name or name, identified, original, hashes.weights.fingerprint, entry, layout, folder, weights
    )


def reopen_base_model(
    path: Path, name: str, padding: str | None, fingerprint: str, weights: str | None = None
) -> BaseModel:
    """Open a base model again, in another process; see `base_model_at`.

    Raises:
        WrongTensors: the file has other weights now.
    """
    model = base_model_at(path, name, padding, weights)
    if model.fingerprint != fingerprint:
        raise WrongTensors(
            f"The weights in {path} have the fingerprint {model.fingerprint}.",
            f"Expected {fingerprint}: the weights that the run was prepared with.",
            "Restore the file, or prepare the run again.",
        )
    return model


def with_original_padding(identified: Identified, padding: str | None) -> Identified:
    """The VAE with its original padding, from its file, its catalog entry or the padding probe.

    If none of them is conclusive, the padding that the user names is taken to be the original.
    """
    if padding is None:
        return resolve(identified)
    named = padded(identified, padding)  # rejects an invalid padding before anything is measured
    resolved = resolve(identified, measure=False)
    network = Network()
    probe = cached_padding_probe(resolved, network) if padding_is_unresolved(resolved) else None
    unclear = padding_is_unresolved(resolved) and (probe is None or probe.verdict not in PADDINGS)
    return resolve(named if unclear else identified, network=network)


def write_finetuned(
    parent: BaseModel,
    vae: VAE,
    kept: Collection[str],
    folder: Path,
    notes: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> list[Path]:
    """Write a fine-tuned VAE: all its files or none.

    Args:
        parent: the base model.
        vae: the fine-tuned VAE, in any dtype.
        kept: the native keys of the frozen tensors.
        folder: of the new files; other files in it are kept.
        notes: additional metadata entries.
        dtype: of the weights; None for the base model's (see `BaseModel.written_dtype`).

    Returns:
        The files, weights first.

    Raises:
        WrongTensors: a frozen tensor changed, or values would overflow in this dtype.
        CannotWrite: the files cannot be written, e.g. because the disk is full.
    """
    source = weights_in(parent.identified, parent.written_dtype(dtype))
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
    """Whether a tensor in memory, converted to the file's dtype, equals the file's bit for bit."""
    return same_bits(piece.tensor(), now.to(piece.dtype))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bytes, unlike equal values such as 0 and -0."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    flat = [each.detach().cpu().contiguous().flatten().view(torch.uint8) for each in (one, other)]
    return alike and torch.equal(*flat)


def trained(piece: Piece, now: Tensor) -> Piece:
    """A tensor of the source with new values."""
    return Piece(piece.name, piece.shape, piece.dtype, lambda: now.reshape(piece.shape), stored=now.dtype)


def write_files(parent: BaseModel, weights: StoredWeights, staging: Path) -> list[str]:
    """Write into a temporary folder; returns the file names."""
    if parent.layout == TINY:
        inside = staging / parent.stem
        write(weights, inside, TINY)
    elif parent.folder:
        inside = staging / "vae"
        write(weights, inside, DIFFUSERS)
        base = read_settings(parent.files[0].parent / DIFFUSERS_SETTINGS)
        settings = json.loads((inside / DIFFUSERS_SETTINGS).read_text("utf-8"))
        (inside / DIFFUSERS_SETTINGS).write_text(json.dumps(base | settings, indent=2, sort_keys=True) + "\n", "utf-8")
    else:
        write(weights, staging / RESULT, parent.layout)
        return [RESULT]
    names = sorted((file.name for file in inside.iterdir()), key=lambda name: (name == DIFFUSERS_SETTINGS, name))
    for name in names:
        (inside / name).rename(staging / name)
    inside.rmdir()
    return names


def verify_frozen(source: StoredWeights, staging: Path, kept: Collection[str]) -> None:
    """Read the written files back and compare their frozen tensors with the source, bit for bit.

    Raises:
        WrongTensors: some of them differ.
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
    """The error for frozen tensors that changed."""
    return WrongTensors(
        f"{counted(len(keys), 'frozen tensor')} changed during training, such as {keys[0]}.",
        "Expected frozen tensors to stay identical bit for bit. Nothing was written.",
        "This is a bug in vaekit: please report it.",
    )
