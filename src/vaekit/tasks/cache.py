"""Cache a data set: encode all items once, and keep their posteriors in shards."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from vaekit.codec.hyper_coding import constriction
from vaekit.distributions import DiagonalGaussian, Point, Quantized
from vaekit.domains.finite_results import check_weights
from vaekit.domains.fitting import FitOptions, Fitting, Size
from vaekit.errors import BadItem, BadPlan, counted, printable
from vaekit.geometry import size_text
from vaekit.latent_cache.description import DTYPES, GAUSSIAN, CacheDescription
from vaekit.latent_cache.item_list import ListedItem, write_items, write_quarantine
from vaekit.latent_cache.records import CachedItem
from vaekit.latent_cache.shard_files import Rejected
from vaekit.latent_cache.statistics import statistics_of
from vaekit.latent_cache.storage import CODED
from vaekit.shards import IN_PROCESS, InProcess, Runner, Work
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.cache_checks import measure_rounding, verify
from vaekit.tasks.cache_data import CacheData, Scan, open_cache_data, scan, write_stamps
from vaekit.tasks.cache_folder import (
    CacheState,
    check_folder,
    opened_for_caching,
    plan_new_items,
    read_state,
    remove_damaged,
    specs_of,
)
from vaekit.tasks.cache_result import CacheResult
from vaekit.tasks.cache_shard import CacheJob, Encoder, ShardDone, ShardSpec, start_encoding
from vaekit.tasks.cache_steps import steps_for
from vaekit.tasks.model import OpenModel

SHARD_ITEMS = 512
"""Items of a shard by default, if batches are small: what is lost by an interruption."""
SHARD_BATCHES = 8
BATCH = 1024
"""Items that an engine should allow at once; `batch_size` says how many there are."""
BATCH_VALUES = 2**20
"""Values of the items that are encoded at once by default: one image of 512 x 512."""
MOST_WITH_AXES = 64
"""The maximum number of images that are encoded at once by default."""
SHARD_BYTES = 2**28
"""The maximum number of bytes of the latents of a shard in fp32, which are in memory at once."""


@dataclass(frozen=True)
class CacheOptions:
    """What is cached, and how."""

    fit: FitOptions = field(default_factory=FitOptions)
    dtype: str = "fp16"
    """Of the stored latents: fp32, fp16, int8 or coded."""
    flips: bool = False
    """Store the latents of mirrored items, too."""
    split: str = "train"
    """Of data with a test split: "train", "test" or "all"."""
    label: str | None = None
    """The column of labels; None for a usual one."""
    caption: str | None = None
    """The column of captions; None for a usual one, or files beside the items."""
    shard_items: int | None = None
    """The maximum number of items of a shard; None for 512, or less if latents are large."""
    batch: int | None = None
    """Items that are encoded at once, as the engine allows; None for what suits their size."""
    retry: bool = False
    """Encode items in quarantine again."""
    verify: float | None = None
    """The share of items that are encoded again and compared, after the hashes of all shards; None for no check."""
    vae: str = ""
    """The name of the VAE, for messages."""


@dataclass(frozen=True)
class CacheCallbacks:
    """What is called while a cache is made."""

    scanned: Progress = no_progress
    """With the number of items that were looked at, and of all."""
    encoded: Progress = no_progress
    """With the number of encoded items, and of all that are to be encoded."""
    verified: Progress = no_progress
    """With the number of verified items, and of all."""


def cache(
    model: OpenModel,
    path: Path,
    out: Path,
    options: CacheOptions = CacheOptions(),
    callbacks: CacheCallbacks = CacheCallbacks(),
    runner: Runner = IN_PROCESS,
    share: tuple[int, int] | None = None,
) -> CacheResult:
    """Encode the items of a data set, or bring a cache of them up to date.

    Items are known by their content: new and edited ones are encoded, renamed ones are not, and repeats are encoded
    once. After an interruption, the same call goes on, and gives the same bytes.

    Args:
        model: the VAE.
        path: the data set.
        out: the folder of the cache.
        options: what is cached.
        callbacks: called meanwhile.
        runner: where shards are encoded. Its workers must see the data and the cache at the same paths.
        share: the number of this process, from 0, and of all that share the work; None for one process.

    Raises:
        NotFound, NoTrainingData: there are no items, or no such columns.
        BadItem: no item has latents, or the VAE has weights that are not finite.
        MissingPackage: latents are to be coded, and there is no coder.
        LatentMismatch: the cache holds latents of another VAE. It is unchanged.
        CacheMismatch: it was made with other settings, or of other data. It is unchanged.
        BadCache: it is damaged, or of another version.
        CannotWrite: for example, the disk is full. All finished shards are kept.
        BadPlan: the VAE cannot take such sizes, or an option has no such value.
    """
    check_options(options)
    check_folder(out)
    data = open_cache_data(model.domain, model.schema, path, options.split, options.label, options.caption)
    fitting = fitting_for(model, options)
    description = describe(model, options, fitting)
    with opened_for_caching(out, description, share is not None):
        scanned = scan(data, fitting, out, callbacks.scanned)
        state = plan_items(model, out, description, options, fitting, scanned)
        write_lists(out, data, scanned)
        damaged = [] if options.verify is None else remove_damaged(out, state)
        encoder = Encoder(model, data, fitting, out, description)
        encoder = replace(encoder, steps=steps_for(encoder, scanned.items))
        job = CacheJob(model, path.absolute(), out.absolute(), description, options.fit, options.split, data)
        job = replace(job, steps=encoder.steps)
        if damaged:
            state = read_state(out, description)
        specs = specs_of(state, scanned, data, share)
        started = time.perf_counter()
        done = encode_shards(job, specs, runner, callbacks.encoded)
        seconds = time.perf_counter() - started
        state = read_state(out, description)
        rejected = quarantined(scanned, state)
        write_quarantine(out, rejected)
        result = result_of(out, model, options, scanned, state, done, rejected, seconds)
        result = replace(result, steps=encoder.steps, notes=(*data.notes, *model.notes))
        return checked(result, encoder, state, scanned, options, callbacks, damaged)


def check_options(options: CacheOptions) -> None:
    """Check options that need no VAE and no data.

    Raises:
        BadPlan: one has no such value.
        MissingPackage: latents are to be coded, and there is no coder.
    """
    if options.dtype == CODED:
        constriction()
    if options.dtype not in DTYPES:
        raise BadPlan(f"There is no dtype {printable(options.dtype)!r}.", f"Expected one of {', '.join(DTYPES)}.", "")
    if options.shard_items is not None and options.shard_items < 1:
        raise BadPlan(f"Shards of {options.shard_items} items are requested.", "Expected 1 or more.", "")
    if options.verify is not None and not 0 < options.verify <= 1:
        raise BadPlan(f"A share of {options.verify:g} is to be verified.", "Expected more than 0, up to 1.", "")


def fitting_for(model: OpenModel, options: CacheOptions) -> Fitting:
    """How items are brought to their sizes.

    Raises:
        BadPlan: the VAE cannot take such sizes, or items have no mirror images.
        BadItem: it has weights that are not finite.
    """
    check_weights(model.engine)
    fitting = model.domain.fitting(model.schema, model.engine.geometry, options.fit)
    if options.flips and not fitting.mirrors:
        raise BadPlan(
            f"Mirrored {model.domain.items} are requested.", "Only images have mirror images.", "Omit --flips."
        )
    return fitting


def describe(model: OpenModel, options: CacheOptions, fitting: Fitting) -> CacheDescription:
    """The description of the latents that a VAE makes."""
    plan = model.engine.plan
    return CacheDescription(
        model.origin,
        options.dtype,
        posterior_kind(model),
        model.domain.name,
        dict(fitting.as_plain()),
        options.flips,
        str(plan.torch_encode_dtype).removeprefix("torch."),
        options.vae,
    )


def posterior_kind(model: OpenModel) -> str:
    """The kind of posterior of a VAE."""
    geometry = model.engine.geometry
    if geometry.axes:
        size = geometry.size or geometry.size_of([max(2, geometry.least_positions)] * geometry.axes)
        x = torch.zeros(1, geometry.channels, *size)
    else:
        x = model.schema.example()
    posterior = model.engine.encode(x)
    kinds = {DiagonalGaussian: GAUSSIAN, Point: "point", Quantized: "quantized"}
    return kinds.get(type(posterior), type(posterior).__name__.lower())


def plan_items(
    model: OpenModel, out: Path, description: CacheDescription, options: CacheOptions, fitting: Fitting, scanned: Scan
) -> CacheState:
    """Plan the shards of new items.

    Raises:
        BadItem: no item can be read.
    """
    if not scanned.items:
        reason = scanned.rejected[0].reason if scanned.rejected else ""
        tried = counted(len(scanned.rejected), model.domain.item, model.domain.items)
        raise BadItem(f"None of {tried} can be read.", reason, "Check the data.")
    items = [(item.key, fitting.bucket(item.size)) for item in scanned.items]
    batch_of = partial(batch_size, model, options)
    most = options.shard_items or shard_items(model, options, {bucket for _, bucket in items})
    return plan_new_items(out, description, items, batch_of, most, options.retry)


def batch_size(model: OpenModel, options: CacheOptions, bucket: Size) -> int:
    """The number of items of a bucket that are encoded at once."""
    if options.batch is not None:
        return options.batch
    geometry = model.engine.geometry
    most = max(1, BATCH_VALUES // (geometry.channels * math.prod(bucket)))
    return min(model.engine.plan.batch_size, most, MOST_WITH_AXES if geometry.axes else most)


def shard_items(model: OpenModel, options: CacheOptions, buckets: set[Size]) -> int:
    """The number of items of a shard."""
    batch = max(batch_size(model, options, bucket) for bucket in buckets)
    largest = max(latent_values(model, bucket) for bucket in buckets)
    each = largest * 4 * 2 * (2 if options.flips else 1)  # mean and log-variance in fp32
    return max(1, min(max(SHARD_ITEMS, SHARD_BATCHES * batch), SHARD_BYTES // each))


def latent_values(model: OpenModel, bucket: Size) -> int:
    """The number of values of the latent of an item."""
    geometry = model.engine.geometry
    return geometry.latent_channels * int(torch.Size(geometry.latent_size(bucket)).numel())


def write_lists(out: Path, data: CacheData, scanned: Scan) -> None:
    """Write the items by name, and remember their files.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    write_items(
        out,
        (
            ListedItem(item.name, item.key, data.label(item.position), data.caption(item.position))
            for item in scanned.items
        ),
    )
    write_stamps(out, scanned.items)


