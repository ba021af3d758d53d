"""Heads that learn from what passes through them, without a gradient: a codebook that follows its data."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Generator, Tensor, nn


@runtime_checkable
class UpdatesWithoutGradient(Protocol):
    """A module that collects statistics in every forward pass while it is training, and takes a step of its own."""

    def adapt(self, sum_: Callable[[Iterable[Tensor]], None], generator: Generator) -> None:
        """Use what was collected since the last step, and forget it.

        Args:
            sum_: replaces tensors by their sums over all processes.
            generator: the same in all processes.
        """

    def forget(self) -> None:
        """Keep nothing of what was collected since the last step."""

    def progress(self) -> dict[str, Tensor]:
        """What it knows beside its weights, between steps."""

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Know that again."""


def heads_without_gradient(module: nn.Module) -> dict[str, UpdatesWithoutGradient]:
    """The parts of a model that adapt, by name."""
    return {name: each for name, each in module.named_modules() if isinstance(each, UpdatesWithoutGradient)}
