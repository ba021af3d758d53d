"""Exchange cached latents with other programs: export, import, and an audit of a folder."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL.ExifTags import Base

from vaekit.checkpoints.latent_files import origin_of
from vaekit.domains.images.read import opened
from vaekit.errors import BadItem, HalfMissing, system_errors
from vaekit.identification.probe_latents import probe_latents
from vaekit.latent_cache.foreign import own
from vaekit.latent_cache.foreign.audit import Audit, audit_files
from vaekit.latent_cache.foreign.export import Export, ExportOptions, export_cache
from vaekit.latent_cache.foreign.find import format_named
from vaekit.latent_cache.foreign.importing import Import, import_files
from vaekit.latent_cache.foreign.likely import ChannelStatistics
from vaekit.latent_cache.open import open_cache
from vaekit.reading import open_file
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.options import LatentOptions, ModelOptions
from vaekit.vae import VAE

MEAN = LatentOptions()
SIDEWAYS = 5
"""The first EXIF orientation with height and width swapped."""


@system_errors()
def export(
    folder: Path, out: Path, name: str, latents: LatentOptions = MEAN, progress: Progress = no_progress
) -> Export:
    """Write a cache of latents as another program keeps them; see `export_cache`.

    Args:
        folder: the cache.
        out: where the program looks for its files.
        name: the format, and the family of models if need be: "kohya", "kohya:lumina".
        latents: means of posteriors, or samples.
        progress: called with the number of finished items and of all.

    Raises:
        NotFound, BadCache: the folder is no cache, or a damaged one.
        BadPlan, LatentMismatch, BadLatent, UnknownNormalization: the format does not exist, or cannot hold the latents.
        CannotWrite: the disk is full, or the folder is the cache itself.
    """
    return export_cache(open_cache(folder), out, name, ExportOptions(latents.sampled, latents.seed), progress)


@system_errors()
def import_latents(
    folder: Path, out: Path, model: ModelOptions, name: str | None = None, progress: Progress = no_progress
) -> Import:
    """Make a cache of another program's files; see `import_files`.

    Args:
        folder: with the files, and the images if they are there.
        out: the new cache.
        model: the VAE that made the latents.
        name: the format, and the family, if the folder holds several.
        progress: called with the number of files that were read and of all.

    Raises:
        NotFound: there are no such files, or no such VAE; see also `ModelOptions.load`.
        LatentMismatch: another VAE made the files, or they are not what their format holds.
        BadLatent: no file can be used.
        CannotWrite: `out` is there already, or the disk is full.
    """
    wanted = None if name is None else format_named(name, reading=True)
    vae = model.load()
    return import_files(folder, out, origin_of(vae), image_size, reference_of(vae), wanted, model.vae, progress)


def reference_of(vae: VAE) -> tuple[ChannelStatistics, ...]:
    """Statistics of the raw latents that a VAE makes of test images: of samples of posteriors, and of their means, of
    which programs store one or the other. Empty if it cannot encode them."""
    try:
        probe = probe_latents(vae)
    except (HalfMissing, BadItem):
        return ()
    stds = [probe.std]
    if probe.covariance:
        stds.append(tuple(math.sqrt(max(0.0, probe.covariance[i][i])) for i in range(len(probe.std))))
    return tuple(ChannelStatistics(probe.mean, std) for std in stds)


def image_size(path: Path) -> tuple[int, int] | None:
    """The (height, width) of an image file, upright; None if it cannot be read. Pixels are not decoded."""
    try:
        with open_file(path) as file, opened(file) as image:
            sideways = image.getexif().get(Base.Orientation, 1) >= SIDEWAYS
            return (image.width, image.height) if sideways else (image.height, image.width)
    except Exception:  # broken images fail in many ways
        return None


@system_errors()
def audit(folder: Path, model: ModelOptions | None = None, progress: Progress = no_progress) -> Audit:
    """Examine a folder of another program's cached latents, or a cache of vaekit.

    Args:
        folder: with its subfolders.
        model: the VAE that should have made the latents, whose normalization is expected; None for what the programs
            expect.
        progress: called with the number of files that were examined and of all.

    Raises:
        NotFound: there is no such folder, or nothing in it is recognized; see also `ModelOptions.load`.
        BadCache: the description of a cache is damaged, or it holds no latents.
    """
    if own.is_cache(folder):
        return own.audit_cache(folder)
    normalization = None if model is None else model.load().normalization
    return audit_files(folder, image_size, normalization, progress)


def audit_json(audit: Audit) -> Mapping[str, Any]:
    """An audit as plain values."""
    return {
        "folder": audit.folder,
        "files": audit.files,
        "items": audit.items,
        "ignored": audit.ignored,
        "formats": dict(sorted(audit.contents.items())),
        "stored": audit.stored,
        "statistics": {
            family: {"mean": list(each.mean), "std": list(each.std)} for family, each in audit.statistics.items()
        },
        "not_judged": audit.not_judged,
        "clean": audit.clean,
        "counts": audit.counts,
        "findings": [{"kind": each.kind, "file": each.file, "message": each.message} for each in audit.findings],
    }


def export_json(export: Export) -> Mapping[str, Any]:
    """An export as plain values."""
    return {
        "format": export.format.name,
        "variant": export.variant.name,
        "stored": str(export.variant.stored),
        "out": str(export.folder),
        "items": export.written,
        "files": len(export.files),
        "flips": export.flips,
        "lost": export.format.loses,
        "notes": list(export.notes),
        "failures": [{"item": name, "error": error} for name, error in export.failures],
    }


def import_json(result: Import) -> Mapping[str, Any]:
    """An import as plain values."""
    return {
        "format": result.format.name,
        "variant": result.variant.name,
        "stored": str(result.variant.stored),
        "out": str(result.folder),
        "items": result.items,
        "shards": result.shards,
        "flips": result.flips,
        "keyed_by_image": result.by_image,
        "notes": result.notes,
        "quarantine": [each.as_json() for each in result.quarantine],
    }
