"""Latent files: encoded posteriors with their VAE's identity.

A safetensors file with `mean` (b, z, *latent_size) and, for a Gaussian posterior, `log_variance`, both raw and in fp32,
so that sampling stays possible. b is 1 for an image, and the number of rows for a table. For other posteriors the mode
is stored; if the latent represents codes, such as a vector quantizer's, `codes` also holds their indices. The metadata
holds the VAE's fingerprint, family, normalization and geometry, and the size of the items along their axes.

Version 1 holds images only: its metadata has one factor in place of the geometry, and there are no codes.
"""

import json
import operator
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.catalog.entries import latent_spaces_with
from vaekit.checkpoints.save import family_and_config, write_tensors
from vaekit.distributions import Choices, DiagonalGaussian, Point, Posterior, Quantized
from vaekit.errors import BadCheckpoint, BadLatent, LatentMismatch, NotFound, counted, printable, system_errors
from vaekit.formats.open import open_tensors
from vaekit.geometry import Geometry, size_text
from vaekit.identification.fingerprint import fingerprint
from vaekit.identification.metadata import NORMALIZATION, normalization_text, read_normalization
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

VERSION = "2"
VERSION_1 = "1"
READABLE = (VERSION_1, VERSION)
"""Version 1 stores the normalization under the legacy key, which `metadata.read_normalization` accepts, too."""
GEOMETRY = "vaekit.geometry"
CHANNELS_V1 = 3
"""Image channels, which version 1 does not store; no message mentions them."""
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TENSORS = ("mean", "log_variance", "codes")
SUFFIX = ".latent.safetensors"
NOT_LATENTS = "Encode the item with `vaekit encode`, or give the file again as it was written: it may be damaged."
FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class LatentOrigin:
    """The identity of the VAE that encoded latents: fingerprint, family, geometry and normalization."""

    fingerprint: str
    family: str
    geometry: Geometry
    normalization: LatentNormalization | None

    @property
    def owners(self) -> str:
        """The latent spaces that match by family, channels and normalization; empty if there are none."""
        shape = self.geometry
        fitting = latent_spaces_with(shape.latent_channels, self.family, self.normalization, shape.channels)
        return " or ".join(space.name for space in fitting)

    def __str__(self) -> str:
        normalization = "unknown normalization" if self.normalization is None else str(self.normalization)
        like = f" like {self.owners}" if self.owners else ""
        facts = f"{self.geometry.latent_text}, {normalization}"
        return f"{self.family!r} VAE{like} {self.fingerprint[:10]} ({facts})"


@dataclass(frozen=True)
class LatentFile:
    """The posterior over raw latents of the items of one file, and its origin."""

    posterior: Posterior
    space: LatentOrigin
    size: tuple[int, ...]
    """The size of the items along their axes: (height, width) of an image, () of a row."""


def origin_of(vae: VAE) -> LatentOrigin:
    """The identity of a VAE. Hashes the weights: call it once for many items."""
    family, config = family_and_config(vae)
    return LatentOrigin(fingerprint(vae), family.name, config.geometry, vae.normalization)


