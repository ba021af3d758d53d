"""Audit a folder of cached latents: what is wrong with which file."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vaekit.errors import BadLatent, counted, shorten
from vaekit.geometry import size_text
from vaekit.latent_cache.foreign.find import PICKLES, claim, files_under, nested_caches, nothing_recognized
from vaekit.latent_cache.foreign.likely import (
    LEAST_POSITIONS,
    ChannelStatistics,
    ChannelSums,
    expectation,
    statistics_of,
)
from vaekit.latent_cache.foreign.names import images_beside
from vaekit.latent_cache.foreign.records import CacheFormat, StoredLatents
from vaekit.normalization import LatentNormalization

ImageSize = Callable[[Path], tuple[int, int] | None]
"""The (height, width) of an image file, upright; None if it cannot be read."""

UNREADABLE, NON_FINITE, ZEROS, SIZE = "unreadable", "non-finite", "zeros", "size"
NORMALIZATION, DUPLICATE, MIXED = "normalization", "duplicate", "mixed"
KINDS = {
    UNREADABLE: "damaged, truncated or pickled",
    NON_FINITE: "NaN or infinite values",
    ZEROS: "zeros: musubi-tuner replaces NaN by 0",
    SIZE: "wrong sizes",
    NORMALIZATION: "wrong normalization, by their statistics",
    DUPLICATE: "several files or images of one name",
    MIXED: "several programs or VAEs in one folder",
}
"""The kinds of findings, in the order in which they are listed."""
ZERO_SHARE = 0.1
"""The share of values that are exactly 0 from which latents are reported: those of images have hardly any."""
TALL, WIDE = 0.9, 1.1
"""Ratios of width to height below and above which an image is upright or lies."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with one file."""

    kind: str
    file: str
    """Relative to the folder."""
    message: str


