"""Learn a codebook without gradients: moving averages, initialization, and replacement of unused codes.

All statistics are sums over micro-batches and processes, so that results do not depend on the division of a step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vaekit.nets.code_head import SumOver

AVERAGE, GRADIENT = WAYS = ("average", "gradient")
K_MEANS, DATA, RANDOM = FIRST = ("k-means", "data", "random")
LLOYD_STEPS = 10
"""Iterations of k-means."""
KEY_BITS = 24
"""Bits of the random keys that choose replacement vectors."""
MIN_WEIGHT = 1e-6
"""Codes whose average weight is smaller are not updated."""
DISTANCES_AT_ONCE = 1 << 24
"""The maximum number of distances in memory: 64 MiB in fp32, independent of the sizes of image and codebook."""


@dataclass(frozen=True)
class CodebookLearning:
    """How a codebook is learned: the table [codes] of a recipe. It is not stored with the weights."""

    by: str = AVERAGE
    """"average": each code is a moving average of the vectors assigned to it (van den Oord et al. 2017, arXiv
    1711.00937, appendix A.1); "gradient": by the gradient of the term `codebook`."""
    decay: float = 0.99
    """Of the averages, per step."""
    first: str = K_MEANS
    """The initialization: "k-means" clusters the encoder outputs of the first step; "data" takes a random subset of
    them; "random" keeps the initial weights."""
    revive_after: float = 100.0
    """A code that is unused for this many choices per code is replaced by a random encoder output of the current step
    (Dhariwal et al. 2020, arXiv 2005.00341, appendix B.1). 0 for never."""

    def __post_init__(self) -> None:
        for name, known in (("by", WAYS), ("first", FIRST)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay}, but must be in [0, 1)")


@torch.no_grad()
def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The index of the nearest code (k, d) of each vector (n, d): (n,). Of equally near codes, the first."""
    # Subtract before squaring: the rounding of |z|^2 - 2 z.e + |e|^2 could swap two close codes.
    distances = partial(torch.cdist, x2=codebook, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.cat([distances(chunk).argmin(dim=1) for chunk in split(vectors, codebook)])


@torch.no_grad()
def nearest_by_products(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Like `nearest`, by a matrix product, |e|^2 / 2 - z.e: several times as fast.

    Of two codes whose squared distances differ by less than the rounding of |z|^2 + |e|^2, either may be returned.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        half = codebook.square().sum(dim=1) / 2
        scores = (torch.addmm(half, chunk, codebook.T, alpha=-1) for chunk in split(vectors, codebook))
        return torch.cat([each.argmin(dim=1) for each in scores])


def split(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, ...]:
    """Split vectors (n, d) into chunks with at most `DISTANCES_AT_ONCE` distances to codes."""
    return vectors.split(max(1, DISTANCES_AT_ONCE // len(codebook)))


class CodebookLearner:
    """Learns a codebook (k, d) from the vectors that it quantizes.

    Args:
        learning: the settings.
        delay: steps before the initialization, for a codebook that quantizes the residuals of others.
    """

    def __init__(self, learning: CodebookLearning, delay: int = 0) -> None:
        self.learning = learning
        self.delay = delay
        self.started = learning.first == RANDOM
        self.sizes: Tensor | None = None
        """Moving averages of the counts of codes, (k,)."""
        self.totals: Tensor | None = None
        """Moving averages of the sums of assigned vectors, (k, d)."""
        self.idle: Tensor | None = None
        """Choices since the last use or replacement of each code, (k,)."""
        self.forget()

    def forget(self) -> None:
        """Discard the statistics of the current step."""
        self.sums: Tensor | None = None
        """Sums of assigned vectors, (k, d)."""
        self.candidates: Tensor | None = None
        """A random vector for each code, (k, d), as its replacement."""
        self.keys: Tensor | None = None
        """Their random keys, (k,)."""
        self.all: list[Tensor] = []
        """All vectors, for the initialization."""

    def note(self, vectors: Tensor, codes: Tensor, count: int) -> None:
        """Record vectors (n, d) with the codes assigned to them, (n,), out of `count` codes.

        For every code, a random vector with a random key is a candidate for its replacement; the highest key of a step
        wins. Random numbers come from torch's global generator, which is seeded for each micro-batch.
        """
        vectors = vectors.detach()
        if not self.started:
            self.all.append(vectors)
        elif self.learning.by == AVERAGE:
            if self.sums is None:
                self.sums = vectors.new_zeros(count, vectors.shape[1])
            self.sums.index_add_(0, codes, vectors)
        if not self.started or self.learning.revive_after:
            enough = len(vectors) >= count
            indices = torch.randperm(len(vectors))[:count] if enough else torch.randint(len(vectors), (count,))
            candidates, keys = vectors[indices.to(vectors.device)], torch.randint(2**KEY_BITS, (count,))
            if self.candidates is None or self.keys is None:
                self.candidates, self.keys = candidates, keys.to(vectors.device)
                return
            better = keys.to(vectors.device) > self.keys
            self.candidates = torch.where(better[:, None], candidates, self.candidates)
            self.keys = torch.where(better, keys.to(vectors.device), self.keys)

    @torch.no_grad()
    def adapt(self, codebook: Tensor, counts: Tensor, sum_: SumOver) -> None:
        """Update a codebook (k, d) with the statistics of the step; `counts` (k,) are those of all processes."""
        if self.delay:
            self.delay -= 1
        elif not self.started:
            self.start(codebook, sum_)
        else:
            if self.learning.by == AVERAGE:
                self.average(codebook, counts, sum_)
            if self.learning.revive_after:
                self.revive(codebook, counts, sum_)
        self.forget()

    def start(self, codebook: Tensor, sum_: SumOver) -> None:
        """Initialize the codes with random vectors, or with the centers of their clusters."""
        codebook.copy_(self.winners(sum_))
        sizes = torch.ones_like(codebook[:, 0])
        vectors = torch.cat(self.all)
        for _ in range(LLOYD_STEPS if self.learning.first == K_MEANS else 0):
            codes = nearest_by_products(vectors, codebook)
            sums = torch.zeros_like(codebook).index_add_(0, codes, vectors.to(codebook.dtype))
            counts = torch.bincount(codes, minlength=len(codebook)).to(sums.dtype)
            sum_([sums, counts])
            codebook.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], codebook))
            sizes = counts
        self.sizes, self.totals = sizes, codebook * sizes[:, None]
        self.started = True

    def average(self, codebook: Tensor, counts: Tensor, sum_: SumOver) -> None:
        """Update moving averages and codes (arXiv 1711.00937, eqs. 6 to 8)."""
        sums = torch.zeros_like(codebook) if self.sums is None else self.sums.to(codebook.dtype)
        sum_([sums])
        if self.sizes is None or self.totals is None:
            self.sizes, self.totals = torch.ones_like(codebook[:, 0]), codebook.clone()
        rate = 1 - self.learning.decay
        self.sizes = torch.lerp(self.sizes.to(sums), counts.to(sums), rate)
        self.totals = torch.lerp(self.totals.to(sums), sums, rate)
        used = self.sizes > MIN_WEIGHT
        centers = self.totals / self.sizes.clamp(min=MIN_WEIGHT)[:, None]
        codebook.copy_(torch.where(used[:, None], centers, codebook))

    def revive(self, codebook: Tensor, counts: Tensor, sum_: SumOver) -> None:
        """Replace codes that were idle for too long, with the weight of one vector."""
        idle = torch.zeros_like(counts) if self.idle is None else self.idle.to(counts)
        idle = torch.where(counts > 0, 0, idle + counts.sum())
        dead = idle > self.learning.revive_after * len(codebook)
        self.idle = idle.masked_fill(dead, 0)
        if not dead.any():
            return
        replacements = self.winners(sum_).to(codebook.dtype)
        codebook.copy_(torch.where(dead[:, None], replacements, codebook))
        if self.sizes is not None and self.totals is not None:
            self.sizes = torch.where(dead, 1.0, self.sizes.to(replacements))
            self.totals = torch.where(dead[:, None], replacements, self.totals.to(replacements))

    def winners(self, sum_: SumOver) -> Tensor:
        """The candidate of each code with the highest key in all processes, (k, d).

        The maximum is found bit by bit from sums alone: a key without a bit that another key has is eliminated.
        """
        assert self.candidates is not None and self.keys is not None
        remaining = torch.ones_like(self.keys, dtype=torch.bool)
        for bit in reversed(range(KEY_BITS)):
            has_bit = remaining & (self.keys >> bit & 1 > 0)
            holders = has_bit.to(torch.int64)
            sum_([holders])
            remaining = torch.where(holders > 0, has_bit, remaining)
        totals = torch.where(remaining[:, None], self.candidates, 0.0)
        count = remaining.to(totals.dtype)
        sum_([totals, count])
        return totals / count[:, None]

    def progress(self) -> dict[str, Tensor]:
        """The state between steps."""
        state = {"sizes": self.sizes, "totals": self.totals, "idle": self.idle}
        tensors = {name: tensor for name, tensor in state.items() if tensor is not None}
        return tensors | {"started": torch.tensor(self.started), "delay": torch.tensor(self.delay)}

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Restore this state."""
        self.sizes, self.totals, self.idle = (progress.get(name) for name in ("sizes", "totals", "idle"))
        if "started" in progress:
            self.started, self.delay = bool(progress["started"]), int(progress["delay"])
        self.forget()
