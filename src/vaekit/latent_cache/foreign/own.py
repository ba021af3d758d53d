"""Audit a cache of vaekit itself: shards that are damaged, values, names."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from vaekit.errors import BadCache, counted, shorten
from vaekit.latent_cache.description import DESCRIPTION, CacheDescription, read_description
from vaekit.latent_cache.foreign.audit import DUPLICATE, UNREADABLE, Audit, Finding, faults, in_order
from vaekit.latent_cache.foreign.likely import ChannelStatistics
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.latent_cache.item_list import ITEMS, read_items, read_quarantine
from vaekit.latent_cache.open import shard_names
from vaekit.latent_cache.plans import PLANS, read_plans
from vaekit.latent_cache.shard_files import (
    FLIPPED,
    MEAN,
    SHARDS,
    ShardRecord,
    is_intact,
    open_latents,
    read_record,
    read_rows,
)
from vaekit.latent_cache.statistics import statistics_of
from vaekit.reading import exists

FAMILY = "vaekit"


def is_cache(folder: Path) -> bool:
    """Whether a folder is a cache of vaekit."""
    return exists(folder / DESCRIPTION)


def audit_cache(folder: Path) -> Audit:
    """Examine every shard of a cache.

    Raises:
        BadCache: the description of the cache is damaged, or of another version, or it holds no latents.
    """
    description = read_description(folder)
    audit = Audit(str(folder), stored={FAMILY: Stored.RAW})
    records, names = [], shard_names(folder)
    if not names:
        raise BadCache(
            f"The cache {folder} holds no latents: it has no finished shard.",
            f"Expected {SHARDS}/NAME.json and {SHARDS}/NAME.safetensors of one shard or more.",
            "Run the `vaekit cache` that made it again: it goes on.",
        )
    for name in names:
        audit.files += 1
        file = f"{SHARDS}/{name}.safetensors"
        try:
            record = read_record(folder, name, description)
            audit.findings += shard_findings(folder, record, description, file)
            audit.items += len(record.items)
            records.append(record)
        except BadCache as error:
            audit.findings.append(Finding(UNREADABLE, file, error.found))
    audit.contents[FAMILY] = audit.files
    statistics = statistics_of(record.sums for record in records)
    if statistics is not None:
        audit.statistics[FAMILY] = ChannelStatistics(statistics.mean, statistics.std)
    audit.findings += list_findings(folder)
    examine_plans(folder, audit, names)
    return in_order(audit)


def shard_findings(folder: Path, record: ShardRecord, description: CacheDescription, file: str) -> Iterator[Finding]:
    """What is wrong with the latents of a shard.

    Raises:
        BadCache: they cannot be read.
    """
    if not record.items:
        return
    if not is_intact(folder, record):
        yield Finding(UNREADABLE, file, "its content has changed since it was written")
    tensors = open_latents(folder, record, description)
    variant = Variant(FAMILY, (), Stored.RAW, description.origin.geometry.latent_channels)
    for row, item in enumerate(record.items):
        rows = torch.tensor([row])
        mean = read_rows(folder, record, tensors, MEAN, rows)[0]
        flipped = read_rows(folder, record, tensors, f"{FLIPPED}{MEAN}", rows)[0] if description.flips else None
        for kind, phrase in faults(StoredLatents(item.name, variant, mean, flipped)):
            yield Finding(kind, f"{file}: {item.name}", phrase)


def list_findings(folder: Path) -> Iterator[Finding]:
    """Names that the list of items has several times with different content, and lists that cannot be read."""
    try:
        items = read_items(folder) or ()
        read_quarantine(folder)
    except BadCache as error:
        yield Finding(UNREADABLE, ITEMS, error.found)
        return
    contents = Counter(name for name, _ in {(item.name, item.key) for item in items})
    several = [name for name, count in contents.items() if count > 1]
    if several:
        yield Finding(DUPLICATE, ITEMS, f"several items of one name: {shorten(several)}")


def examine_plans(folder: Path, audit: Audit, names: Collection[str]) -> None:
    """Add plans that cannot be read, and planned shards that are not there, to an audit.

    Args:
        folder: of the cache.
        audit: of the cache.
        names: of the shards that are there.
    """
    try:
        planned = [shard.name for plan in read_plans(folder) for shard in plan.shards]
    except BadCache as error:
        audit.findings.append(Finding(UNREADABLE, PLANS, error.found))
        return
    left = len(set(planned).difference(names))
    if left:
        audit.not_judged.append(
            f"{left:,} of {counted(len(planned), 'planned shard')} are not there yet: run the same `vaekit cache` again"
        )