def save_latent(path: Path, latent: LatentFile) -> None:
    """Write one latent file atomically.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    posterior, space = latent.posterior, latent.space
    tensors = {"mean": posterior.mode.float()}
    if isinstance(posterior, DiagonalGaussian):
        tensors["log_variance"] = posterior.log_variance.float()
    if isinstance(posterior, Quantized | Choices):
        tensors["codes"] = posterior.codes.int()
    metadata = {
        "vaekit.latent": VERSION,
        "vaekit.fingerprint": space.fingerprint,
        "vaekit.family": space.family,
        GEOMETRY: json.dumps(space.geometry.as_json()),
        "vaekit.size": json.dumps(latent.size),
        NORMALIZATION: normalization_text(space.normalization),
    }
    with atomic_file(path) as temporary:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_tensors(plain, temporary, metadata, path)


@system_errors()
def load_latent(path: Path) -> LatentFile:
    """Read a latent file.

    Raises:
        NotFound: no such file.
        BadLatent: it is damaged, or not a latent file.
    """
    try:
        file = open_tensors(path)
    except BadCheckpoint as error:
        raise BadLatent(error.found, "Expected a latent file written by `vaekit encode`.", NOT_LATENTS) from error
    if file.metadata.get("vaekit.latent") not in READABLE or "mean" not in file.specs:
        raise BadLatent(
            f"{path} is a weights file, or holds latents of another program.",
            f"Expected a latent file of version {' or '.join(READABLE)}, written by `vaekit encode`.",
            "Encode the item again with `vaekit encode`.",
        )
    tensors = file.read(name for name in TENSORS if name in file.specs)
    space, size = read_facts(path, file.metadata, tensors["mean"])
    return LatentFile(read_posterior(path, tensors), space, size)


@system_errors()
def find_latents(paths: Sequence[Path]) -> list[Path]:
    """Replace each folder among `paths` by the latent files in it, sorted; files are returned as given.

    Raises:
        NotFound: a folder holds no latent files.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if os.path.isdir(path) else [path]  # noqa: PTH112 (names of any length)
        if not inside:
            raise NotFound(f"The folder {path} holds no latent files (*{SUFFIX}).", "", "Give the files themselves.")
        files += inside
    return files


def read_posterior(path: Path, tensors: Mapping[str, Tensor]) -> Posterior:
    """Construct the posterior from the tensors of a file.

    Raises:
        BadLatent: shapes or dtypes are invalid, or values are non-finite.
    """
    mean, log_variance, codes = (tensors.get(name) for name in TENSORS)
    assert mean is not None
    values = [tensor for tensor in (mean, log_variance) if tensor is not None]
    if not all(all_finite_and_shaped(tensor, mean.shape) for tensor in values):
        raise BadLatent(
            f"The latents in {path} have shape {list(mean.shape)} and dtype {mean.dtype}, or non-finite values.",
            "Expected finite floating-point values of shape (items, channels, *size).",
            "Encode the item again with `vaekit encode`.",
        )
    if log_variance is not None:
        return DiagonalGaussian(mean, log_variance)
    if codes is None:
        return Point(mean)
    if not are_codes(codes, mean):
        raise BadLatent(
            f"The codes in {path} have shape {list(codes.shape)} and dtype {codes.dtype}, or are negative.",
            f"Expected indices of shape {[len(mean), *mean.shape[2:]]}, or [{len(mean)}, n, ...] for n codes at each "
            "position.",
            "Encode the item again with `vaekit encode`.",
        )
    return Quantized(mean, codes.long(), mean)


def all_finite_and_shaped(tensor: Tensor, shape: torch.Size) -> bool:
    """Whether this is a non-empty tensor of finite values in the shape of the mean."""
    floating = tensor.dtype in DTYPES and tensor.numel() > 0
    return tensor.shape == shape and floating and bool(tensor.isfinite().all())


def are_codes(codes: Tensor, mean: Tensor) -> bool:
    """Whether this holds indices for each latent position: (b, *latent_size) or (b, n, *latent_size)."""
    items, positions = len(mean), mean.shape[2:]
    shaped = codes.shape == (items, *positions) or (codes.dim() == mean.dim() and codes.shape[2:] == positions)
    whole = codes.dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)
    return shaped and whole and codes.shape[:1] == (items,) and codes.numel() > 0 and bool((codes >= 0).all())


