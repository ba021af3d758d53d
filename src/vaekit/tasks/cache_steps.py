"""Find the steps of coded latents: the largest ones that cost less than 0.1 dB after the decoder.

Rounding to a step s_c in channel c adds g_c s_c^2 / 12 to the squared error of a decoded item, where g_c is how
sensitive the decoder is to noise in the channel, and saves log2 s_c bits for each value. For a given error, the sum of
bits is smallest if g_c s_c^2 is the same in all channels (as in reverse water-filling, Cover & Thomas 2006, 10.3.3).
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vaekit.errors import BadItem, NotFound
from vaekit.latent_cache.coded_storage import integers_of
from vaekit.latent_cache.steps import CodingSteps, read_steps, write_steps
from vaekit.latent_cache.storage import CODED
from vaekit.runtime.engine import Engine
from vaekit.shards import claimed
from vaekit.tasks.cache_checks import decoded_count, decoded_error
from vaekit.tasks.cache_data import Scanned
from vaekit.tasks.cache_shard import Encoder, ShardItem, moments, unchanged

LOCK = ".coding.lock"
LOSS = 0.08
"""dB of PSNR that rounding may cost the items of the sample: 0.1 dB, with some room for others."""
UNROUNDED = 4
"""How many times as many items are decoded without rounding: their errors vary more than what rounding adds."""
UNMEASURED_STEP = 0.1
"""Standard deviations: the step where there is no decoder, or no error to measure."""
LARGEST_STEP = 0.5
"""Standard deviations: a channel that hardly matters to the decoder still keeps a signal-to-noise ratio of 17 dB."""
PROBED = 2
"""Items in which the sensitivity of channels is measured."""
PROBED_SIDE = 32
"""Positions along each axis of a latent in which it is measured."""
ROUNDS = 8
CLOSE = 0.85
"""The share of the permitted error with which the search ends."""
Pair = tuple[Tensor, Tensor]
"""An item (1, c, *size) and its latent (1, z, *latent)."""


def steps_for(encoder: Encoder, items: Sequence[Scanned]) -> CodingSteps | None:
    """The steps of a cache, which are found and written if it has none; None if its latents are not coded.

    Args:
        encoder: of the cache.
        items: of the data set.

    Raises:
        BadCache: they are damaged.
        BadItem: no item has finite latents.
        CannotWrite: the disk is full, or the folder is not writable.
    """
    if encoder.description.dtype != CODED:
        return None
    with claimed(encoder.folder / LOCK):
        steps = read_steps(encoder.folder, encoder.description)
        if steps is None:
            steps = found_steps(encoder, fitted_items(encoder, items))
            write_steps(encoder.folder, steps)
        return steps


def fitted_items(encoder: Encoder, items: Sequence[Scanned]) -> Iterator[Tensor]:
    """Items that can be read, (1, c, *bucket): some at regular intervals first."""
    apart = max(1, len(items) // 64)
    for item in (*items[::apart], *(each for place, each in enumerate(items) if place % apart)):
        try:
            content = unchanged(encoder.data, ShardItem(item.key, item.position, item.name))
            if content is not None:
                yield encoder.fitting.fit([content], encoder.fitting.bucket(item.size)).x
        except (BadItem, NotFound):
            continue


def estimated_steps(encoder: Encoder, xs: Sequence[Tensor]) -> CodingSteps | None:
    """The steps that a cache has, or would get by a sample (1, c, *bucket); nothing is written. None if its latents are
    not coded, or the sample is empty.

    Raises:
        BadCache: they are damaged.
        BadItem: no item has finite latents.
    """
    if encoder.description.dtype != CODED or not xs:
        return None
    return read_steps(encoder.folder, encoder.description) or found_steps(encoder, iter(xs))


def found_steps(encoder: Encoder, xs: Iterator[Tensor]) -> CodingSteps:
    """The steps that suit some items (1, c, *bucket).

    Raises:
        BadItem: none of them has finite latents.
    """
    pairs: list[Pair] = []
    for x in xs:
        z = finite_mean(encoder, x)
        if z is not None:
            pairs.append((x, z))
        if pairs and len(pairs) >= UNROUNDED * decoded_count(x.numel()):
            break
    if not pairs:
        domain = encoder.model.domain
        raise BadItem(f"No {domain.item} has latents that are finite.", "", "Check the data and the VAE.")
    spread = spread_of([z for _, z in pairs])
    engine = encoder.model.engine
    if engine.vae.decoder is None or not encoder.model.schema.example().is_floating_point():
        return CodingSteps(tuple((UNMEASURED_STEP * spread).tolist()))
    return searched_steps(engine, pairs, spread)


def finite_mean(encoder: Encoder, x: Tensor) -> Tensor | None:
    """The mean of the posterior of an item, in fp32 if need be; None if it is not finite."""
    for engine in (encoder.model.engine, encoder.exact):
        if engine is not None:
            z = moments(encoder, engine, x).mean
            if bool(z.isfinite().all()):
                return z
    return None


def spread_of(latents: Sequence[Tensor]) -> Tensor:
    """The standard deviation (z,) of each channel of latents (1, z, *latent); channels that do not vary have a
    thousandth of the largest one."""
    values = torch.cat([z[0].double().flatten(1) if z.dim() > 2 else z[0].double()[:, None] for z in latents], 1)
    spread = values.std(1, correction=0)
    largest = float(spread.max())
    return spread.clamp(min=largest / 1000) if largest > 0 else torch.ones_like(spread)


def searched_steps(engine: Engine, pairs: Sequence[Pair], spread: Tensor) -> CodingSteps:
    """The largest steps that cost items no more than `LOSS` after the decoder."""
    exact = mean_error(engine, pairs)
    few = pairs[: decoded_count(pairs[0][0].numel())]
    without = mean_error(engine, few)
    allowed = exact * (10 ** (LOSS / 10) - 1)
    gain = sensitivity(engine, [z for _, z in pairs[:PROBED]], spread)
    unmeasured = CodingSteps(tuple((UNMEASURED_STEP * spread).tolist()))
    if not (math.isfinite(exact) and bool(gain.isfinite().all()) and allowed > 0):
        return unmeasured
    unit = gain.clamp(min=1e-9 * float(gain.max()) + 1e-30).rsqrt()
    factor, best = math.sqrt(12 * allowed / len(unit)), unmeasured
    low, high = (0.0, 0.0), (math.inf, math.inf)
    for _ in range(ROUNDS):
        steps = torch.minimum(factor * unit, LARGEST_STEP * spread)
        added = mean_error(engine, few, steps) - without
        if not added <= allowed:
            high = min(high, (factor, added))
        elif factor > low[0]:
            low, loss = (factor, added), 10 * math.log10(1 + max(added, 0.0) / exact)
            best = CodingSteps(tuple(steps.tolist()), items=len(pairs), loss=loss)
            if added >= CLOSE * allowed or bool((factor * unit >= LARGEST_STEP * spread).all()):
                break
        factor = next_factor(low, high, (1 + CLOSE) / 2 * allowed)
    return best


def next_factor(low: tuple[float, float], high: tuple[float, float], wanted: float) -> float:
    """The factor of steps for which rounding adds about the error that is wanted.

    Args:
        low: the largest factor that adds no more than is allowed, and what it adds; zeros if there is none.
        high: the smallest one that adds more; infinite if there is none.
        wanted: between both errors.
    """
    if not math.isfinite(high[0]):  # the error is a multiple of the factor's square
        return low[0] * min(4.0, math.sqrt(wanted / max(low[1], 1e-9 * wanted)))
    if not low[0]:
        return high[0] * max(0.25, math.sqrt(wanted / high[1])) if math.isfinite(high[1]) else high[0] / 4
    share = min(0.9, max(0.1, (wanted - low[1]) / (high[1] - low[1]))) if math.isfinite(high[1]) else 0.1
    return math.sqrt(low[0] ** 2 + share * (high[0] ** 2 - low[0] ** 2))


def mean_error(engine: Engine, pairs: Sequence[Pair], steps: Tensor | None = None) -> float:
    """The mean squared error of items decoded from their latents, rounded to steps (z,) if given."""
    errors = []
    for x, z in pairs:
        if steps is not None:
            z = integers_of(z, steps) * steps.reshape(-1, *[1] * (z.dim() - 2))
        errors.append(float(decoded_error(engine, z.float(), x)))
    return sum(errors) / len(errors)


def sensitivity(engine: Engine, latents: Sequence[Tensor], spread: Tensor) -> Tensor:
    """The mean squared change (z,) of decoded items for noise of variance 1 in one channel of their latents, measured
    with noise of a 20th of the channel's standard deviation."""
    generator = torch.Generator().manual_seed(0)
    gains = torch.zeros(len(spread), dtype=torch.float64)
    for whole in latents:
        z = probed_part(engine, whole)
        plain = engine.decode(z).double()
        for channel, deviation in enumerate((spread / 20).tolist()):
            noise = deviation * torch.randn(z[:, channel].shape, generator=generator)
            moved = z.clone()
            moved[:, channel] += noise
            change = (engine.decode(moved).double() - plain).square().mean()
            gains[channel] += float(change / noise.double().square().mean())
    return gains / len(latents)


def probed_part(engine: Engine, z: Tensor) -> Tensor:
    """The middle of a latent (1, z, *latent), if the VAE takes any size."""
    geometry = engine.geometry
    if geometry.size is not None or geometry.chunk:
        return z
    for axis in range(2, z.dim()):
        length = min(z.shape[axis], max(PROBED_SIDE, geometry.least_positions))
        z = z.narrow(axis, (z.shape[axis] - length) // 2, length)
    return z.contiguous()
