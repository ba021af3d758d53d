"""Checks of a cache: what storing latents costs after the decoder, and whether they are those of the data."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaekit.latent_cache.shard_files import LOG_VARIANCE, MEAN, ShardRecord, open_latents, read_rows
from vaekit.runtime.engine import Engine
from vaekit.tasks.batch import Progress
from vaekit.tasks.cache_data import Scanned
from vaekit.tasks.cache_folder import CacheState
from vaekit.tasks.cache_shard import Encoder, ShardItem, moments, unchanged
from vaekit.vae import at_item_size

DECODED_VALUES = 3 * 2**20
"""Values of the items that are decoded: four images of 512 x 512."""
MOST_DECODED = 64
LEAST_VERIFIED = 8
"""Items that are verified at least, if there are as many."""
TOLERANCE, TOLERANCE_HALF = 0.05, 0.15
"""The largest RMS difference of equal latents, in standard deviations of the item's: storing them as int8 costs 0.01,
and networks in half precision 0.05. Those of another image or VAE differ by more than 0.5."""
LOG_VARIANCE_TOLERANCE = 0.5
WORST_LOSS = 0.1
"""dB of PSNR that storing may cost."""


@dataclass(frozen=True)
class RoundingLoss:
    """What storing latents costs after the decoder."""

    items: int
    exact: float
    """PSNR of items decoded from their latents, in dB."""
    stored: float
    """PSNR of items decoded from their stored latents, in dB."""

    @property
    def loss(self) -> float:
        """The difference in dB; 0 for perfect reconstructions."""
        return 0.0 if self.exact == self.stored else self.exact - self.stored

    @property
    def is_large(self) -> bool:
        return self.loss > WORST_LOSS


@dataclass(frozen=True)
class Verification:
    """The comparison of stored latents with those of the data."""

    shards: int
    """Finished shards whose hash was checked."""
    damaged: Sequence[str] = ()
    """Shards that had another hash, and were encoded again."""
    items: int = 0
    """Items that were encoded again."""
    largest: float = 0.0
    """The largest RMS difference, in standard deviations of the item's latents."""
    different: Mapping[str, float] = field(default_factory=dict)
    """Items whose latents differ, with the difference."""


