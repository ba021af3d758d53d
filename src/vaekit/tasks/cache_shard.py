"""Encode a shard of a cache: a pure function of its specification, for any runner."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Record
from vaekit.datasets.read_errors import with_retries
from vaekit.distributions import DiagonalGaussian
from vaekit.domains.fitting import FitOptions, Fitted, Fitting, Size
from vaekit.errors import BadCache, BadItem, NotFound, VaekitError
from vaekit.latent_cache.coded_storage import largest_coded
from vaekit.latent_cache.description import CacheDescription, check_origin
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import (
    SHARDS,
    Rejected,
    ShardLatents,
    read_record,
    record_path,
    write_shard,
)
from vaekit.latent_cache.steps import CodingSteps
from vaekit.latent_cache.storage import largest
from vaekit.pipeline import THREADS, Stages, available_cores, run_pipeline
from vaekit.reading import exists
from vaekit.retrieval.contents import content_digest
from vaekit.runtime.engine import Engine
from vaekit.runtime.threads import single_threaded_initializer
from vaekit.shards import claimed
from vaekit.tasks.cache_data import CacheData, in_memory, open_plain
from vaekit.tasks.model import OpenModel

VALUES_IN_FLIGHT = 2**27
"""Values of items that are read ahead: 0.5 GB in fp32."""


@dataclass(frozen=True)
class ShardItem:
    """An item of a shard, and where it is in the data set."""

    key: str
    position: int
    name: str
    label: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class ShardSpec:
    """A shard to encode. Picklable."""

    name: str
    bucket: Size
    batch: int
    items: Sequence[ShardItem]

    def __str__(self) -> str:
        return f"the shard {self.name}"


@dataclass(frozen=True)
class ShardDone:
    """What became of a shard."""

    name: str
    encoded: int
    rejected: Sequence[Rejected]
    """Items of its plan without latents."""
    changed: Sequence[str]
    """Names of items that changed or vanished meanwhile; the next run looks at them again."""
    redone: int
    """Items that were encoded again in fp32, because values were not finite."""
    nbytes: int
    seconds: float


@dataclass(frozen=True, eq=False)
class CacheJob:
    """What all shards of a cache have in common. Picklable, if the VAE was loaded from a file."""

    model: OpenModel
    path: Path
    """Of the data set."""
    folder: Path
    """Of the cache."""
    description: CacheDescription
    fit: FitOptions
    split: str = "train"
    data: CacheData | None = None
    """The opened data set, in this process."""
    each: Callable[[int], None] | None = None
    """Called with the number of items after each batch, in this process."""
    steps: CodingSteps | None = None
    """To which coded latents are rounded."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"data": None, "each": None}


@dataclass(frozen=True, eq=False)
class Encoder:
    """What a worker needs for shards."""

    model: OpenModel
    data: CacheData
    fitting: Fitting
    folder: Path
    description: CacheDescription
    each: Callable[[int], None] | None = None
    steps: CodingSteps | None = None

    @cached_property
    def exact(self) -> Engine | None:
        """An engine in fp32; None if the engine is."""
        engine = self.model.engine
        if engine.plan.torch_encode_dtype == torch.float32:
            return None
        return Engine(engine.vae, replace(engine.plan, dtype="fp32", encode_dtype=None, decode_dtype=None))


@dataclass(frozen=True, eq=False)
class Chunk:
    """Items that are encoded at once."""

    x: Tensor | None
    """(b, c, *bucket); None if no item can be read."""
    items: Sequence[CachedItem] = ()
    rejected: Sequence[Rejected] = ()
    changed: Sequence[str] = ()
    redone: int = 0
    latents: ShardLatents | None = None
    """Of the items, once they are encoded."""


def start_encoding(job: CacheJob) -> Callable[[ShardSpec], ShardDone]:
    """The function that encodes shards, in any process.

    Raises:
        LatentMismatch: this process loads another VAE.
        NotFound, NoTrainingData: the data cannot be opened.
    """
    model = job.model
    check_origin(job.folder, job.description.origin, model.origin)
    data = job.data or open_plain(model.domain, model.schema, job.path, job.split)
    fitting = model.domain.fitting(model.schema, model.engine.geometry, job.fit)
    return partial(encode_shard, Encoder(model, data, fitting, job.folder, job.description, job.each, job.steps))