@dataclass
class Audit:
    """What a folder holds, and what is wrong with it."""

    folder: str
    files: int = 0
    """That were examined."""
    items: int = 0
    """Latents of images in them."""
    ignored: int = 0
    """Other files."""
    contents: Counter[str] = field(default_factory=Counter)
    """The number of files of each format and family: "kohya:sdxl"."""
    stored: dict[str, str] = field(default_factory=dict)
    """Which latents each family stores: "raw" or "normalized"."""
    statistics: dict[str, ChannelStatistics] = field(default_factory=dict)
    """Of the finite latents of each family."""
    not_judged: list[str] = field(default_factory=list)
    """Families whose normalization statistics do not tell, and what else was not examined, as phrases."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings of each kind."""
        found = Counter(each.kind for each in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def audit_files(
    folder: Path,
    image_size: ImageSize,
    given: LatentNormalization | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Audit:
    """Examine the caches of other programs in a folder.

    Args:
        folder: with its subfolders.
        image_size: reads the size of an image file.
        given: the normalization of the VAE that should have made the latents, if the user names it.
        progress: called with the number of files that were examined and of all.

    Raises:
        NotFound: there is no such folder, or no file in it is recognized.
    """
    audit = Audit(str(folder))
    sums: dict[str, ChannelSums] = defaultdict(ChannelSums)
    examples: dict[str, StoredLatents] = {}
    owners: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    suspects: dict[str, list[Finding]] = defaultdict(list)
    makers: dict[str, dict[str, str]] = defaultdict(dict)
    paths = list(files_under(folder))
    for number, path in enumerate(paths, start=1):
        progress(number, len(paths))
        name = path.relative_to(folder).as_posix()
        found = claim(path)
        if found is None:
            if path.suffix.lower() in PICKLES:
                pickled = "it is a pickle, which could run code, and was not opened"
                audit.findings.append(Finding(UNREADABLE, name, pickled))
            else:
                audit.ignored += 1
            continue
        audit.files += 1
        try:
            entries = found.read(path)
        except BadLatent as error:
            audit.findings.append(Finding(UNREADABLE, name, error.found.removeprefix(f"{path}: ").rstrip(".")))
            continue
        for entry in entries:
            audit.items += 1
            family = family_of(found, entry)
            audit.stored[family] = entry.variant.stored
            if entry.mark is not None:
                makers[family].setdefault(entry.mark.fingerprint, name)
            wrong = [*faults(entry), *changes(found, path, entry, image_size)]
            audit.findings += (Finding(kind, name, message) for kind, message in wrong)
            if not {NON_FINITE, ZEROS} & {kind for kind, _ in wrong}:
                sums[family].add(entry.latents)
                examples.setdefault(family, entry)
                message = unlike(entry, given)
                if message:
                    suspects[family].append(Finding(NORMALIZATION, name, message))
            several = len(entries) > 1 or entry.encoded is not None  # sizes are part of the name
            suffix = size_text(tuple(entry.latents.shape[-2:])) if several else ""
            place = path.parent.relative_to(folder).as_posix()
            owners[(place, family, f"{entry.name}{' (mirrored)' * entry.mirrored}", suffix)].append(name)
        audit.contents.update({family_of(found, entry) for entry in entries})
    if not audit.files and not audit.findings:
        raise nothing_recognized(folder, paths)
    audit.not_judged += [f"{each} is a cache of vaekit: audit it by itself" for each in nested_caches(folder, paths)]
    audit.statistics = {family: each.statistics() for family, each in sums.items()}
    audit.findings += normalization_findings(audit, examples, suspects, given)
    audit.findings += duplicates(folder, owners)
    audit.findings += mixtures(audit.contents, makers)
    return in_order(audit)


def in_order(audit: Audit) -> Audit:
    """An audit with its findings in the order of `KINDS`."""
    order = list(KINDS)
    audit.findings.sort(key=lambda each: (order.index(each.kind), each.file))
    return audit


def family_of(found: CacheFormat, entry: StoredLatents) -> str:
    """The format and the family: "kohya:sdxl"."""
    return f"{found.name}:{entry.variant.name}"


def faults(entry: StoredLatents) -> Iterator[tuple[str, str]]:
    """What is wrong with latents by themselves: kinds and phrases."""
    for name, latents in (("latents", entry.latents), ("mirrored latents", entry.flipped)):
        if latents is None:
            continue
        bad = int((~latents.isfinite()).sum())
        if bad:
            yield NON_FINITE, f"{bad:,} of {latents.numel():,} {name} are NaN or infinite"
        zeros = int((latents == 0).sum())
        if zeros == latents.numel():
            yield ZEROS, f"all {name} are 0"
        elif zeros >= ZERO_SHARE * latents.numel():
            yield ZEROS, f"{zeros:,} of {latents.numel():,} {name} are 0"
    for phrase in entry.wrong_sizes:
        yield SIZE, phrase
    yield from ((SIZE, phrase) for phrase in misfits(entry))


def changes(found: CacheFormat, path: Path, entry: StoredLatents, image_size: ImageSize) -> Iterator[tuple[str, str]]:
    """A contradiction between the size in a file and that of the image beside it, stored upright or not."""
    image = None if entry.size is None else found.source(path, entry.name).image
    size = None if image is None else image_size(image)
    if image is not None and size is not None and entry.size not in (size, size[::-1]):
        yield SIZE, f"{image.name} has {size_text(size)} pixels now, and had {size_text(entry.size or ())}"


def misfits(entry: StoredLatents) -> Iterator[str]:
    """Contradictions between the shape of latents, their family, and the image."""
    latents, variant = entry.latents, entry.variant
    channels = variant.channels if entry.mark is None else len(entry.mark.mean)
    if channels and latents.shape[0] != channels:
        yield f"{counted(latents.shape[0], 'channel')} instead of {channels} of {variant.name}"
    if entry.flipped is not None and entry.flipped.shape != latents.shape:
        yield f"mirrored latents of shape {list(entry.flipped.shape)} beside {list(latents.shape)}"
    height, width = latents.shape[-2:]
    if entry.size is not None and min(entry.size) > 0:
        image, latent = entry.size[1] / entry.size[0], width / height
        if (image < TALL and latent > WIDE) or (image > WIDE and latent < TALL):
            yield f"latents of {width}x{height} of an image of {size_text(entry.size)}: height and width are swapped"


def unlike(entry: StoredLatents, given: LatentNormalization | None) -> str | None:
    """How the statistics of one item contradict what its family stores; None if they do not."""
    if entry.latents[0].numel() < LEAST_POSITIONS:
        return None
    expected = expectation(entry.variant, entry, given)
    return None if expected is None else expected.unlike(statistics_of(entry.latents), images=1)


def normalization_findings(
    audit: Audit,
    examples: dict[str, StoredLatents],
    suspects: dict[str, list[Finding]],
    given: LatentNormalization | None,
) -> Iterator[Finding]:
    """Wrong normalization of a whole family, or of some files. Adds families that cannot be judged to the audit."""
    for family, example in examples.items():
        expected = expectation(example.variant, example, given)
        if expected is None:
            audit.not_judged.append(f"{family}: the normalization of its VAE is unknown")
            continue
        if not expected.decidable:
            audit.not_judged.append(f"{family}: raw and normalized latents have similar statistics")
            continue
        message = expected.unlike(audit.statistics[family], audit.contents[family])
        of_files = suspects[family]
        if message and len(of_files) < audit.contents[family]:
            others = f"all files of {family} together"
            yield Finding(NORMALIZATION, others, message)
        yield from of_files


def duplicates(folder: Path, owners: dict[tuple[str, str, str, str], list[str]]) -> Iterator[Finding]:
    """Several files of one image, and several images that share a file."""
    for (place, family, name, _), files in owners.items():
        images = images_beside(folder / place, name)
        if len(files) > max(1, len(images)):
            yield from (Finding(DUPLICATE, file, f"{files[0]} holds latents of {name}, too") for file in files[1:])
        elif len(images) > len(files):
            names = shorten(image.name for image in images)
            yield Finding(DUPLICATE, files[0], f"{names} share the latents of {family}")


def mixtures(contents: Counter[str], makers: dict[str, dict[str, str]]) -> Iterator[Finding]:
    """Files of several programs in one folder, and latents of several VAEs in one family.

    Args:
        contents: the number of files of each family.
        makers: the fingerprints of VAEs in the marks of each family, and a file of each.
    """
    programs = {family.split(":")[0] for family in contents}
    if len(programs) > 1:
        held = ", ".join(f"{count:,} of {family}" for family, count in sorted(contents.items()))
        yield Finding(MIXED, ".", f"it holds {held}")
    for family, files in makers.items():
        for maker, file in list(files.items())[1:]:
            yield Finding(MIXED, file, f"{family} holds latents of several VAEs, this file those of {maker[:10]}")
