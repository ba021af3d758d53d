"""Count the NaN and infinite values among weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vaekit.errors import printable
from vaekit.identification.fingerprint import TensorValues
from vaekit.vae import VAE

BROKEN_WEIGHTS = "The file is damaged, or its training diverged: download it again, or use an earlier checkpoint."
NAMED = 3
"""The maximum number of tensor names in a message; the others are counted."""


@dataclass(frozen=True)
class NonFiniteTensor:
    """A tensor with values that are NaN or infinite."""

    name: str
    nan: int
    infinite: int
    of: int
    """The number of its values."""

    def __str__(self) -> str:
        return f"{printable(self.name)} ({self.nan + self.infinite:,} of {self.of:,})"


def non_finite_text(tensors: Sequence[NonFiniteTensor]) -> str:
    """A phrase with the number of values and the first tensors: "4 values of 2 tensors: a (1 of 9), b (3 of 9)"."""
    count = sum(each.nan + each.infinite for each in tensors)
    more = f" and {len(tensors) - NAMED} more" if len(tensors) > NAMED else ""
    values, places = ("value" if count == 1 else "values"), ("tensor" if len(tensors) == 1 else "tensors")
    return f"{count:,} {values} of {len(tensors):,} {places}: {', '.join(map(str, tensors[:NAMED]))}{more}"


def count_non_finite(values: Tensor) -> tuple[int, int]:
    """The numbers of NaN and of infinite values."""
    if not values.is_floating_point() or not values.numel():
        return 0, 0
    wide = values.float()
    low, high = torch.aminmax(wide)
    if torch.isfinite(low) and torch.isfinite(high):
        return 0, 0
    return int(wide.isnan().sum()), int(wide.isinf().sum())


class NonFiniteCounter:
    """Counts the values of tensors while they are read for another purpose."""

    def __init__(self) -> None:
        self._counts: dict[str, NonFiniteTensor] = {}

    @property
    def tensors(self) -> tuple[NonFiniteTensor, ...]:
        """The tensors with such values among those read so far."""
        return tuple(each for each in self._counts.values() if each.nan + each.infinite)

    def watch(self, tensors: Iterable[TensorValues]) -> Iterator[TensorValues]:
        """The same tensors, counted when their values are read."""
        for tensor in tensors:
            yield replace(tensor, parts=partial(self._counted, tensor))

    def _counted(self, tensor: TensorValues) -> Iterator[Tensor]:
        nan = infinite = size = 0
        for part in tensor.parts():
            more = count_non_finite(part)
            nan, infinite, size = nan + more[0], infinite + more[1], size + part.numel()
            yield part
        self._counts[tensor.key] = NonFiniteTensor(tensor.key, nan, infinite, size)


def non_finite_weights(vae: VAE) -> list[NonFiniteTensor]:
    """The tensors of a VAE in memory with such values, by native names."""
    counted = (
        NonFiniteTensor(name, *count_non_finite(tensor.detach()), tensor.numel())
        for name, tensor in vae.state_dict().items()
    )
    return [each for each in counted if each.nan + each.infinite]


def non_finite_note(pieces: Iterable[tuple[str, Callable[[], Iterable[Tensor]]]]) -> str:
    """A sentence about such values in stored tensors; empty if there are none.

    Args:
        pieces: names, and functions that read the values in parts.
    """
    found = []
    for name, parts in pieces:
        counts = [(*count_non_finite(part), part.numel()) for part in parts()]
        found.append(NonFiniteTensor(name, *(sum(column) for column in zip(*counts, strict=True))) if counts else None)
    broken = [each for each in found if each is not None and each.nan + each.infinite]
    return f"NaN or infinite weights: {non_finite_text(broken)}. {BROKEN_WEIGHTS}" if broken else ""
