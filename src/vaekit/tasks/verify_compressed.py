"""Decode a compressed file, and compare it with the items that it was made of."""

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from torch import Tensor

from vaekit.codec.archive import Group, read_archive
from vaekit.codec.bits_back import Coding
from vaekit.codec.chain import chain_items
from vaekit.codec.sections import damaged
from vaekit.errors import BadArchive
from vaekit.tasks.lossless_groups import Taken, doubled, lossless_items
from vaekit.tasks.model import OpenModel


def coded_items(coding: Coding, group: Group, path: Path) -> Tensor | None:
    """The items of a group that the VAE codes, (b, ...); None if there are none.

    Raises:
        BadArchive: the file at the path is damaged.
    """
    coded = sum(each.coded for each in group.entries)
    if not coded:
        return None
    try:
        return chain_items(coding, group.chain, coded)
    except ValueError as error:
        raise damaged(path, str(error)) from error


def verify_file(model: OpenModel, path: Path, groups: Iterable[Taken]) -> None:
    """Decode a file group by group.

    Args:
        model: the VAE.
        path: the file.
        groups: its items, as they are read from their source.

    Raises:
        BadArchive: it has other items.
    """
    head, found = read_archive(path)
    coding = lossless_items(model).coding(doubled(model), head.grid)
    for number, (expected, group) in enumerate(zip_longest((each for each in groups if each.entries), found)):
        if expected is None or group is None or list(expected.entries) != list(group.entries):
            raise _other(f"the names of group {number + 1}")
        x = coded_items(coding, group, path)
        if x is not None and coding.plain(x) != coding.plain(expected.x):
            raise _other(f"items of group {number + 1}")


def _other(what: str) -> BadArchive:
    return BadArchive(
        f"The compressed file does not give {what} back.",
        "Nothing was written.",
        "If the items did not change meanwhile, this is an error of vaekit or of the memory: please report it.",
    )
