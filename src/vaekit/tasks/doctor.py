"""Examine the health of a VAE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.catalog.entries import CatalogEntry
from vaekit.doctor.examine import CHECKS, examine
from vaekit.doctor.findings import Finding, worst
from vaekit.doctor.observe import image_side
from vaekit.domains.images.preparation import square
from vaekit.domains.images.read import find_images, read_image
from vaekit.errors import VaekitError
from vaekit.geometry import Geometry
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
    """The user's images that were used."""
    failures: tuple[Failure, ...]
    """Images that could not be read."""
    note: str = ""
    """Which of several sets of weights was examined; empty if the file holds one."""


def doctor(
    model: ModelOptions, images: Sequence[Path] = (), limit: int = 16, progress: Progress = no_progress
) -> Diagnosis:
    """Run all checks on the CPU, on built-in images and on the user's.

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
    pixels, failures = read_images(images, vae.geometry, limit) if images else (None, [])
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


def read_images(paths: Sequence[Path], geometry: Geometry, limit: int) -> tuple[Tensor | None, list[Failure]]:
    """Some of the images as squares of the side that the checks use, and those that cannot be read."""
    files = list(find_images(paths))
    count = min(limit, len(files))
    images, failures = [], []
    for path in (files[i * len(files) // count] for i in range(count)):
        try:
            images.append(square(read_image(path).pixels, image_side(geometry)))
        except VaekitError as error:
            failures.append(Failure(str(path), str(error)))
    return torch.cat(images) if images else None, failures
