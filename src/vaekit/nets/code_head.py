"""The base class of heads with codes: it counts how often each code is used in training."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Generator, Tensor, nn

from vaekit.shapes import Codes

WINDOW = 100
"""The length of the window for usage statistics, in choices per code."""

SumOver = Callable[[Iterable[Tensor]], None]
"""Replaces tensors by their sums over all processes."""


class CodeHead(nn.Module):
    """Moments -> a posterior over `size` codes at every position. It counts the codes in training.

    The counts are not in the state dict: `progress` and `restore` save them in checkpoints of training.

    Args:
        size: the number of codes.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.counts: Tensor | None = None
        """Counts of the codes since the last step, (size,)."""
        self.recent: Tensor | None = None
        """Exponentially decaying counts, (size,), with a decay of 1/e per `WINDOW * size` choices."""
        self.waiting: Tensor | None = None
        """Choices since the last use of each code, (size,); starts at `WINDOW * size`."""

    @property
    def choices(self) -> int:
        """The number of codes at each position."""
        return 1

    @property
    def recording(self) -> bool:
        """Whether statistics are recorded: in training, but not in validation."""
        return self.training and torch.is_grad_enabled()

    def note(self, codes: Codes) -> None:
        """Count codes (b, ...) in training."""
        if self.recording:
            counts = torch.bincount(codes.flatten(), minlength=self.size)
            self.counts = counts if self.counts is None else self.counts + counts

    def adapt(self, sum_: SumOver, generator: Generator) -> None:
        """Update the statistics with the counts since the last step."""
        if self.counts is None:
            return
        counts, self.counts = self.counts, None
        sum_([counts])
        chosen = int(counts.sum())
        if self.recent is None or self.waiting is None:
            self.recent = torch.zeros(self.size, dtype=torch.float64)
            self.waiting = torch.full((self.size,), WINDOW * self.size)
        decay = torch.tensor(-chosen / (WINDOW * self.size), dtype=torch.float64).exp()
        self.recent = self.recent.to(counts.device) * decay.to(counts.device) + counts
        self.waiting = torch.where(counts > 0, 0, self.waiting.to(counts.device) + chosen)

    def forget(self) -> None:
        """Discard the counts since the last step."""
        self.counts = None

    def progress(self) -> dict[str, Tensor]:
        """The statistics between steps."""
        statistics = {"recent": self.recent, "waiting": self.waiting}
        return {name: tensor for name, tensor in statistics.items() if tensor is not None}

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Restore the statistics."""
        self.recent, self.waiting, self.counts = progress.get("recent"), progress.get("waiting"), None
