"""Read the files of another program one by one: which of their latents a VAE made, and what a cache states of them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadLatent, LatentMismatch, VaekitError, counted
from vaekit.latent_cache.foreign.audit import ImageSize, faults
from vaekit.latent_cache.foreign.convert import fits_shape, spaces_of, stored_shape, to_raw
from vaekit.latent_cache.foreign.likely import ChannelSums
from vaekit.latent_cache.foreign.records import CacheFormat, StoredLatents, Variant
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import Rejected
from vaekit.reading import open_file


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