def encode_shards(job: CacheJob, specs: Sequence[ShardSpec], runner: Runner, progress: Progress) -> list[ShardDone]:
    """Encode shards by a runner."""
    total = sum(len(spec.items) for spec in specs)
    finished = 0

    def add(count: int) -> None:
        nonlocal finished
        finished += count
        progress(finished, total)

    here = isinstance(runner, InProcess)
    work = Work(partial(start_encoding, replace(job, each=add if here else None)))
    done = []
    with closing(runner.run(work, specs)) as results:
        for spec, result in results:
            done.append(result)
            if not here:
                add(len(spec.items))
    return done


def quarantined(scanned: Scan, state: CacheState) -> list[Rejected]:
    """The items of the data set without latents, with reasons, by their names now."""
    stored, known = state.stored, state.quarantine
    inside = [
        replace(known[item.key], name=item.name)
        for item in scanned.items
        if item.key not in stored and item.key in known
    ]
    return sorted([*scanned.rejected, *inside], key=lambda each: (each.name, each.key))


def result_of(
    out: Path,
    model: OpenModel,
    options: CacheOptions,
    scanned: Scan,
    state: CacheState,
    done: Sequence[ShardDone],
    rejected: Sequence[Rejected],
    seconds: float,
) -> CacheResult:
    """What a run did.

    Raises:
        BadItem: no item has latents, although all shards are finished.
    """
    stored = state.stored
    cached = [item for item in scanned.items if item.key in stored]
    if not cached and not state.unfinished and rejected:
        total = len(scanned.items) + len(scanned.rejected)
        raise BadItem(
            f"None of {counted(total, model.domain.item, model.domain.items)} has latents.",
            rejected[0].reason,
            "Check the data and the VAE; all reasons are in quarantine.jsonl.",
        )
    records = {item.key: item for record in state.records.values() for item in record.items}
    sizes = Counter(size_text(records[item.key].bucket) or "1" for item in cached)
    return CacheResult(
        folder=out,
        items=len(scanned.items) + len(scanned.rejected),
        cached=len(cached),
        encoded=sum(each.encoded for each in done),
        repeats=len(scanned.items) - len({item.key for item in scanned.items}),
        rejected=rejected,
        changed=[name for each in done for name in each.changed],
        redone=sum(each.redone for each in done),
        shards=len(state.records),
        unfinished=len(state.unfinished),
        nbytes=sum(record.nbytes for record in state.records.values()),
        dtype=options.dtype,
        sizes=dict(sizes.most_common()),
        enlarged=sum(is_enlarged(records[item.key]) for item in cached),
        seconds=seconds,
        statistics=statistics_of(record.sums for record in state.records.values()),
        normalization=model.origin.normalization,
    )


def is_enlarged(item: CachedItem) -> bool:
    """Whether the part of an image that was encoded had fewer pixels along an axis than its bucket."""
    if item.crop is None:
        return False
    left, top, right, bottom = item.crop
    return bottom - top < item.bucket[0] or right - left < item.bucket[1]


def checked(
    result: CacheResult,
    encoder: Encoder,
    state: CacheState,
    scanned: Scan,
    options: CacheOptions,
    callbacks: CacheCallbacks,
    damaged: Sequence[str],
) -> CacheResult:
    """The result with what was measured after the run."""
    at = {item.key: item for item in reversed(scanned.items)}
    rounding, verification = None, None
    if options.dtype != "fp32" and (result.encoded or options.verify):
        rounding = measure_rounding(encoder, state, at)
    if options.verify is not None:
        verification = verify(encoder, state, at, options.verify, damaged, callbacks.verified)
    return replace(result, rounding=rounding, verification=verification)
