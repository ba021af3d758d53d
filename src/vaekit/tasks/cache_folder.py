"""The state of the folder of a cache: which shards are finished, and which are to be encoded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vaekit.atomic import cannot_write
from vaekit.domains.fitting import Size
from vaekit.errors import BadCache, CacheMismatch, CannotWrite, CannotWriteHere
from vaekit.latent_cache.description import (
    DESCRIPTION,
    CacheDescription,
    check_same,
    read_description,
    write_description,
)
from vaekit.latent_cache.plans import PLANS, Plan, PlannedShard, create_plan, planned, read_plans
from vaekit.latent_cache.shard_files import Rejected, ShardRecord, is_intact, read_record, record_path, remove_shard
from vaekit.reading import exists
from vaekit.shards import claimed, shared, strided
from vaekit.tasks.cache_data import CacheData, Scan
from vaekit.tasks.cache_shard import ShardItem, ShardSpec

LOCK, DESCRIBING = ".lock", ".describing.lock"


@dataclass(frozen=True, eq=False)
class CacheState:
    """The plans of a cache, and the shards of them that are finished."""

    plans: Sequence[Plan]
    records: Mapping[str, ShardRecord]
    """Finished shards by name."""

    @property
    def shards(self) -> list[PlannedShard]:
        """All planned shards."""
        return [shard for plan in self.plans for shard in plan.shards]

    @property
    def unfinished(self) -> list[PlannedShard]:
        """Planned shards that are not finished."""
        return [shard for shard in self.shards if shard.name not in self.records]

    @property
    def stored(self) -> dict[str, tuple[str, int]]:
        """The shard and the row of each key with latents."""
        return {item.key: (name, row) for name, record in self.records.items() for row, item in enumerate(record.items)}

    @property
    def quarantine(self) -> dict[str, Rejected]:
        """Items without latents in finished shards, by key."""
        return {each.key: each for record in self.records.values() for each in record.quarantine if each.key}


@contextmanager
def opened_for_caching(folder: Path, description: CacheDescription, with_others: bool) -> Iterator[None]:
    """Open the folder of a cache for adding latents, and create it if there is none.

    Args:
        folder: of the cache.
        description: of the latents that will be added.
        with_others: whether other processes add to it at the same time: each their own shards.

    Raises:
        LatentMismatch: the cache holds latents of another VAE. It is unchanged.
        CacheMismatch: it was made with other settings. It is unchanged.
        BadCache: it is damaged, or of another version.
        CannotWrite: the folder holds something else, is not writable, or another process is adding to it.
    """
    check_folder(folder)
    if exists(folder / DESCRIPTION):
        check_same(folder, read_description(folder), description)
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(shared(folder / LOCK) if with_others else FileLock(folder / LOCK, timeout=0))
            if not with_others:
                remove_leftovers(folder)
        except (Timeout, BlockingIOError) as error:
            raise CannotWriteHere(
                f"Another process is adding to the cache {folder}.",
                "",
                "Wait for it, or choose another folder; --rank and --of, given to all processes, divide the work.",
            ) from error
        except (OSError, ValueError) as error:
            raise cannot_write(folder, error, CannotWriteHere) from error
        with claimed(folder / DESCRIBING):
            if not exists(folder / DESCRIPTION):
                write_description(folder, description)
        check_same(folder, read_description(folder), description)  # another process may have written it
        yield


def remove_leftovers(folder: Path) -> None:
    """Remove incomplete files of processes that were killed. Those of shards are removed with their shards.

    Raises:
        OSError: the folder is not writable.
    """
    for inside in (folder, folder / PLANS):
        for pattern in (".*.part", ".*.new"):
            for path in inside.glob(pattern):
                path.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Check that a folder is a cache, empty, or not there.

    Raises:
        CannotWrite: it is something else.
    """
    if not exists(folder) or exists(folder / DESCRIPTION):
        return
    try:
        others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise cannot_write(folder, error) from error
    if others:
        raise CannotWrite(
            f"{folder} holds other files than a cache of latents, such as {min(others)}.",
            "Expected an empty folder, a cache, or a new name.",
            "Choose another folder.",
        )


def read_state(folder: Path, description: CacheDescription) -> CacheState:
    """The plans and finished shards of a cache. Shards that are missing or damaged count as not finished.

    Raises:
        BadCache: a plan is damaged.
    """
    plans = read_plans(folder)
    records: dict[str, ShardRecord] = {}
    for plan in plans:
        for shard in plan.shards:
            if not exists(record_path(folder, shard.name)):
                continue
            try:
                records[shard.name] = read_record(folder, shard.name, description)
            except BadCache:
                continue
    return CacheState(plans, records)


def remove_damaged(folder: Path, state: CacheState) -> list[str]:
    """Remove finished shards whose latents have not the hash of their record; returns their names."""
    damaged = [name for name, record in state.records.items() if not is_intact(folder, record)]
    for name in damaged:
        remove_shard(folder, name)
    return damaged


def plan_new_items(
    folder: Path,
    description: CacheDescription,
    items: Sequence[tuple[str, Size]],
    batch_of: Callable[[Size], int],
    most: int,
    retry: bool,
) -> CacheState:
    """Write a plan for the items that no plan has; returns the state with all plans.

    Args:
        folder: of the cache.
        description: of the cache.
        items: keys and buckets of the data set.
        batch_of: the number of items of a bucket that are encoded at once.
        most: the maximum number of items of a shard.
        retry: plan items in quarantine again.

    Raises:
        CacheMismatch: the cache is of another data set.
        CannotWrite: the disk is full, or the folder is not writable.
    """
    while True:
        state = read_state(folder, description)
        known = set(state.stored) | {key for shard in state.unfinished for key in shard.keys}
        known |= set() if retry else set(state.quarantine)
        buckets = dict(items)
        refuse_other_data(folder, state, buckets)
        new = [(key, bucket) for key, bucket in buckets.items() if key not in known]
        if not new:
            return state
        create_plan(folder, len(state.plans), planned(len(state.plans), new, batch_of, most))


def refuse_other_data(folder: Path, state: CacheState, buckets: Mapping[str, Size]) -> None:
    """Check that a cache shares items with a data set, if it has any.

    Raises:
        CacheMismatch: it does not.
    """
    planned_keys = {key for shard in state.shards for key in shard.keys}
    if planned_keys and buckets and planned_keys.isdisjoint(buckets):
        raise CacheMismatch(
            f"The cache {folder} is of other data: it has none of these {len(buckets):,} items.",
            "A cache is of one data set, which may change.",
            "Give another folder, or remove this one first.",
        )


def specs_of(state: CacheState, scan: Scan, data: CacheData, share: tuple[int, int] | None) -> list[ShardSpec]:
    """The shards that are to be encoded, with their items as the data set has them now.

    Args:
        state: of the cache.
        scan: of the data set.
        data: the data set.
        share: the number of this process, and of all that share the work; None for all work.
    """
    at = {item.key: item for item in reversed(scan.items)}
    rank, of = share or (0, 1)
    return [
        ShardSpec(
            shard.name,
            shard.bucket,
            shard.batch,
            [
                ShardItem(key, item.position, item.name, data.label(item.position), data.caption(item.position))
                for key in shard.keys
                if (item := at.get(key)) is not None
            ],
        )
        for shard in strided(state.shards, rank, of)
        if shard.name not in state.records
    ]