def encode_shard(encoder: Encoder, spec: ShardSpec) -> ShardDone:
    """Encode the items of a shard and write it, unless another process, whose end is awaited, has done so. The same
    items give the same bytes.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
        TooLittleMemory: the VAE does not fit into memory for items of this size.
        NoTrainingData: the disk or network of the data fails.
    """
    with claimed(encoder.folder / SHARDS / f".{spec.name}.lock"):
        return finished_meanwhile(encoder, spec) or encode_claimed(encoder, spec)


def finished_meanwhile(encoder: Encoder, spec: ShardSpec) -> ShardDone | None:
    """What another process made of a shard; None if it is not there."""
    if not exists(record_path(encoder.folder, spec.name)):
        return None
    try:
        record = read_record(encoder.folder, spec.name, encoder.description)
    except BadCache:  # it is written again
        return None
    if encoder.each is not None:
        encoder.each(len(spec.items))
    return ShardDone(spec.name, 0, record.quarantine, (), 0, record.nbytes, 0.0)


def encode_claimed(encoder: Encoder, spec: ShardSpec) -> ShardDone:
    """Encode a shard that no other process encodes; see `encode_shard`."""
    started = time.perf_counter()
    for stale in (encoder.folder / SHARDS).glob(f".{spec.name}.*.part"):  # of a process that was killed
        stale.unlink(missing_ok=True)
    chunks = list(encoded_chunks(encoder, spec))
    items = [item for chunk in chunks for item in chunk.items]
    rejected = [each for chunk in chunks for each in chunk.rejected]
    latents = joined([chunk.latents for chunk in chunks if chunk.latents is not None])
    record = write_shard(encoder.folder, spec.name, encoder.description, items, latents, rejected, encoder.steps)
    changed = [name for chunk in chunks for name in chunk.changed]
    redone = sum(chunk.redone for chunk in chunks)
    seconds = time.perf_counter() - started
    return ShardDone(spec.name, len(items), rejected, changed, redone, record.nbytes, seconds)


def encoded_chunks(encoder: Encoder, spec: ShardSpec) -> Iterator[Chunk]:
    """The items of a shard in batches, in order: the next ones are read while the VAE runs."""
    parts = [spec.items[start : start + spec.batch] for start in range(0, len(spec.items), spec.batch)]
    stages: Stages[Sequence[ShardItem], Chunk, Chunk, Chunk] = Stages(
        read=lambda part: read_chunk(encoder, spec.bucket, part),
        run=lambda _, chunk: encoded(encoder, chunk),
        write=lambda _, chunk: chunk,
        weight=lambda chunk: 0 if chunk.x is None else chunk.x.numel(),
    )
    pipeline = run_pipeline(parts, stages, VaekitError, VALUES_IN_FLIGHT, loaders(encoder.model.engine))
    with single_threaded_initializer(), closing(pipeline) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            assert outcome.done is not None
            if encoder.each is not None:
                encoder.each(len(outcome.item))
            yield outcome.done


def loaders(engine: Engine) -> int:
    """Threads that read items: beside a network on a GPU, one for each core."""
    return THREADS if engine.plan.torch_device.type == "cpu" else max(THREADS, available_cores())


def read_chunk(encoder: Encoder, bucket: Size, part: Sequence[ShardItem]) -> Chunk:
    """Read items, and bring them to the size of their bucket.

    Raises:
        NoTrainingData: the disk or network of the data fails.
    """
    records: list[Record] = []
    kept: list[ShardItem] = []
    changed: list[str] = []
    for item in part:
        record = unchanged(encoder.data, item)
        if record is None:
            changed.append(item.name)
        else:
            records.append(record)
            kept.append(item)
    fitted, problems = fitted_records(encoder.fitting, records, bucket)
    rejected = [Rejected(kept[place].key, kept[place].name, why) for place, why in problems.items()]
    good = [item for place, item in enumerate(kept) if place not in problems]
    if fitted is None:
        return Chunk(None, (), rejected, changed)
    items = [
        CachedItem(item.key, item.name, size, bucket, crop, item.label, item.caption)
        for item, size, crop in zip(good, fitted.sizes, fitted.crops, strict=True)
    ]
    return Chunk(fitted.x, items, rejected, changed)


def unchanged(data: CacheData, item: ShardItem) -> Record | None:
    """The content of an item; None if it is not the content of its key any more.

    Raises:
        NoTrainingData: the disk or network of the data fails.
    """
    dataset = data.dataset
    if item.position >= len(dataset):
        return None
    try:
        record = with_retries(lambda: in_memory(dataset.read(item.position)))
        return record if content_digest(record).hex() == item.key else None
    except (BadItem, NotFound):
        return None


