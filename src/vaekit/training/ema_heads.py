"""Modules that learn from their inputs without gradients, such as codebooks updated by moving averages."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Generator, Tensor, nn


@runtime_checkable
class UpdatesWithoutGradient(Protocol):
    """A module that accumulates statistics in forward passes in training mode, and updates itself once per step."""

    def adapt(self, sum_: Callable[[Iterable[Tensor]], None], generator: Generator) -> None:
        """Update the module with the statistics since the last step, and discard them.

        Args:
            sum_: replaces tensors by their sums over all processes.
            generator: the same in all processes.
        """

    def forget(self) -> None:
        """Discard the statistics since the last step."""

    def progress(self) -> dict[str, Tensor]:
        """Its state between steps besides weights and buffers."""

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Restore this state."""


def heads_without_gradient(module: nn.Module) -> dict[str, UpdatesWithoutGradient]:
    """The modules of a model that learn without gradients, by name."""
    return {name: each for name, each in module.named_modules() if isinstance(each, UpdatesWithoutGradient)}
