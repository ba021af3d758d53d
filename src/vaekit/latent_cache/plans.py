"""`plans/NNN.json`: which items are in which shard, written before anything is encoded.

An interrupted run goes on with the shards of its plan, which then have the same bytes. New and edited items get a new
plan. A plan is created once and never changed, also by processes that share the work.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file, cannot_write
from vaekit.errors import FULL_DISK, BadCache, printable, reason_of
from vaekit.json import dumps
from vaekit.latent_cache.records import checked_key, checked_sides, checked_text
from vaekit.reading import read_json

PLANS = "plans"
VERSION = 1
LARGEST = 2**31
"""The maximum number of bytes of a plan."""
MOST_ITEMS = 2**20
"""The maximum number of items of a batch."""


@dataclass(frozen=True)
class PlannedShard:
    """The items of a shard, in order."""

    name: str
    bucket: tuple[int, ...]
    batch: int
    """Items that the VAE encodes at once: results depend on it in the last bits."""
    keys: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """New items of a data set in shards."""

    shards: Sequence[PlannedShard]

    def as_json(self) -> dict[str, Any]:
        """As its file holds it."""
        shards = [
            {"name": s.name, "bucket": list(s.bucket), "batch": s.batch, "keys": list(s.keys)} for s in self.shards
        ]
        return {"version": VERSION, "shards": shards}


def planned(
    number: int,
    items: Sequence[tuple[str, tuple[int, ...]]],
    batch_of: Callable[[tuple[int, ...]], int],
    shard_items: int,
) -> Plan:
    """The plan for new items: shards of one bucket, with items in the order of the data set.

    Args:
        number: of the plan, part of the names of its shards.
        items: keys and buckets, each key once.
        batch_of: the number of items of a bucket that are encoded at once.
        shard_items: the maximum number of items of a shard.
    """
    by_bucket: dict[tuple[int, ...], list[str]] = {}
    for key, bucket in items:
        by_bucket.setdefault(bucket, []).append(key)
    parts = [
        (bucket, keys[start : start + shard_items])
        for bucket, keys in by_bucket.items()
        for start in range(0, len(keys), shard_items)
    ]
    return Plan(
        [
            PlannedShard(f"{number:03d}-{i:05d}", bucket, batch_of(bucket), keys)
            for i, (bucket, keys) in enumerate(parts)
        ]
    )


def create_plan(folder: Path, number: int, plan: Plan) -> bool:
    """Write a plan unless one of this number exists; returns whether it was written.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    target = plan_path(folder, number)
    candidate = target.with_name(f".{target.name}.{secrets.token_hex(8)}.new")
    with atomic_file(candidate) as part:
        part.write_text(dumps(plan.as_json(), indent=None) + "\n", "utf-8")
    try:
        os.link(candidate, target)  # unlike a rename, it fails if another process was faster
    except FileExistsError:
        return False
    except OSError as error:
        if target.exists():
            return False
        if error.errno in FULL_DISK:
            raise cannot_write(target, error) from error
        os.replace(candidate, target)  # a file system without links
    finally:
        candidate.unlink(missing_ok=True)
    return True


def read_plans(folder: Path) -> list[Plan]:
    """All plans of a cache, in order.

    Raises:
        BadCache: one of them is damaged, or of another version.
    """
    return list(_plans(folder))


def _plans(folder: Path) -> Iterator[Plan]:
    number = 0
    while (path := plan_path(folder, number)).exists():
        try:
            yield plan_from(read_json(path, LARGEST))
        except (OSError, ValueError) as error:
            raise BadCache(
                f"{path} is damaged: {printable(reason_of(error), 200)}.",
                f"Expected a plan of version {VERSION}.",
                "Cache the data again in another folder; the finished shards of this one can still be read.",
            ) from error
        number += 1


def plan_from(value: object) -> Plan:
    """The inverse of `Plan.as_json`.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ValueError("it is of another version")
    shards = value.get("shards")
    if not isinstance(shards, list):
        raise ValueError("it lacks its shards")
    return Plan([shard_from(shard) for shard in shards])


def shard_from(value: object) -> PlannedShard:
    """A shard of a plan.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise ValueError("a shard has no keys")
    name, batch = checked_text(value.get("name")), value.get("batch")
    if not name or not set(name) <= set("0123456789-"):
        raise ValueError("a shard has an odd name")
    if type(batch) is not int or not 0 < batch <= MOST_ITEMS:
        raise ValueError("a shard has an odd batch size")
    return PlannedShard(name, checked_sides(value.get("bucket")), batch, [checked_key(key) for key in value["keys"]])


def plan_path(folder: Path, number: int) -> Path:
    """The file of a plan."""
    return folder / PLANS / f"{number:03d}.json"