def fitted_records(
    fitting: Fitting, records: Sequence[Record], bucket: Size
) -> tuple[Fitted | None, Mapping[int, str]]:
    """Items in the size of a bucket, and by position the reasons for those that cannot be read."""
    if not records:
        return None, {}
    try:
        return fitting.fit(records, bucket), {}
    except (BadItem, NotFound):
        pass
    problems: dict[int, str] = {}
    single: list[Fitted] = []
    for place, record in enumerate(records):
        try:
            single.append(fitting.fit([record], bucket))
        except (BadItem, NotFound) as error:
            problems[place] = str(error)
    if not single:
        return None, problems
    sizes = [size for each in single for size in each.sizes]
    crops = [crop for each in single for crop in each.crops]
    return Fitted(torch.cat([each.x for each in single]), sizes, crops), problems


def encoded(encoder: Encoder, chunk: Chunk) -> Chunk:
    """Encode items. Those with non-finite latents are encoded again in fp32, and rejected if that does not help."""
    if chunk.x is None:
        return chunk
    latents = moments(encoder, encoder.model.engine, chunk.x)
    bad = [row for row in range(len(chunk.items)) if problem(row_of(latents, row), encoder) is not None]
    if not bad:
        return replace(chunk, x=None, latents=latents)
    redone = 0
    rows: list[ShardLatents] = []
    items: list[CachedItem] = []
    rejected = list(chunk.rejected)
    for row, item in enumerate(chunk.items):
        result = row_of(latents, row)
        if row in bad and encoder.exact is not None:
            result, redone = moments(encoder, encoder.exact, chunk.x[row : row + 1]), redone + 1
        reason = problem(result, encoder)
        if reason is None:
            rows.append(result)
            items.append(item)
        else:
            rejected.append(Rejected(item.key, item.name, reason))
    return replace(chunk, x=None, items=items, rejected=rejected, redone=redone, latents=joined(rows))


def moments(encoder: Encoder, engine: Engine, x: Tensor) -> ShardLatents:
    """The posteriors of items (b, c, *bucket)."""
    posterior = engine.encode(x)
    log_variance = posterior.log_variance.float().cpu() if isinstance(posterior, DiagonalGaussian) else None
    flipped = None
    if encoder.description.flips:
        mirrored = engine.encode(encoder.fitting.mirrored(x))
        variance = mirrored.log_variance.float().cpu() if isinstance(mirrored, DiagonalGaussian) else None
        flipped = ShardLatents(mirrored.mode.float().cpu(), variance)
    return ShardLatents(posterior.mode.float().cpu(), log_variance, flipped)


def problem(latents: ShardLatents, encoder: Encoder) -> str | None:
    """Why latents cannot be stored; None if they can."""
    dtype, most = encoder.description.dtype, largest(encoder.description.dtype)
    for values in (latents.mean, latents.log_variance):
        if values is None:
            continue
        if not bool(values.isfinite().all()):
            return "Its latents are NaN or infinite, also in fp32."
        if float(values.abs().max()) > most:
            return f"Its latents reach {float(values.abs().max()):g}, and {dtype} ends at {most:g}."
    if encoder.steps is not None:
        largest_values = latents.mean.abs().transpose(0, 1).flatten(1).amax(1)
        over = largest_values > largest_coded(encoder.steps.mean)
        if bool(over.any()):
            return f"Its latents are too large for the steps of channel {int(over.nonzero()[0])}."
    return None if latents.flipped is None else problem(latents.flipped, encoder)


def row_of(latents: ShardLatents, row: int) -> ShardLatents:
    """The latents of one item."""
    variance = None if latents.log_variance is None else latents.log_variance[row : row + 1]
    flipped = None if latents.flipped is None else row_of(latents.flipped, row)
    return ShardLatents(latents.mean[row : row + 1], variance, flipped)


def joined(parts: Sequence[ShardLatents]) -> ShardLatents | None:
    """The latents of several parts as one; None for no parts."""
    if not parts:
        return None
    variances = [part.log_variance for part in parts if part.log_variance is not None]
    return ShardLatents(
        torch.cat([part.mean for part in parts]),
        torch.cat(variances) if variances else None,
        joined([part.flipped for part in parts if part.flipped is not None]),
    )
