"""What all heads that say codes have in common: how many there are, and how often each was chosen of late."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Generator, Tensor, nn

from vaekit.shapes import Codes

WINDOW = 100
"""Choices for each code there is: over the last so many, use is told."""

SumOver = Callable[[Iterable[Tensor]], None]
"""Replaces tensors by their sums over all processes."""


class CodeHead(nn.Module):
    """Moments -> a posterior over `size` codes at every position. While it is trained it counts them.

    What it counts is no weight: it stands in no file, and `progress` and `restore` carry it over a pause.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.counts: Tensor | None = None
        """How often each code was chosen since the last step, (size,)."""
        self.recent: Tensor | None = None
        """How often of late: one choice counts e times less with every `WINDOW * size` choices behind it."""
        self.waiting: Tensor | None = None
        """Choices since that of each code, (size,); of one that was never chosen, since the beginning and `WINDOW *
        size` more."""

    @property
    def choices(self) -> int:
        """Codes at each position."""
        return 1

    @property
    def watching(self) -> bool:
        """Whether what passes through is learned from: not while held-out items are looked at."""
        return self.training and torch.is_grad_enabled()

    def note(self, codes: Codes) -> None:
        """Count codes, in training."""
        if self.watching:
            counts = torch.bincount(codes.flatten(), minlength=self.size)
            self.counts = counts if self.counts is None else self.counts + counts

    def adapt(self, sum_: SumOver, generator: Generator) -> None:
        """Take over what was counted since the last step."""
        if self.counts is None:
            return
        counts, self.counts = self.counts, None
        sum_([counts])
        chosen = int(counts.sum())
        if self.recent is None or self.waiting is None:
            self.recent = torch.zeros(self.size, dtype=torch.float64)
            self.waiting = torch.full((self.size,), WINDOW * self.size)
        kept = torch.tensor(-chosen / (WINDOW * self.size), dtype=torch.float64).exp()
        self.recent = self.recent.to(counts.device) * kept.to(counts.device) + counts
        self.waiting = torch.where(counts > 0, 0, self.waiting.to(counts.device) + chosen)

    def forget(self) -> None:
        """Keep nothing of what was counted since the last step."""
        self.counts = None

    def progress(self) -> dict[str, Tensor]:
        """What it knows beside its weights, between steps."""
        known = {"recent": self.recent, "waiting": self.waiting}
        return {name: tensor for name, tensor in known.items() if tensor is not None}

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Know that again."""
        self.recent, self.waiting, self.counts = progress.get("recent"), progress.get("waiting"), None
