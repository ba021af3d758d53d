"""Latents with a hyperprior as bytes, and back: what is coded are integers, whose tables follow from exact networks.

Both directions run the same steps: the summary h, then one slice of channels after the other, each with the tables that
follow from what came before. Networks that give tables run in fixed-point arithmetic (`nets.fixed_point`), so that both
sides have the same tables on any machine.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.codec.scale_tables import STEPS_PER_OCTAVE, step_of, table
from vaekit.errors import BadArchive
from vaekit.nets.fixed_point import WEIGHT_BITS, activations, fixed_point, rounded
from vaekit.nets.hyperprior import LEAST_LOG_SCALE, LEVELS, LEVELS_PER_OCTAVE, REDUCTION, Hyperprior
from vaekit.optional import require

Integers = NDArray[np.int32]
VALUE_BITS = 20
"""Binary digits behind the point of decoded values."""
LARGEST_INTEGER = 2**15 - 1
"""Coded integers are clamped to this."""


@dataclass(frozen=True, eq=False)
class CodedLatents:
    """What a file has of the latents of one image."""

    words: NDArray[np.uint32]
    """Of the range coder."""
    checksum: int
    """CRC-32 of all integers."""


@torch.no_grad()
def encode_values(net: Hyperprior, values: Tensor, step_code: int) -> CodedLatents:
    """Code values (1, c, i, j), rounded to steps of 2^(step_code / 64)."""
    coder = constriction().stream.queue.RangeEncoder()
    checksum = 0

    def write(levels: NDArray[np.int64], wanted: Tensor) -> Integers:
        nonlocal checksum
        integers = torch.round(wanted).clamp(-LARGEST_INTEGER, LARGEST_INTEGER).flatten().numpy().astype(np.int32)
        checksum = zlib.crc32(integers.astype("<i4").tobytes(), checksum)
        for level, where in by_level(levels):
            write_level(coder, level, integers[where])
        return integers

    log_step = step_code / STEPS_PER_OCTAVE
    summary = net.summary(values, torch.full_like(values[:, :1], log_step)).double()
    walk(net, step_code, values.shape[2:], write, summary, values.double())
    return CodedLatents(coder.get_compressed(), checksum)


@torch.no_grad()
def decode_values(net: Hyperprior, coded: CodedLatents, size: tuple[int, int], step_code: int) -> Tensor:
    """Values (1, c, i, j) in double precision.

    Raises:
        BadArchive: the integers are not those that were coded.
    """
    coder = constriction().stream.queue.RangeDecoder(coded.words)
    checksum = 0

    def read(levels: NDArray[np.int64], _: Tensor) -> Integers:
        nonlocal checksum
        integers = np.empty(levels.size, np.int32)
        for level, where in by_level(levels):
            integers[where] = read_level(coder, level, len(where))
        checksum = zlib.crc32(integers.astype("<i4").tobytes(), checksum)
        return integers

    try:
        values = walk(net, step_code, size, read, None, None)
    except AssertionError:  # constriction's, for words that no encoder writes
        values = None
    if values is None or checksum != coded.checksum:
        raise BadArchive(
            "The compressed image is damaged, or was written with other weights.",
            "The decoded values do not have their checksum.",
            "Decompress it with the VAE that compressed it.",
        )
    return values


def walk(
    net: Hyperprior,
    step_code: int,
    size: "torch.Size | tuple[int, int]",
    integers: Callable[[NDArray[np.int64], Tensor], Integers],
    summary: Tensor | None,
    values: Tensor | None,
) -> Tensor:
    """Decoded values (1, c, i, j), from integers that are given by a function of levels and of wanted values."""
    step, log_step = step_of(step_code), step_code / STEPS_PER_OCTAVE
    unit = rounded(net.unit, WEIGHT_BITS)[:, None, None]
    inverse = rounded(1 / unit.clamp(min=2.0**-WEIGHT_BITS), WEIGHT_BITS)
    height, width = size

    mean, levels = rounded(net.mean), levels_of(rounded(net.log_scale))
    shape = (len(mean), -(-height // REDUCTION), -(-width // REDUCTION))
    wanted = torch.zeros(shape, dtype=torch.float64) if summary is None else summary[0] - mean
    whole = integers(np.broadcast_to(levels, shape).ravel(), wanted)
    h = torch.from_numpy(whole.astype(np.float64)).view(1, *shape) + mean
    features = fixed_point(net.synthesis, h)[..., :height, :width]

    known = torch.cat([features, torch.full_like(features[:, :1], log_step)], dim=1)
    decoded = []
    for (first, end), slice_net in zip(net.config.bounds, net.slices, strict=True):
        outputs: Any = slice_net
        mean, log_scale = fixed_point(outputs, known).chunk(2, dim=1)
        mean = mean * unit[first:end]
        wanted = torch.zeros_like(mean) if values is None else (values[:, first:end] - mean) / step
        whole = integers(levels_of(log_scale - log_step).ravel(), wanted)
        y = rounded(mean + torch.from_numpy(whole.astype(np.float64)).view_as(mean) * step, VALUE_BITS)
        decoded.append(y)
        known = torch.cat([known, activations(y * inverse[first:end])], dim=1)
    return torch.cat(decoded, dim=1)


def levels_of(log_scale: Tensor) -> NDArray[np.int64]:
    """The level of each scale, given its binary logarithm in units of the step."""
    level = torch.floor((log_scale - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE + 0.5)
    return level.clamp(0, LEVELS - 1).numpy().astype(np.int64)


def by_level(levels: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """The places of each level that occurs, in ascending order of levels and of places."""
    order = np.argsort(levels.astype(np.uint8), kind="stable")  # a radix sort, unlike that of wider integers
    found, starts = np.unique(levels[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def model_of(level: int) -> tuple[Any, int]:
    """The coder's model of a level, and r. Parts less one sum to 2^24 less the number of symbols, so that the coder's
    own rounding, which gives each symbol one part and shares the rest, leaves them as they are."""
    parts = table(level)
    models = constriction().stream.model
    return models.Categorical((parts - 1).astype(np.float64), perfect=False), (len(parts) - 2) // 2


def write_level(coder: Any, level: int, values: Integers) -> None:
    """Write values of one level; those beyond the table are written again, as 16 bits."""
    model, reach = model_of(level)
    beyond = np.abs(values) > reach
    coder.encode(np.where(beyond, 2 * reach + 1, values + reach).astype(np.int32), model)
    if beyond.any():
        coder.encode((values[beyond] + LARGEST_INTEGER + 1).astype(np.int32), sixteen_bits())


def read_level(coder: Any, level: int, count: int) -> Integers:
    """Read values of one level."""
    model, reach = model_of(level)
    values: Integers = coder.decode(model, count) - reach
    beyond = values == reach + 1
    if beyond.any():
        values[beyond] = coder.decode(sixteen_bits(), int(beyond.sum())) - (LARGEST_INTEGER + 1)
    return values


def sixteen_bits() -> Any:
    """The coder's model of 16 random bits."""
    return constriction().stream.model.Uniform(2**16)


def constriction() -> Any:
    """The entropy coder.

    Raises:
        MissingPackage: it is not installed.
    """
    return require("constriction", "code values by their probabilities", "codec")
