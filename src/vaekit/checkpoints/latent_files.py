"""Latent files: what an encoder said of an image, and which VAE it was.

A safetensors file with `mean` (1, z, i, j) and, for a Gaussian posterior, `log_variance`, both raw and in fp32, so
that sampling stays possible. Of other posteriors only the most probable latent is kept: of a vector quantizer its
codebook vectors without their indices, of choices the chosen ones without their probabilities. The metadata holds the
VAE's fingerprint, family, normalization and factor, and the size of the image in pixels.
"""

import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.catalog.entries import latent_spaces_with
from vaekit.checkpoints.save import family_and_config, write_tensors
from vaekit.distributions import DiagonalGaussian, Point, Posterior
from vaekit.errors import BadCheckpoint, BadLatent, LatentMismatch, NotFound, printable
from vaekit.formats.open import open_tensors
from vaekit.identification.fingerprint import fingerprint
from vaekit.identification.metadata import NORMALIZATION, normalization_text, read_normalization
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

VERSION = "2"
READABLE = ("1", VERSION)
"""Version 1 has the normalization under the key that `metadata.read_normalization` knows as the old one."""
SUFFIX = ".latent.safetensors"
FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class LatentOrigin:
    """The facts that make latents readable: which VAE made them, and what they look like."""

    fingerprint: str
    family: str
    channels: int
    factor: int
    normalization: LatentNormalization | None

    @property
    def owners(self) -> str:
        """Whose latents these may be, by family, channels and normalization; empty where nobody's are like them."""
        fitting = latent_spaces_with(self.channels, self.family, self.normalization)
        return " or ".join(kind.name for kind in fitting)

    def __str__(self) -> str:
        normalization = "unknown normalization" if self.normalization is None else str(self.normalization)
        like = f" like {self.owners}" if self.owners else ""
        facts = f"{self.channels} channels, 1/{self.factor} size, {normalization}"
        return f"{self.family!r} VAE{like} {self.fingerprint[:10]} ({facts})"


@dataclass(frozen=True)
class LatentFile:
    """One image's posterior over raw latents, and where it came from."""

    posterior: Posterior
    space: LatentOrigin
    height: int
    width: int


def origin_of(vae: VAE) -> LatentOrigin:
    """The latent space of a VAE. Hashes the weights: ask once for many images."""
    family, config = family_and_config(vae)
    return LatentOrigin(fingerprint(vae), family.name, config.latent_channels, config.factor, vae.normalization)