def measure_rounding(encoder: Encoder, state: CacheState, at: Mapping[str, Scanned]) -> RoundingLoss | None:
    """Decode a few items from their latents and from their stored latents; None if that says nothing.

    Args:
        encoder: encodes them again.
        state: of the cache.
        at: the items of the data set by key.
    """
    engine = encoder.model.engine
    if engine.vae.decoder is None or not encoder.model.schema.example().is_floating_point():
        return None
    places = [(name, row) for name, r in state.records.items() for row, item in enumerate(r.items) if item.key in at]
    if not places:
        return None
    values = engine.geometry.channels * max(math.prod(r.items[0].bucket) for r in state.records.values() if r.items)
    most = decoded_count(values)
    return rounding_of(encoder, state, places[:: -(-len(places) // most)], at)


def decoded_count(values: int) -> int:
    """The number of items of a sample that are decoded, given the values of the largest one."""
    return max(1, min(MOST_DECODED, DECODED_VALUES // values))


def decoded_error(engine: Engine, z: Tensor, x: Tensor) -> Tensor:
    """The mean squared error of an item (1, c, *size) that is decoded from a latent (1, z, *latent)."""
    decoded = at_item_size(engine.decode(z, tuple(x.shape[2:])), engine.geometry)
    return (decoded.cpu().double() - x.double()).square().mean()


def rounding_of(
    encoder: Encoder, state: CacheState, places: Sequence[tuple[str, int]], at: Mapping[str, Scanned]
) -> RoundingLoss | None:
    """The loss for some rows of shards; None if none of them can be read any more."""
    engine = encoder.model.engine
    count, errors, peak = 0, torch.zeros(2, dtype=torch.double), 0.0
    for name, row in places:
        record = state.records[name]
        x = fitted_again(encoder, record, row, at)
        if x is None:
            continue
        tensors = open_latents(encoder.folder, record, encoder.description)
        stored = read_rows(encoder.folder, record, tensors, MEAN, torch.tensor([row]))
        pairs = torch.stack([decoded_error(engine, z, x) for z in (moments(encoder, engine, x).mean, stored)])
        peak = max(peak, float(x.max() - x.min()))
        count, errors = count + 1, errors + pairs
    if not count or not bool(errors.isfinite().all()) or peak == 0:
        return None
    exact, lossy = (10 * math.log10(peak**2 / value) if value > 0 else math.inf for value in (errors / count).tolist())
    return RoundingLoss(count, exact, lossy)


def fitted_again(encoder: Encoder, record: ShardRecord, row: int, at: Mapping[str, Scanned]) -> Tensor | None:
    """An item of a shard in the size of its bucket, (1, c, *bucket); None if it cannot be read any more."""
    item = record.items[row]
    place = at[item.key]
    content = unchanged(encoder.data, ShardItem(item.key, place.position, place.name))
    return None if content is None else encoder.fitting.fit([content], item.bucket).x


def verify(
    encoder: Encoder,
    state: CacheState,
    at: Mapping[str, Scanned],
    share: float,
    damaged: Sequence[str],
    progress: Progress,
) -> Verification:
    """Encode a random sample of items again, and compare.

    Args:
        encoder: encodes them.
        state: of the cache.
        at: the items of the data set by key.
        share: of the items, from 0 to 1.
        damaged: shards that had another hash than their record.
        progress: called with the number of items, and of all.
    """
    places = [(name, row) for name, r in state.records.items() for row, item in enumerate(r.items) if item.key in at]
    count = min(len(places), max(LEAST_VERIFIED, round(share * len(places))))
    sample = sorted(random.Random(0).sample(places, count))
    half = encoder.model.engine.plan.torch_encode_dtype != torch.float32
    limit = TOLERANCE_HALF if half else TOLERANCE
    largest, different, checked = 0.0, {}, 0
    opened: dict[str, Any] = {}
    for done, (name, row) in enumerate(sample, start=1):
        record = state.records[name]
        if name not in opened:
            opened = {name: open_latents(encoder.folder, record, encoder.description)}
        x = fitted_again(encoder, record, row, at)
        if x is not None:
            mean, variance = differences(encoder, record, opened[name], row, x)
            largest, checked = max(largest, mean), checked + 1
            if not (mean <= limit and variance <= LOG_VARIANCE_TOLERANCE):
                different[record.items[row].name] = mean
        progress(done, count)
    return Verification(len(state.records), damaged, checked, largest, different)


def differences(
    encoder: Encoder, record: ShardRecord, tensors: Mapping[str, Tensor], row: int, x: Tensor
) -> tuple[float, float]:
    """RMS differences of an item's stored and new latents, beyond what coded ones are rounded by: of the mean, in its
    standard deviations, and of the log-variance."""
    again, steps = moments(encoder, encoder.model.engine, x), encoder.steps
    stored = read_rows(encoder.folder, record, tensors, MEAN, torch.tensor([row]))
    spread = float(again.mean.std()) if again.mean.numel() > 1 else 1.0
    mean = beyond_rounding(stored - again.mean, None if steps is None else steps.mean) / max(spread, 1e-6)
    if again.log_variance is None:
        return mean, 0.0
    variance = read_rows(encoder.folder, record, tensors, LOG_VARIANCE, torch.tensor([row])) - again.log_variance
    return mean, beyond_rounding(variance, None if steps is None else (steps.log_variance,) * variance.shape[1])


def beyond_rounding(difference: Tensor, steps: Sequence[float] | None) -> float:
    """The RMS of differences (1, z, *latent), each less half a step of its channel if there are steps."""
    if steps is None:
        return float(difference.square().mean().sqrt())
    half = torch.tensor(steps).reshape(-1, *[1] * (difference.dim() - 2)) / 2
    return float((difference.abs() - half).clamp(min=0).square().mean().sqrt())
