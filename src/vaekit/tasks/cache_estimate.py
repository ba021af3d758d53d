"""Estimate what caching a data set takes, from a timed sample: hours, bytes, shards, and what limits."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.read_errors import with_retries
from vaekit.domains.fitting import Fitting, Size
from vaekit.errors import BadItem, NotFound, counted
from vaekit.latent_cache.description import DESCRIPTION, CacheDescription, check_same, read_description
from vaekit.latent_cache.shard_files import ShardLatents, tensors_of
from vaekit.pipeline import available_cores
from vaekit.reading import exists
from vaekit.retrieval.contents import content_digest, stamp_of
from vaekit.tasks.cache import (
    CacheCallbacks,
    CacheOptions,
    batch_size,
    check_options,
    describe,
    fitting_for,
    shard_items,
)
from vaekit.tasks.cache_data import CacheData, in_memory, open_cache_data, read_stamps
from vaekit.tasks.cache_folder import check_folder, read_state
from vaekit.tasks.cache_shard import Encoder, joined, loaders, moments
from vaekit.tasks.cache_steps import estimated_steps
from vaekit.tasks.model import OpenModel

SAMPLE = 32
"""The maximum number of items that are timed."""
SECONDS = 20.0
"""The time after which no further item is timed."""
RECORD_BYTES = 400
"""Of an item in the lists and records of a cache, roughly."""


@dataclass(frozen=True)
class CacheEstimate:
    """What caching a data set takes."""

    items: int
    """Of the data set."""
    known: int
    """Items whose latents are in the cache already, as far as their files tell without being read."""
    sampled: int
    """Items that were timed."""
    unreadable: int
    """Items of the sample that cannot be read."""
    hours: float
    nbytes: int
    """Of the cache, without what is there already."""
    shards: int
    loader_rate: float
    """Items per second that one core reads and prepares."""
    vae_rate: float
    """Items per second that the VAE encodes."""
    cores: int
    """That are available."""
    cores_needed: int
    """With which reading is as fast as the VAE."""
    limit: str
    """"VAE" or "loader": the slower one."""
    device: str
    sizes: dict[str, int] = field(default_factory=dict)
    """Items of the sample in each size."""
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self)
        return {"dry_run": True, "bytes": values.pop("nbytes"), **values}


@dataclass(frozen=True, eq=False)
class Timed:
    """An item of the sample."""

    x: Tensor
    """(1, c, *bucket)."""
    bucket: Size
    scanning: float
    """Seconds for its content and its size."""
    loading: float
    """Seconds for reading it again, and bringing it to the size."""


def estimate_cache(
    model: OpenModel,
    path: Path,
    out: Path,
    options: CacheOptions,
    callbacks: CacheCallbacks,
) -> CacheEstimate:
    """Time a sample of the items of a data set. Nothing is written.

    Args:
        model: the VAE.
        path: the data set.
        out: the folder of the cache, which need not exist.
        options: what would be cached.
        callbacks: called meanwhile.

    Raises:
        NotFound, NoTrainingData: there are no items.
        BadItem: none of the sample can be read.
        LatentMismatch, CacheMismatch, CannotWrite, BadPlan: as `cache` would raise them.
    """
    check_options(options)
    check_folder(out)
    data = open_cache_data(model.domain, model.schema, path, options.split, options.label, options.caption)
    fitting = fitting_for(model, options)
    description = describe(model, options, fitting)
    if exists(out / DESCRIPTION):
        check_same(out, read_description(out), description)
    left = unknown_items(data, out, description)
    encoder = Encoder(model, data, fitting, out, description)
    timed, unreadable = timed_sample(data, fitting, left, callbacks)
    if not timed and left:
        tried = counted(unreadable, model.domain.item, model.domain.items)
        raise BadItem(f"None of {tried} of a sample can be read.", "", "Check the data.")
    encoder = replace(encoder, steps=estimated_steps(encoder, [item.x for item in timed]))
    encoding, nbytes, finished = timed_encoding(encoder, options, timed)
    cores, device = available_cores(), model.engine.plan.torch_device
    count = round(len(left) * len(timed) / max(1, len(timed) + unreadable))
    loading = mean([each.loading for each in timed])
    scanning = mean([each.scanning for each in timed]) / min(cores, loaders(model.engine))
    parallel = loading / min(cores, loaders(model.engine))
    # On a CPU both share the cores.
    each = encoding + loading / cores if device.type == "cpu" else max(encoding, parallel)
    sizes = {bucket: sum(item.bucket == bucket for item in timed) for bucket in sorted({t.bucket for t in timed})}
    most = options.shard_items or (shard_items(model, options, set(sizes)) if sizes else 1)
    return CacheEstimate(
        items=len(data.dataset),
        known=len(data.dataset) - len(left),
        sampled=finished,
        unreadable=unreadable,
        hours=count * (scanning + each) / 3600,
        nbytes=round(count * (nbytes + RECORD_BYTES)),
        shards=sum(math.ceil(count * share / max(1, len(timed)) / most) for share in sizes.values()),
        loader_rate=1 / max(loading, 1e-9) if timed else 0.0,
        vae_rate=1 / max(encoding, 1e-9) if timed else 0.0,
        cores=cores,
        cores_needed=max(1, math.ceil(loading / max(encoding, 1e-9))),
        limit="loader" if parallel > encoding else "VAE",
        device=str(device),
        sizes={"x".join(map(str, reversed(bucket))) or "1": number for bucket, number in sizes.items()},
        notes=tuple(data.notes),
    )


def unknown_items(data: CacheData, out: Path, description: CacheDescription) -> list[int]:
    """The positions of the items whose latents are not in the cache, or whose files do not tell."""
    every = range(len(data.dataset))
    known = read_stamps(out) if exists(out / DESCRIPTION) else {}
    if not known:
        return list(every)
    stored = read_state(out, description).stored
    left = []
    for position in every:
        before = known.get(data.dataset.key(position))
        if before is not None and before.key in stored:
            try:
                if stamp_of(data.dataset.read(position)) == before.stamp:
                    continue
            except (BadItem, NotFound):
                pass
        left.append(position)
    return left


def timed_sample(
    data: CacheData, fitting: Fitting, positions: Sequence[int], callbacks: CacheCallbacks
) -> tuple[list[Timed], int]:
    """Read items at regular intervals; returns them, and the number of those that cannot be read."""
    step = -(-len(positions) // SAMPLE) or 1
    chosen, timed, unreadable = positions[::step], [], 0
    started = time.perf_counter()
    for done, position in enumerate(chosen, start=1):
        try:
            timed.append(timed_item(data, fitting, position))
        except (BadItem, NotFound):
            unreadable += 1
        callbacks.scanned(done, len(chosen))
        if time.perf_counter() - started > SECONDS:
            break
    return timed, unreadable


def timed_item(data: CacheData, fitting: Fitting, position: int) -> Timed:
    """Read an item as caching does.

    Raises:
        BadItem, NotFound: it cannot be read.
    """
    times = [time.perf_counter()]
    record = with_retries(lambda: in_memory(data.dataset.read(position)))
    content_digest(record)
    bucket = fitting.bucket(fitting.size(record))
    times.append(time.perf_counter())
    record = with_retries(lambda: in_memory(data.dataset.read(position)))
    content_digest(record)
    x = fitting.fit([record], bucket).x
    times.append(time.perf_counter())
    return Timed(x, bucket, times[1] - times[0], times[2] - times[1])


def timed_encoding(encoder: Encoder, options: CacheOptions, timed: Sequence[Timed]) -> tuple[float, float, int]:
    """Encode items of a sample in batches; returns the seconds and the stored bytes for each, and their number."""
    seconds, nbytes, count = 0.0, 0, 0
    started = time.perf_counter()
    for bucket in dict.fromkeys(item.bucket for item in timed):
        x = torch.cat([item.x for item in timed if item.bucket == bucket])
        batches = x.split(batch_size(encoder.model, options, bucket))
        moments(encoder, encoder.model.engine, batches[0])  # also prepares the network
        stored: list[ShardLatents] = []
        for batch in batches:
            before = time.perf_counter()
            latents = moments(encoder, encoder.model.engine, batch)
            seconds, count = seconds + time.perf_counter() - before, count + len(batch)
            stored.append(latents)
            if time.perf_counter() - started > SECONDS:
                break
        nbytes += stored_bytes(encoder, stored)
        if time.perf_counter() - started > SECONDS:
            break
    return seconds / max(1, count), nbytes / max(1, count), count


def stored_bytes(encoder: Encoder, parts: Sequence[ShardLatents]) -> int:
    """The bytes of latents in one file, without its header."""
    latents = joined(parts)
    if latents is None:
        return 0
    tensors = tensors_of(latents, encoder.description.dtype, steps=encoder.steps)
    return sum(tensor.nbytes for tensor in tensors.values())


def mean(values: Sequence[float]) -> float:
    """The mean of some values; 0 for none."""
    return sum(values) / len(values) if values else 0.0