def save_latent(path: Path, latent: LatentFile) -> None:
    """Write one latent file, whole or not at all.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    posterior, space = latent.posterior, latent.space
    tensors = {"mean": posterior.mode}
    if isinstance(posterior, DiagonalGaussian):
        tensors["log_variance"] = posterior.log_variance
    metadata = {
        "vaekit.latent": VERSION,
        "vaekit.fingerprint": space.fingerprint,
        "vaekit.family": space.family,
        "vaekit.factor": str(space.factor),
        "vaekit.size": json.dumps([latent.height, latent.width]),
        NORMALIZATION: normalization_text(space.normalization),
    }
    with atomic_file(path) as temporary:
        plain = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()}
        write_tensors(plain, temporary, metadata, path)


def load_latent(path: Path) -> LatentFile:
    """Read a latent file.

    Raises:
        NotFound: no such file.
        BadLatent: it is damaged, or something else.
    """
    try:
        file = open_tensors(path)
    except BadCheckpoint as error:
        raise BadLatent(error.found, "Expected a latent file, as `vaekit encode` writes it.", error.remedy) from error
    if file.metadata.get("vaekit.latent") not in READABLE or "mean" not in file.specs:
        raise BadLatent(
            f"{path} is a weights file, or latents of another program.",
            f"Expected a latent file of version {' or '.join(READABLE)}, as `vaekit encode` writes it.",
            "Encode the image again with `vaekit encode`.",
        )
    tensors = file.read(name for name in ("mean", "log_variance") if name in file.specs)
    return LatentFile(read_posterior(path, tensors), *read_facts(path, file.metadata, tensors["mean"]))


def find_latents(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, as given, and in place of each folder the latent files in it, sorted.

    Raises:
        NotFound: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise NotFound(f"The folder {path} holds no latent files (*{SUFFIX}).", "", "Name the files themselves.")
        found += inside
    return found


def read_posterior(path: Path, tensors: Mapping[str, Tensor]) -> Posterior:
    mean, log_variance = tensors["mean"], tensors.get("log_variance")
    numbers = [tensor for tensor in (mean, log_variance) if tensor is not None]
    if (
        mean.dim() != 4
        or mean.shape[0] != 1
        or not all(all_finite_and_shaped(tensor, mean.shape) for tensor in numbers)
    ):
        raise BadLatent(
            f"The latents in {path} have shape {list(mean.shape)} and dtype {mean.dtype}, or are not finite.",
            "Expected finite numbers of shape (1, channels, rows, columns).",
            "Encode the image again with `vaekit encode`.",
        )
    return Point(mean) if log_variance is None else DiagonalGaussian(mean, log_variance)


def all_finite_and_shaped(tensor: Tensor, shape: torch.Size) -> bool:
    """Whether these are finite numbers, some at least, in the shape that the mean has."""
    floating = tensor.is_floating_point() and tensor.numel() > 0
    return tensor.shape == shape and floating and bool(tensor.isfinite().all())


def read_facts(path: Path, metadata: Mapping[str, str], mean: Tensor) -> tuple[LatentOrigin, int, int]:
    try:
        factor = int(metadata["vaekit.factor"])
        height, width = map(operator.index, json.loads(metadata["vaekit.size"]))
        maker, family = metadata["vaekit.fingerprint"], printable(metadata["vaekit.family"])
        if not FINGERPRINT.fullmatch(maker):
            raise ValueError(f"its fingerprint is {printable(maker)!r}")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise BadLatent(
            f"{path} does not say which VAE made it ({printable(f'{type(error).__name__}: {error}')}).",
            "Expected the metadata that `vaekit encode` writes.",
            "Encode the image again with `vaekit encode`.",
        ) from error
    if not (0 < height <= mean.shape[2] * factor and 0 < width <= mean.shape[3] * factor):
        raise BadLatent(
            f"{path} says that its image has {width}x{height} pixels.",
            f"Expected at most {mean.shape[3] * factor}x{mean.shape[2] * factor} for these latents.",
            "Encode the image again with `vaekit encode`.",
        )
    normalization = read_normalization(metadata)
    channels = mean.shape[1]
    known = normalization if normalization is not None and normalization.fits(channels) else None
    return LatentOrigin(maker, family, channels, factor, known), height, width


def check_readable(path: Path, made_by: LatentOrigin, given: LatentOrigin) -> str | None:
    """Whether a VAE can read latents that another made: same weights, or same channels, factor and normalization.

    Returns:
        A caution in words where nothing speaks against it but the normalizations are not both known; else None.

    Raises:
        LatentMismatch: the spaces differ.
    """
    if made_by.fingerprint == given.fingerprint:
        return None
    differing = [
        f"{name} {file} against {vae}"
        for name, file, vae in (
            ("channels", made_by.channels, given.channels),
            ("factor", made_by.factor, given.factor),
        )
        if file != vae
    ]
    theirs, ours = made_by.normalization, given.normalization
    if theirs is not None and ours is not None and not theirs.is_close(ours, channels=given.channels):
        differing.append("different normalizations")
    if differing:
        raise LatentMismatch(
            f"{path} was made by a {made_by}, and the VAE given is a {given}: {'; '.join(differing)}.",
            "Expected the VAE that made the latents, or one with the same channels, factor and normalization.",
            f"Decode with {made_by.owners or 'that VAE'}, or encode the image again with this one.",
        )
    if theirs is None or ours is None:
        return f"{path} was made by another VAE, and whether the two share a latent space cannot be told: {made_by}."
    return None
