"""Examine the health of a VAE."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vaekit.catalog.entries import CatalogEntry
from vaekit.datasets.dataset import FileRecord
from vaekit.doctor.examine import CHECKS, examine
from vaekit.doctor.findings import Finding, worst
from vaekit.doctor.observe import image_side
from vaekit.doctor.sounds import sound_length
from vaekit.domains.audio.schema import in_length
from vaekit.domains.files import files_among
from vaekit.domains.find import domain_of
from vaekit.domains.images.preparation import square
from vaekit.domains.images.read import find_images, read_image
from vaekit.errors import VaekitError
from vaekit.identification.build import Network
from vaekit.identification.identify import identify
from vaekit.identification.resolve import match_file, resolve
from vaekit.library.names import locate_vae
from vaekit.tasks.batch import Failure, Progress, no_progress
from vaekit.tasks.options import ModelOptions
from vaekit.vae import VAE


@dataclass(frozen=True)
class Diagnosis:
    """The findings of the checks."""

    status: str
    """The worst of the findings: "ok", "warning", "wrong", or "skipped" if nothing could be checked."""
    findings: tuple[Finding, ...]
    """In the order of the checks."""
    entry: CatalogEntry | None
    """The catalog entry of these very weights."""
    images: int
    """The user's images, or sounds, that were used."""
    failures: tuple[Failure, ...]
    """Those that could not be read."""
    note: str = ""
    """Which of several sets of weights was examined; empty if the file holds one."""


def doctor(
    model: ModelOptions, images: Sequence[Path] = (), limit: int = 16, progress: Progress = no_progress
) -> Diagnosis:
    """Run all checks on the CPU, on built-in images or sounds and on the user's.

    Args:
        model: the VAE.
        images: files, or folders of them.
        limit: the maximum number of them, spread evenly.
        progress: called with the number of finished checks and of all.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, WrongTensors: the VAE cannot be loaded.
        NotFound: a path does not exist, or a folder holds no images.
    """
    vae, entry = load_with_entry(model)
    read = read_sounds if vae.geometry.axes == 1 else read_images
    pixels, failures = read(images, vae, limit) if images else (None, [])
    findings: list[Finding] = []
    progress(0, len(CHECKS))
    for finding in examine(vae, pixels, entry):
        findings.append(finding)
        progress(len(findings), len(CHECKS))
    count = 0 if pixels is None else len(pixels)
    note = vae.origin.note if vae.origin else ""
    return Diagnosis(worst(findings), tuple(findings), entry, count, tuple(failures), note)


def load_with_entry(model: ModelOptions) -> tuple[VAE, CatalogEntry | None]:
    """The VAE, and the catalog entry of its weights if they are known."""
    with locate_vae(model.vae, model.models) as path:
        network = Network()
        identified = resolve(identify(path, model.weights), padding=model.padding, network=network)
        return network.of(identified), match_file(identified).entry


def read_images(paths: Sequence[Path], vae: VAE, limit: int) -> tuple[Tensor | None, list[Failure]]:
    """Some of the images as squares of the side that the checks use, and those that cannot be read."""
    side = image_side(vae.geometry)
    return read_some(find_images(paths), limit, lambda path: square(read_image(path).pixels, side))


def read_sounds(paths: Sequence[Path], vae: VAE, limit: int) -> tuple[Tensor | None, list[Failure]]:
    """Parts of some of the sounds in the length that the checks use, and sounds that cannot be read."""
    domain, schema = domain_of(vae)
    cut = partial(in_length, samples=sound_length(vae.geometry))
    files = files_among(paths, domain.suffixes, domain.items)
    return read_some(files, limit, lambda path: cut(schema.to_tensor([FileRecord(path)])[0])[None])


def read_some(files: Iterable[Path], limit: int, read: Callable[[Path], Tensor]) -> tuple[Tensor | None, list[Failure]]:
    """Some of the files as a batch, spread evenly, and those that cannot be read."""
    every = list(files)
    count = min(limit, len(every))
    items, failures = [], []
    for path in (every[i * len(every) // count] for i in range(count)):
        try:
            items.append(read(path))
        except VaekitError as error:
            failures.append(Failure(str(path), str(error)))
    return torch.cat(items) if items else None, failures
