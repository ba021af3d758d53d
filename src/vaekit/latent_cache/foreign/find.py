"""The formats of other programs, and the files in a folder that they claim."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vaekit.errors import BadPlan, NotFound, counted, did_you_mean, printable, shorten
from vaekit.latent_cache.description import DESCRIPTION
from vaekit.latent_cache.foreign.ai_toolkit import AI_TOOLKIT
from vaekit.latent_cache.foreign.comfyui import COMFYUI
from vaekit.latent_cache.foreign.kohya import KOHYA
from vaekit.latent_cache.foreign.mds import MDS_SHARDS
from vaekit.latent_cache.foreign.musubi import MUSUBI
from vaekit.latent_cache.foreign.records import CacheFormat, Variant

FORMATS: tuple[CacheFormat, ...] = (KOHYA, MUSUBI, AI_TOOLKIT, COMFYUI, MDS_SHARDS)
"""The first that claims a file reads it."""
PICKLES = (".pt", ".pth", ".pkl")
"""Endings of caches that are pickles, such as SimpleTuner's, OneTrainer's and diffusion-pipe's; never opened."""


def format_named(name: str, reading: bool = False) -> tuple[CacheFormat, Variant | None]:
    """A format on the command line, such as "kohya" or "kohya:flux", with its variant if one is given.

    Args:
        name: as given.
        reading: whether files are read; not all variants are written.

    Raises:
        BadPlan: there is no such format, or it has no such variant.
    """
    first, _, second = name.strip().lower().partition(":")
    found = next((each for each in FORMATS if each.name == first), None)
    if found is None:
        names = [each.name for each in FORMATS]
        raise BadPlan(
            f"There is no cache format {name!r}.", f"Expected {', '.join(names)}.", did_you_mean(first, names)
        )
    if not second:
        return found, None
    variant = next((each for each in found.variants if each.name == second), None)
    if variant is None or (variant.no_export and not reading):
        usable = [each.name for each in found.variants if reading or not each.no_export]
        why = f", since {variant.no_export}" if variant else ""
        raise BadPlan(
            f"{found.title} has no latents {second!r} that can be {'read' if reading else 'written'}{why}.",
            f"Expected {first} alone, or with one of: {', '.join(usable)}.",
            did_you_mean(second, usable),
        )
    return found, variant


def claim(path: Path) -> CacheFormat | None:
    """The format that claims a file by its name."""
    return next((each for each in FORMATS if each.claims(path)), None)


def files_under(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders in a fixed order, without hidden ones and without following links to
    folders.

    Raises:
        NotFound: there is no such folder.
    """
    if not folder.is_dir():
        found = f"{folder} is a file." if folder.exists() else f"There is no folder {folder}."
        raise NotFound(found, "Expected a folder with cached latents.", "Check the path.")
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def nested_caches(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """The caches of vaekit below a folder, by the files in it."""
    return [path.parent for path in paths if path.name == DESCRIPTION and path.parent != folder]


def nothing_recognized(folder: Path, paths: Sequence[Path], what: str = "cached latents") -> NotFound:
    """The error for a folder without a file that a format claims.

    Args:
        folder: that was searched.
        paths: the files in it and its subfolders.
        what: was looked for, in the plural.
    """
    endings = Counter(path.suffix.lower() or "without an ending" for path in paths)
    listing = shorten((f"{count:,} {printable(ending, 20)}" for ending, count in endings.most_common()), 8)
    held = f"{counted(len(paths), 'file')} ({listing})" if paths else "no files"
    inside, shards = nested_caches(folder, paths), [path for path in paths if path.suffix == MDS_SHARDS.ending]
    remedy = "Check the path, and that the files were not renamed; docs/cache-formats.md lists the names."
    if inside:
        remedy = f"Give {inside[0]}, which is a cache of vaekit."
    elif shards:
        remedy = f"Shards of {MDS_SHARDS.title} are written and not read: give the cache that they were made of."
    titles = ", ".join(each.title for each in FORMATS if each is not MDS_SHARDS)
    return NotFound(
        f"No {what} were recognized in {folder}: it holds {held}.",
        f"Expected a cache of vaekit ({DESCRIPTION} and its shards), or files of {titles} under the names that they "
        "have there.",
        remedy,
    )


def _raise(error: OSError) -> None:
    raise error