def read_facts(path: Path, metadata: Mapping[str, str], mean: Tensor) -> tuple[LatentOrigin, tuple[int, ...]]:
    """The VAE that encoded the latents of a file, and the size of the item.

    Raises:
        BadLatent: the metadata is invalid or does not match the latents.
    """
    try:
        geometry = read_geometry(metadata, mean)
        size = tuple(map(operator.index, json.loads(metadata["vaekit.size"])))
        maker, family = metadata["vaekit.fingerprint"], printable(metadata["vaekit.family"])
        if not FINGERPRINT.fullmatch(maker):
            raise ValueError(f"its fingerprint is {printable(maker)!r}")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise BadLatent(
            f"The metadata of {path} does not identify its VAE ({printable(f'{type(error).__name__}: {error}')}).",
            "Expected the metadata that `vaekit encode` writes.",
            "Encode the item again with `vaekit encode`.",
        ) from error
    if mean.dim() != 2 + geometry.axes or mean.shape[1] != geometry.latent_channels:
        raise BadLatent(
            f"The latents in {path} have shape {list(mean.shape)}.",
            f"Expected {counted(geometry.latent_channels, 'channel')} and "
            f"{counted(geometry.axes, 'axis', 'axes')}, as in its metadata.",
            "Encode the item again with `vaekit encode`.",
        )
    if geometry.axes and len(mean) != 1:
        raise BadLatent(
            f"{path} holds the latents of {counted(len(mean), 'item')} of {counted(geometry.axes, 'axis', 'axes')}.",
            "Expected one: only items without axes, such as rows of a table, share a file.",
            "Encode the item again with `vaekit encode`.",
        )
    largest = geometry.size_of(mean.shape[2:])
    if len(size) != geometry.axes or not all(0 < each <= most for each, most in zip(size, largest, strict=True)):
        raise BadLatent(
            f"The metadata of {path} gives its item the size {size_text(size)}.",
            f"Expected at most {size_text(largest)} for these latents.",
            "Encode the item again with `vaekit encode`.",
        )
    normalization = read_normalization(metadata)
    known = normalization if normalization is not None and normalization.fits(geometry.latent_channels) else None
    return LatentOrigin(maker, family, geometry, known), size


def read_geometry(metadata: Mapping[str, str], mean: Tensor) -> Geometry:
    """The geometry of the VAE that encoded the latents.

    Raises:
        KeyError, ValueError, RecursionError: the metadata holds no valid geometry.
    """
    if metadata["vaekit.latent"] == VERSION_1:
        factor = int(metadata["vaekit.factor"])
        return Geometry(CHANNELS_V1, mean.shape[1] if mean.dim() > 1 else 0, (factor, factor))
    geometry = Geometry.from_json(json.loads(metadata[GEOMETRY]))
    if geometry is None:
        raise ValueError(f"its geometry is {printable(metadata[GEOMETRY], 100)!r}")
    return geometry


def check_readable(path: Path, encoder: LatentOrigin, given: LatentOrigin) -> str | None:
    """Check that a VAE can decode latents of another: same weights, or same channels, factor and normalization.

    Returns:
        A warning if the normalizations are not both known and nothing else differs; else None.

    Raises:
        LatentMismatch: the latent spaces differ.
    """
    if encoder.fingerprint == given.fingerprint:
        return None
    differing = [
        f"{name} {file} instead of {vae}"
        for name, file, vae in (
            ("channels", encoder.geometry.latent_channels, given.geometry.latent_channels),
            ("factor", encoder.geometry.factor_text, given.geometry.factor_text),
            ("chunks of", encoder.geometry.chunk, given.geometry.chunk),
            ("overlap", encoder.geometry.overlap, given.geometry.overlap),
        )
        if file != vae
    ]
    file_norm, vae_norm = encoder.normalization, given.normalization
    if (
        file_norm is not None
        and vae_norm is not None
        and not file_norm.is_close(vae_norm, channels=given.geometry.latent_channels)
    ):
        differing.append("different normalizations")
    if differing:
        raise LatentMismatch(
            f"{path} was encoded by a {encoder}, and the given VAE is a {given}: {'; '.join(differing)}.",
            "Expected the VAE that encoded the latents, or one with the same channels, factor and normalization.",
            f"Decode with {encoder.owners or 'that VAE'}, or encode the item again with this one.",
        )
    if file_norm is None or vae_norm is None:
        return f"{path} was encoded by another VAE, which may have another latent space: {encoder}."
    return None
