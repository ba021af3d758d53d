"""Turn a folder of another program's files into a cache of latents."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_folder
from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadLatent, LatentMismatch, NotFound, VaekitError, counted, shorten
from vaekit.latent_cache.description import CacheDescription, write_description
from vaekit.latent_cache.foreign.audit import faults
from vaekit.latent_cache.foreign.convert import check_normalization, fits_shape, spaces_of, stored_shape, to_raw
from vaekit.latent_cache.foreign.find import claim, files_under
from vaekit.latent_cache.foreign.likely import ChannelStatistics, ChannelSums, measured
from vaekit.latent_cache.foreign.records import CacheFormat, StoredLatents, Variant
from vaekit.latent_cache.item_list import ListedItem, write_items, write_quarantine
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import Rejected, ShardLatents, write_shard
from vaekit.reading import open_file

SHARD_ITEMS = 512
DTYPE, POSTERIOR = "fp32", "point"
"""Of imported caches: the programs store one sample of each posterior, most of them in fp32."""
ImageSize = Callable[[Path], tuple[int, int] | None]
"""The (height, width) of an image file; None if it cannot be read."""


@dataclass(frozen=True)
class Place:
    """Where latents are: an entry of a file."""

    path: Path
    entry: int


@dataclass(frozen=True)
class FoundItem:
    """Latents of an image that can be imported."""

    item: CachedItem
    place: Place
    flipped: Place | None = None
    """Where the latents of the mirrored image are, if they are in an entry of their own."""
    has_flip: bool = False


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


@dataclass
class Importer:
    """Imports the files of one format and family, made by one VAE."""

    root: Path
    origin: LatentOrigin
    format: CacheFormat
    image_size: ImageSize
    wanted: Variant | None = None
    """The family that the user chose; files of others are left alone."""
    variant: Variant | None = None
    """The family of the files."""
    sums: ChannelSums = field(default_factory=ChannelSums)
    read: int = 0
    """Entries that can be used."""
    rejected: list[Rejected] = field(default_factory=list)
    digests: dict[Path, str] = field(default_factory=dict)

    def found(self, path: Path) -> Iterator[tuple[StoredLatents, FoundItem]]:
        """The usable latents of a file; others are added to `rejected`.

        Raises:
            LatentMismatch: another VAE made them, or several families are in the folder.
        """
        label = path.relative_to(self.root).as_posix()
        try:
            entries = self.format.read(path)
        except BadLatent as error:
            self.rejected.append(Rejected("", label, error.found))
            return
        for number, entry in enumerate(entries):
            if self.wanted is not None and entry.variant.name != self.wanted.name:
                continue
            self.check_family(path, entry)
            reason = next((phrase for _, phrase in faults(entry)), None)
            try:
                raw = None if reason else to_raw(entry.latents, entry.variant, self.origin)
            except VaekitError as error:
                reason = error.found
            if reason or raw is None:
                self.rejected.append(Rejected("", label, str(reason)))
                continue
            self.sums.add(entry.latents)
            self.read += 1
            yield entry, self.item(path, entry, number, raw)

    def check_family(self, path: Path, entry: StoredLatents) -> None:
        """Check that latents are of the same family as the others, and that the VAE is one of that family.

        Raises:
            LatentMismatch: they are not.
        """
        if self.variant is None:
            self.variant = entry.variant
        if entry.variant.name != self.variant.name:
            raise LatentMismatch(
                f"{self.root} holds latents of {self.format.name}:{self.variant.name}, and {path} those of "
                f"{self.format.name}:{entry.variant.name}.",
                "Expected latents of one family: a cache holds those of one VAE.",
                f"Choose one with `--format {self.format.name}:{self.variant.name}`, or move the others away.",
            )
        marked = None if entry.mark is None else entry.mark.fingerprint
        if marked == self.origin.fingerprint:
            return
        reason = self.mismatch(entry.variant)
        if marked is not None or reason:
            raise LatentMismatch(
                f"{path} was not made by the given VAE, a {self.origin}: "
                f"{reason or f'it states that {str(marked)[:10]} made it'}.",
                "Expected the VAE that made the files.",
                "Give that one with --vae, or cache the data again with this one.",
            )

    def mismatch(self, variant: Variant) -> str:
        """Why latents of a family cannot be the VAE's, as a phrase; empty if they can."""
        if not fits_shape(self.origin, variant):
            channels, factor = stored_shape(self.origin, variant)
            return (
                f"{self.format.name}:{variant.name} has {counted(variant.channels, 'channel')} at 1/{variant.factor} "
                f"size, and the VAE {channels} at 1/{factor}"
            )
        spaces = spaces_of(self.origin)
        if spaces and variant.spaces and not set(spaces) & set(variant.spaces):
            return (
                f"they are latents of {' or '.join(variant.spaces)}, and the VAE's are those of {' or '.join(spaces)}"
            )
        return ""

    def item(self, path: Path, entry: StoredLatents, number: int, raw: Tensor) -> FoundItem:
        """What the cache will state of an item."""
        source = self.format.source(path, entry.name)
        known = None if source.image is None else self.image_size(source.image)
        image = source.image
        geometry = self.origin.geometry
        bucket = geometry.size_of(raw.shape[1:])
        size = entry.size or known or (bucket[-2], bucket[-1])
        frames = bucket[:-2]
        folder = path.parent if image is None else image.parent
        inner = folder.relative_to(self.root).as_posix() if folder.is_relative_to(self.root) else "."
        name = entry.name if image is None else image.name
        cached = CachedItem(
            content_key(raw) if image is None else self.digest(image),
            name if inner == "." else f"{inner}/{name}",
            (*frames, *size),
            bucket,
            label=None if inner == "." else inner.split("/")[0],
            caption=source.caption,
        )
        return FoundItem(cached, Place(path, number), has_flip=entry.flipped is not None)

    def digest(self, image: Path) -> str:
        """The SHA-256 of an image file."""
        if image not in self.digests:
            with open_file(image) as file:
                self.digests[image] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.digests[image]

    def raw(self, found: FoundItem) -> tuple[Tensor, Tensor | None]:
        """The raw latents of an item and of its mirrored image, read again."""
        entry = self.format.read(found.place.path)[found.place.entry]
        other = None if found.flipped is None else self.format.read(found.flipped.path)[found.flipped.entry]
        mirrored = entry.flipped if other is None else other.latents
        latents = to_raw(entry.latents, entry.variant, self.origin)
        return latents, None if mirrored is None else to_raw(mirrored, entry.variant, self.origin)


def content_key(raw: Tensor) -> str:
    """A key of latents whose image is unknown: the SHA-256 of their shape and values."""
    return hashlib.sha256(f"{list(raw.shape)}".encode() + raw.contiguous().numpy().tobytes()).hexdigest()


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


def files_of(folder: Path, wanted: tuple[CacheFormat, Variant | None] | None) -> tuple[list[Path], CacheFormat]:
    """The files of one format.

    Raises:
        NotFound: there are none.
        LatentMismatch: there are several formats, and none was chosen.
    """
    by_format: dict[str, tuple[CacheFormat, list[Path]]] = {}
    for path in files_under(folder):
        found = claim(path)
        if found is not None and (wanted is None or wanted[0] is found):
            by_format.setdefault(found.name, (found, []))[1].append(path)
    if not by_format:
        what = f"files of {wanted[0].title}" if wanted else "cached latents of a program that vaekit knows"
        raise NotFound(f"{folder} holds no {what}.", "Expected a folder of them.", "Check the path.")
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
