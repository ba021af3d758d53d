"""Write the latents of a cache as another program keeps them."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Generator, Tensor

from vaekit.distributions import DiagonalGaussian
from vaekit.errors import BadCache, BadLatent, CannotWrite
from vaekit.latent_cache.foreign.convert import choose, mark_of, to_stored
from vaekit.latent_cache.foreign.find import format_named
from vaekit.latent_cache.foreign.records import CacheFormat, StoredLatents, Variant
from vaekit.latent_cache.open import LatentCache
from vaekit.latent_cache.records import CachedLatent, Moments

MIRRORED = "mirrored"


@dataclass(frozen=True)
class ExportOptions:
    """What of the posteriors is exported."""

    sampled: bool = False
    """A sample of each posterior instead of its mean."""
    seed: int = 0
    """Of the samples, which also depend on the item's key."""


@dataclass
class Export:
    """What was exported."""

    format: CacheFormat
    variant: Variant
    folder: Path
    written: int = 0
    """Items."""
    files: set[Path] = field(default_factory=set)
    flips: bool = False
    """Whether the latents of mirrored items were written, too."""
    notes: tuple[str, ...] = ()
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Items that were left out, and why."""


def export_cache(
    cache: LatentCache,
    folder: Path,
    name: str,
    options: ExportOptions,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Export:
    """Write every item of a cache.

    Args:
        cache: of latents.
        folder: where the program looks for the files, see `CacheFormat.place`.
        name: of the format, and of its variant if need be: "kohya", "kohya:lumina".
        options: what of the posteriors is written.
        progress: called with the number of finished items and of all.

    Raises:
        BadPlan, LatentMismatch, BadLatent, UnknownNormalization: see `format_named` and `choose`.
        CannotWrite: the folder is the cache, or the disk is full.
    """
    check_apart(cache.folder, folder)
    found, wanted = format_named(name)
    chosen = choose(found, wanted, cache.origin)
    export = Export(found, chosen.variant, folder, notes=chosen.notes)
    mark = mark_of(cache.origin, cache.statistics, chosen.variant)
    with found.writer(folder, mark) as writer:
        for number in range(len(cache)):
            item = cache.items[number]
            try:
                stored = stored_item(cache.read(number), chosen.variant, cache, options)
                export.files.add(writer.add(stored))
                export.written += 1
                export.flips |= found.keeps_flips and stored.flipped is not None
            except (BadLatent, BadCache) as error:
                export.failures.append((item.name, str(error)))
            progress(number + 1, len(cache))
    return export


def check_apart(cache: Path, folder: Path) -> None:
    """Check that an export does not write into the cache itself.

    Raises:
        CannotWrite: it would.
    """
    inner, outer = folder.resolve(), cache.resolve()
    if inner == outer or outer in inner.parents:
        raise CannotWrite(f"{folder} is inside the cache {cache}.", "", "Choose another folder.")


def stored_item(latent: CachedLatent, variant: Variant, cache: LatentCache, options: ExportOptions) -> StoredLatents:
    """One item as a variant stores it.

    Raises:
        BadLatent: the variant cannot hold it.
    """
    item, normalization = latent.item, cache.origin.normalization
    raw = drawn((latent.mean, latent.log_variance), f"{item.key}", options)
    flipped = None if latent.flipped is None else drawn(latent.flipped, f"{item.key}{MIRRORED}", options)
    return StoredLatents(
        item.name,
        variant,
        to_stored(raw, variant, normalization),
        None if flipped is None else to_stored(flipped, variant, normalization),
        size=(item.size[-2], item.size[-1]),
        encoded=(item.bucket[-2], item.bucket[-1]),
        key=item.key,
        label=item.label,
        caption=item.caption,
    )


def drawn(moments: Moments, key: str, options: ExportOptions) -> Tensor:
    """The mean of a posterior, or a sample that depends on the seed and the key only."""
    mean, log_variance = moments
    if log_variance is None or not options.sampled:
        return mean
    digest = hashlib.sha256(f"{options.seed}:{key}".encode()).digest()
    generator = Generator().manual_seed(struct.unpack("<q", digest[:8])[0])
    return DiagonalGaussian(mean[None], log_variance[None]).sample(generator)[0]
