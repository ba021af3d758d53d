"""Turn a folder of another program's files into a cache of latents."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vaekit.atomic import atomic_folder
from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadLatent, CannotWrite, LatentMismatch, counted, shorten
from vaekit.latent_cache.description import CacheDescription, write_description
from vaekit.latent_cache.foreign.audit import ImageSize
from vaekit.latent_cache.foreign.convert import check_normalization
from vaekit.latent_cache.foreign.find import claim, files_under, nothing_recognized
from vaekit.latent_cache.foreign.importer import FoundItem, Importer
from vaekit.latent_cache.foreign.likely import ChannelStatistics, measured
from vaekit.latent_cache.foreign.records import CacheFormat, StoredLatents, Variant
from vaekit.latent_cache.item_list import ListedItem, write_items, write_quarantine
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import Rejected, ShardLatents, write_shard
from vaekit.reading import exists

SHARD_ITEMS = 512
DTYPE, POSTERIOR = "fp32", "point"
"""Of imported caches: the programs store one sample of each posterior, most of them in fp32."""


@dataclass
class Import:
    """What was imported."""

    format: CacheFormat
    variant: Variant
    folder: Path
    items: int = 0
    shards: int = 0
    flips: bool = False
    by_image: int = 0
    """Items whose key is the hash of their image; of others it is that of their latents."""
    notes: list[str] = field(default_factory=list)
    quarantine: list[Rejected] = field(default_factory=list)


def import_files(
    folder: Path,
    out: Path,
    origin: LatentOrigin,
    image_size: ImageSize,
    reference: Sequence[ChannelStatistics] = (),
    wanted: tuple[CacheFormat, Variant | None] | None = None,
    vae: str = "",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Import:
    """Make a cache of the files of another program.

    Args:
        folder: with its subfolders.
        out: the cache, which must not exist.
        origin: the VAE that made the latents.
        image_size: reads the size of an image file.
        reference: statistics of raw latents that this VAE makes, in one or several ways; empty if they are not checked.
        wanted: the format, and the family, of the files to be imported, if the folder holds several.
        vae: its name, for messages.
        progress: called with the number of files that were read and of all.

    Raises:
        NotFound: there are no such files.
        LatentMismatch: another VAE made them, or they are not what their format holds.
        BadLatent: none can be used.
        CannotWrite: `out` is there already, or the disk is full.
    """
    check_free(out)
    files, found_format = files_of(folder, wanted)
    importer = Importer(folder, origin, found_format, image_size, wanted[1] if wanted else None)
    accepted: list[tuple[StoredLatents, FoundItem]] = []
    for number, path in enumerate(files, start=1):
        for entry, found in importer.found(path):
            accepted.append((replace(entry, latents=torch.empty(0), flipped=None), found))
        progress(number, len(files))
    if not accepted or importer.variant is None:
        reasons = shorten(dict.fromkeys(each.reason for each in importer.rejected), 3)
        raise BadLatent(f"No file in {folder} can be imported: {reasons}.", "", "See `vaekit cache --audit`.")
    variant = importer.variant
    check_normalization(origin, variant, found_format)
    report = Import(found_format, variant, out, quarantine=importer.rejected)
    check_statistics(importer, variant, reference, report)
    items = one_for_each_content(paired(accepted, report), report)
    names = [found.item for entry, found in accepted if not entry.mirrored]
    write(out, importer, items, names, report, vae)
    return report


def check_free(out: Path) -> None:
    """Check that a cache can be written, before the files are read.

    Raises:
        CannotWrite: there is something already.
    """
    if exists(out) and (not out.is_dir() or any(out.iterdir())):
        raise CannotWrite(f"{out} exists and is not an empty folder.", "", "Choose another name, or remove it first.")


def files_of(folder: Path, wanted: tuple[CacheFormat, Variant | None] | None) -> tuple[list[Path], CacheFormat]:
    """The files of one format.

    Raises:
        NotFound: there are none.
        LatentMismatch: there are several formats, and none was chosen.
    """
    by_format: dict[str, tuple[CacheFormat, list[Path]]] = {}
    paths = list(files_under(folder))
    for path in paths:
        found = claim(path)
        if found is not None and (wanted is None or wanted[0] is found):
            by_format.setdefault(found.name, (found, []))[1].append(path)
    if not by_format:
        raise nothing_recognized(folder, paths, f"files of {wanted[0].title}" if wanted else "cached latents")
    if len(by_format) > 1:
        held = ", ".join(f"{len(files):,} of {name}" for name, (_, files) in by_format.items())
        raise LatentMismatch(
            f"{folder} holds files of several programs: {held}.", "Expected one.", "Choose it with --format."
        )
    found_format, files = next(iter(by_format.values()))
    return files, found_format


def check_statistics(
    importer: Importer, variant: Variant, reference: Sequence[ChannelStatistics], report: Import
) -> None:
    """Check that latents are distributed as the VAE's, raw or normalized as the format holds them.

    Raises:
        LatentMismatch: they are the other ones.
    """
    normalization = importer.origin.normalization
    if not reference or normalization is None:
        report.notes.append("the statistics of the latents were not compared with those of the VAE")
        return
    expected = measured(reference, variant, normalization, len(importer.sums.total))
    phrase = expected.unlike(importer.sums.statistics(), importer.read)
    if phrase:
        raise LatentMismatch(
            f"The files in {importer.root} do not hold what those of {report.format.name}:{variant.name} do: {phrase}.",
            f"Expected {variant.stored} latents of the given VAE.",
            "Check with which VAE and program version they were made; cache the data again if in doubt.",
        )
    if not expected.near(importer.sums.statistics()):
        report.notes.append(
            "their statistics differ from those of latents that this VAE makes of test images: check that it is the "
            "right one by decoding some"
        )


def paired(accepted: Sequence[tuple[StoredLatents, FoundItem]], report: Import) -> list[FoundItem]:
    """Join latents of mirrored images that are in entries of their own to those of the images."""
    mirrored = {(found.item.name, found.item.bucket): found.place for entry, found in accepted if entry.mirrored}
    plain = [found for entry, found in accepted if not entry.mirrored]
    joined = [
        replace(found, flipped=place, has_flip=True)
        if (place := mirrored.get((found.item.name, found.item.bucket)))
        else found
        for found in plain
    ]
    alone = len(mirrored) - sum(found.flipped is not None for found in joined)
    if alone > 0:
        report.notes.append(f"{counted(alone, 'file')} of mirrored images without the image itself left out")
    return joined


def one_for_each_content(items: Sequence[FoundItem], report: Import) -> list[FoundItem]:
    """The items of different content; of the same image in several sizes, the largest."""
    largest: dict[str, FoundItem] = {}
    for found in items:
        other = largest.get(found.item.key)
        if other is None or positions(found) > positions(other):
            largest[found.item.key] = found
    sizes = len({(found.item.key, found.item.bucket) for found in items})
    if sizes > len(largest):
        report.notes.append(f"{counted(sizes - len(largest), 'smaller size')} of the same images left out")
    return list(largest.values())


def positions(found: FoundItem) -> int:
    """Pixels of the encoded image."""
    return found.item.bucket[-1] * found.item.bucket[-2]


def write(
    out: Path, importer: Importer, items: Sequence[FoundItem], names: Sequence[CachedItem], report: Import, vae: str
) -> None:
    """Write the cache as a whole.

    Raises:
        CannotWrite: the folder is there already, or the disk is full.
    """
    report.flips = all(found.has_flip for found in items)
    if not report.flips and any(found.has_flip for found in items):
        report.notes.append("only some items have latents of the mirrored image, which were left out")
    made = {"imported": f"{report.format.name}:{report.variant.name}"}
    description = CacheDescription(importer.origin, DTYPE, POSTERIOR, "images", made, report.flips, vae=vae)
    by_bucket: dict[tuple[int, ...], list[FoundItem]] = defaultdict(list)
    for found in items:
        by_bucket[found.item.bucket].append(found)
    parts = [
        group[start : start + SHARD_ITEMS]
        for _, group in sorted(by_bucket.items())
        for start in range(0, len(group), SHARD_ITEMS)
    ]
    with atomic_folder(out) as temporary:
        write_description(temporary, description)
        for number, part in enumerate(parts):
            latents = latents_of(importer, part, report.flips)
            write_shard(temporary, f"{number:06d}", description, [found.item for found in part], latents)
        listed = dict.fromkeys(ListedItem(each.name, each.key, each.label, each.caption) for each in names)
        write_items(temporary, listed)
        write_quarantine(temporary, report.quarantine)
    report.items, report.shards = len(items), len(parts)
    hashes = set(importer.digests.values())
    report.by_image = sum(found.item.key in hashes for found in items)


def latents_of(importer: Importer, part: Sequence[FoundItem], flips: bool) -> ShardLatents:
    """The latents of a shard."""
    pairs = [importer.raw(found) for found in part]
    flipped = [mirrored for _, mirrored in pairs if mirrored is not None] if flips else []
    return ShardLatents(
        torch.stack([latents for latents, _ in pairs]),
        flipped=ShardLatents(torch.stack(flipped)) if flips else None,
    )
