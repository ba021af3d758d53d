"""Restore the items of a compressed file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vaekit.codec.archive import Group, read_archive
from vaekit.codec.bits_back import Coding
from vaekit.codec.image_file import is_image_file
from vaekit.codec.sections import damaged
from vaekit.domains.lossless import Restored
from vaekit.errors import ArchiveMismatch
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.lossless_groups import doubled, lossless_items
from vaekit.tasks.model import OpenModel
from vaekit.tasks.verify_compressed import coded_items


def decompress(model: OpenModel, path: Path, out: Path, progress: Progress = no_progress) -> Sequence[Path]:
    """Restore the items of a file; returns the files that were written.

    Args:
        model: the VAE that it was compressed with.
        path: the file.
        out: the folder, or the file for domains that have all items in one.
        progress: called with the number of restored items and of all.

    Raises:
        NotFound, CannotRead, BadArchive: the file is missing, cannot be read, or is damaged.
        ArchiveMismatch: it was compressed with another VAE.
        CannotWrite: the disk is full, or the like.
    """
    if path.is_file() and is_image_file(path):
        raise ArchiveMismatch(
            f"{path.name} is an image that was compressed by a codec.",
            f"This VAE compresses {model.domain.items} without loss.",
            "Name the codec that compressed it: --vae.",
        )
    head, groups = read_archive(path)
    if head.fingerprint != model.origin.fingerprint:
        raise ArchiveMismatch(
            f"{path.name} was compressed with another VAE, {head.fingerprint[:12]} ({head.family}).",
            f"This one is {model.origin.fingerprint[:12]} ({model.origin.family}).",
            "Name the one that compressed it: --vae.",
        )
    lossless = lossless_items(model)
    coding = lossless.coding(doubled(model), head.grid)

    def restored() -> Iterator[Restored]:
        done = 0
        for group in groups:
            yield from _restore(model, coding, group, path)
            progress(done := done + len(group.entries), head.records)

    try:
        return lossless.write(restored(), out)
    except ValueError as error:
        raise damaged(path, str(error)) from error


def _restore(model: OpenModel, coding: Coding, group: Group, path: Path) -> Iterator[Restored]:
    """The items of a group."""
    x = coded_items(coding, group, path)
    items = iter(() if x is None else model.schema.to_items(x))
    for entry in group.entries:
        yield Restored(entry.name, next(items) if entry.coded else None, entry.remainder)
