"""How a codebook follows its data without a gradient: averages, first codes, and new life for codes that nobody uses.

Everything is a sum over micro-batches and processes, so that it does not matter how a step is divided among them.
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
KEY_BITS = 24
LEAST_WEIGHT = 1e-6
"""Of an average: a code whose weight has faded to less stays where it is."""
DISTANCES_AT_ONCE = 1 << 24
"""How many distances are held in memory: 64 MiB in fp32, whatever the size of image and codebook."""


@dataclass(frozen=True)
class CodebookLearning:
    """How the codes of a codebook are learned. It is about training, and stands in no file of weights."""

    by: str = AVERAGE
    """"average": each code is a moving average of what was taken for it (van den Oord et al. 2017, arXiv 1711.00937,
    appendix A.1); "gradient": that of the term `codebook`."""
    decay: float = 0.99
    """Of the averages, for each step."""
    first: str = K_MEANS
    """"k-means": the first step's data are clustered; "data": some of them, chosen at random, are the codes; "random":
    the codes stay as they are."""
    revive_after: float = 100.0
    """A code that was not chosen in so many choices for each code there is, is replaced by something that the encoder
    said in the current step (Dhariwal et al. 2020, arXiv 2005.00341, appendix B.1). 0: never."""

    def __post_init__(self) -> None:
        for name, known in (("by", WAYS), ("first", FIRST)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r} and none of {', '.join(known)}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay} and not from 0 to below 1")


@torch.no_grad()
def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """For vectors (n, d) the index of the nearest of (k, d), (n,); of equally near ones the first."""
    # Differences are taken before squaring: with |z|^2 - 2 z.e + |e|^2, two close codes may change places.
    apart = partial(torch.cdist, x2=codebook, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.cat([apart(chunk).argmin(dim=1) for chunk in split(vectors, codebook)])


@torch.no_grad()
def nearest_by_products(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The same by one product of matrices, |e|^2 / 2 - z.e: several times as fast.

    Of two codes whose squared distances differ by less than the rounding of |z|^2 + |e|^2 either may be the answer.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        half = codebook.square().sum(dim=1) / 2
        scores = (torch.addmm(half, chunk, codebook.T, alpha=-1) for chunk in split(vectors, codebook))
        return torch.cat([each.argmin(dim=1) for each in scores])


def split(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, ...]:
    """Vectors in parts whose distances to all codes fit into memory."""
    return vectors.split(max(1, DISTANCES_AT_ONCE // len(codebook)))


class CodebookLearner:
    """What a codebook of k vectors of d numbers knows of its data, from step to step.

    Args:
        learning: how.
        delay: steps to wait with the first codes, for a codebook that quantizes what others left over.
    """

    def __init__(self, learning: CodebookLearning, delay: int = 0) -> None:
        self.learning = learning
        self.delay = delay
        self.started = learning.first == RANDOM
        self.sizes: Tensor | None = None
        """(k,): moving average of how often each code was chosen."""
        self.totals: Tensor | None = None
        """(k, d): moving average of the sums of what was taken for it."""
        self.idle: Tensor | None = None
        """(k,): choices since that of each code, or since it got its place."""
        self.forget()

    def forget(self) -> None:
        """Keep nothing of the current step."""
        self.sums: Tensor | None = None
        self.offers: Tensor | None = None
        self.keys: Tensor | None = None
        self.all: list[Tensor] = []

    def note(self, vectors: Tensor, codes: Tensor, count: int) -> None:
        """Collect vectors (n, d) and what they were taken for, (n,), among so many codes.

        For every code one of them is offered as its successor, with a random key: the highest of a step wins. The draw
        is from torch's own generator, which belongs to a micro-batch as that of dropout does.
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
            places = torch.randperm(len(vectors))[:count] if enough else torch.randint(len(vectors), (count,))
            offers, keys = vectors[places.to(vectors.device)], torch.randint(2**KEY_BITS, (count,))
            if self.offers is None or self.keys is None:
                self.offers, self.keys = offers, keys.to(vectors.device)
                return
            better = keys.to(vectors.device) > self.keys
            self.offers = torch.where(better[:, None], offers, self.offers)
            self.keys = torch.where(better, keys.to(vectors.device), self.keys)

    @torch.no_grad()
    def adapt(self, codebook: Tensor, counts: Tensor, sum_: SumOver) -> None:
        """Change a codebook (k, d), and what is known of it, by what was collected; `counts` (k,) are those of all
        processes."""
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
        """The first codes: some of the data, or the centers of clusters of them."""
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
        """Equations 6 to 8 of arXiv 1711.00937."""
        sums = torch.zeros_like(codebook) if self.sums is None else self.sums.to(codebook.dtype)
        sum_([sums])
        if self.sizes is None or self.totals is None:
            self.sizes, self.totals = torch.ones_like(codebook[:, 0]), codebook.clone()
        fresh = 1 - self.learning.decay
        self.sizes = torch.lerp(self.sizes.to(sums), counts.to(sums), fresh)
        self.totals = torch.lerp(self.totals.to(sums), sums, fresh)
        known = self.sizes > LEAST_WEIGHT
        centers = self.totals / self.sizes.clamp(min=LEAST_WEIGHT)[:, None]
        codebook.copy_(torch.where(known[:, None], centers, codebook))

    def revive(self, codebook: Tensor, counts: Tensor, sum_: SumOver) -> None:
        """Give codes that were long idle a new place, with the weight of one vector."""
        idle = torch.zeros_like(counts) if self.idle is None else self.idle.to(counts)
        idle = torch.where(counts > 0, 0, idle + counts.sum())
        dead = idle > self.learning.revive_after * len(codebook)
        self.idle = idle.masked_fill(dead, 0)
        if not dead.any():
            return
        by = self.winners(sum_).to(codebook.dtype)
        codebook.copy_(torch.where(dead[:, None], by, codebook))
        if self.sizes is not None and self.totals is not None:
            self.sizes = torch.where(dead, 1.0, self.sizes.to(by))
            self.totals = torch.where(dead[:, None], by, self.totals.to(by))

    def winners(self, sum_: SumOver) -> Tensor:
        """For every code what was offered with the highest key in all processes, (k, d).

        The highest is found bit by bit, with nothing but sums: whoever lacks a bit that another one has is out.
        """
        assert self.offers is not None and self.keys is not None
        left = torch.ones_like(self.keys, dtype=torch.bool)
        for bit in reversed(range(KEY_BITS)):
            has = left & (self.keys >> bit & 1 > 0)
            anyone = has.to(torch.int64)
            sum_([anyone])
            left = torch.where(anyone > 0, has, left)
        offers = torch.where(left[:, None], self.offers, 0.0)
        count = left.to(offers.dtype)
        sum_([offers, count])
        return offers / count[:, None]

    def progress(self) -> dict[str, Tensor]:
        """All that is known between steps."""
        known = {"sizes": self.sizes, "totals": self.totals, "idle": self.idle}
        told = {name: tensor for name, tensor in known.items() if tensor is not None}
        return told | {"started": torch.tensor(self.started), "delay": torch.tensor(self.delay)}

    def restore(self, progress: Mapping[str, Tensor]) -> None:
        """Know that again."""
        self.sizes, self.totals, self.idle = (progress.get(name) for name in ("sizes", "totals", "idle"))
        if "started" in progress:
            self.started, self.delay = bool(progress["started"]), int(progress["delay"])
        self.forget()
