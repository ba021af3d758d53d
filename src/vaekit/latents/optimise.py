"""Maximize functions of latents inside regions: projected gradient ascent, and CMA-ES where there is no gradient.

Both start at the starts of a region, stay inside it, and return the best points that they evaluated. All items of a
batch are optimized at once, each independently of the others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.latents.regions import Region, Vectors, with_gradient

FIRST_STEP, LAST_STEP = 0.5, 1e-3
"""The lengths of the first and last gradient step, relative to the radius."""
FIRST_SIGMA = 0.3
"""The first standard deviation of CMA-ES, relative to the radius."""
MOST_FULL = 128
"""Dimensions up to which CMA-ES adapts a full covariance matrix; above, a diagonal one."""
LEAST_SIGMA, MOST_SIGMA = 1e-12, 1e6
"""Relative to the first one."""
MOST_CONDITION = 1e14
"""Of covariance matrices."""

Score = Callable[[Vectors], Float[Tensor, "b"]]
"""What is maximized: one value for each point."""
AfterStep = Callable[[int], None]
"""Called with the number of finished steps."""


@dataclass(eq=False)
class Best:
    """The best points so far, one for each item."""

    u: Vectors
    score: Float[Tensor, "b"]

    def update(self, u: Vectors, score: Float[Tensor, "b"]) -> None:
        """Replace points whose score is exceeded. Of equal ones, the first stays."""
        better = score > self.score
        self.u = torch.where(better[:, None], u, self.u)
        self.score = torch.where(better, score, self.score)


def no_report(_: int) -> None:
    """Report nothing."""


def ranked(score: Tensor) -> Tensor:
    """Scores in float64, with NaN as the worst."""
    return score.detach().double().nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)


def ascend(score: Score, region: Region, steps: int, bound: float | None = None, after: AfterStep = no_report) -> Best:
    """Maximize a differentiable function by projected gradient ascent with normalized gradients.

    Steps have lengths that fall geometrically from `FIRST_STEP` to `LAST_STEP` of the radius, whatever the unit of the
    function. Where its maximum is known, they are not longer than Polyak's (bound - score) / |gradient|.

    Args:
        score: the function, in float32 or more precisely.
        region: where to search. Its radius is finite.
        steps: the number of steps.
        bound: the maximum of the score, such as 0 for minus a distance; None if it is unknown.
        after: called after each step.

    >>> region = Region(torch.zeros(1, 2, dtype=torch.float64), radius=5.0)
    >>> ascend(lambda u: 3 * u[:, 0] - 4 * u[:, 1], region, steps=20).u.round(decimals=6).tolist()
    [[3.0, -4.0]]
    """
    u = region.start
    best = Best(u, torch.full((len(u),), -math.inf, dtype=torch.float64))
    for step in range(steps + 1):
        values, gradients = with_gradient(score, u)
        best.update(u, ranked(values))
        if step == steps:
            break
        norms = gradients.norm(dim=1)
        lengths = torch.full_like(norms, region.radius * FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / steps))
        if bound is not None:
            lengths = lengths.minimum(((bound - values) / norms).nan_to_num(nan=0.0, posinf=math.inf))
        directions = gradients / norms.clamp(min=torch.finfo(norms.dtype).tiny)[:, None]
        moved = region.project(u + lengths[:, None] * directions)
        u = torch.where(values.isfinite()[:, None], moved, best.u)  # from where the function is undefined, back
        after(step + 1)
    return best


def uphill(score: Score, region: Region, steps: int) -> list[Vectors]:
    """Points on the way up a differentiable function, from the start to the bound of the distance, in short steps of
    one length: candidates for what is measured otherwise.

    Args:
        score: the function.
        region: where to walk. Its radius is finite.
        steps: the number of points; the start is none of them.

    >>> region = Region(torch.zeros(1, 2, dtype=torch.float64), radius=2.0)
    >>> [u.tolist() for u in uphill(lambda u: 3 * u[:, 0], region, steps=2)]
    [[[1.0, 0.0]], [[2.0, 0.0]]]
    """
    u, points = region.start, []
    for _ in range(steps):
        _, gradients = with_gradient(score, u)
        norms = gradients.norm(dim=1, keepdim=True)
        directions = gradients / norms.clamp(min=torch.finfo(norms.dtype).tiny)
        u = region.project(u + region.radius / steps * directions)
        points.append(u)
    return points


def cma_es(
    score: Score,
    region: Region,
    steps: int,
    seed: int = 0,
    after: AfterStep = no_report,
    mean: Vectors | None = None,
    first: float | None = None,
) -> Best:
    """Maximize any function by the covariance matrix adaptation evolution strategy.

    As in Hansen 2016, "The CMA evolution strategy: a tutorial" (arXiv 1604.00772), with the default parameters of its
    table 1, without negative weights; above `MOST_FULL` dimensions with a diagonal matrix (Ros & Hansen 2008, doi
    10.1007/978-3-540-87700-4_30). Candidates outside the region are projected into it. All items get the same noise,
    so that results do not depend on the batch.

    Args:
        score: the function; called with all candidates of all items (b * candidates, d), those of an item in a row.
        region: where to search.
        steps: the number of generations.
        seed: of the noise.
        after: called after each generation.
        mean: the first means, in the region; None for its starts.
        first: the first standard deviation; None for `FIRST_SIGMA` of the radius.

    Returns:
        The best points that were evaluated; the first means if none is better.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    strategy = Strategy.of(region.start.shape[1])
    if first is None:
        first = FIRST_SIGMA * region.radius if math.isfinite(region.radius) else 1.0
    mean = region.start if mean is None else mean
    state = State.at(mean, first, strategy)
    best = Best(mean, ranked(score(mean)))
    around = region.repeated(strategy.candidates)
    for step in range(steps):
        noise = torch.randn(strategy.candidates, region.start.shape[1], generator=generator, dtype=torch.float64)
        points = around.project(state.candidates(noise).flatten(0, 1))
        values = ranked(score(points)).unflatten(0, (-1, strategy.candidates))
        order = values.argsort(dim=1, descending=True, stable=True)[:, : strategy.parents]
        every = points.unflatten(0, (-1, strategy.candidates))
        chosen = every.gather(1, order[:, :, None].expand(-1, -1, every.shape[2]))
        best.update(chosen[:, 0], values.gather(1, order[:, :1])[:, 0])
        state.update(chosen, step, first)
        after(step + 1)
    return best


@dataclass(frozen=True, eq=False)
class Strategy:
    """The parameters of CMA-ES in d dimensions, by the names of arXiv 1604.00772."""

    candidates: int
    """lambda."""
    weights: Float[Tensor, "m"]
    """Of the parents, the best first; they sum to 1."""
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float
    """E|N(0, I)|."""
    full: bool
    """Whether the covariance matrix is a full one."""

    @property
    def parents(self) -> int:
        """mu."""
        return len(self.weights)

    @classmethod
    def of(cls, d: int) -> "Strategy":
        """The default parameters."""
        candidates = 4 + int(3 * math.log(d))
        parents = candidates // 2
        raw = math.log((candidates + 1) / 2) - torch.arange(1, parents + 1, dtype=torch.float64).log()
        weights = raw / raw.sum()
        mu_eff = 1 / weights.square().sum().item()
        c_sigma = (mu_eff + 2) / (d + mu_eff + 5)
        full = d <= MOST_FULL
        faster = 1 if full else (d + 2) / 3
        c_1 = min(1.0, faster * 2 / ((d + 1.3) ** 2 + mu_eff))
        return cls(
            candidates=candidates,
            weights=weights,
            mu_eff=mu_eff,
            c_sigma=c_sigma,
            d_sigma=1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma,
            c_c=(4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d),
            c_1=c_1,
            c_mu=min(1 - c_1, faster * 2 * (mu_eff - 2 + 1 / mu_eff) / ((d + 2) ** 2 + mu_eff)),
            chi=math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2)),
            full=full,
        )


@dataclass(eq=False)
class State:
    """The search distributions N(mean, sigma^2 C) of several items, with C = axes diag(scales^2) axes^T."""

    strategy: Strategy
    mean: Vectors
    sigma: Float[Tensor, "b"]
    covariance: Tensor
    """(b, d, d), or its diagonal (b, d)."""
    axes: Tensor | None
    """(b, d, d); None for a diagonal matrix."""
    scales: Vectors
    path_sigma: Vectors
    path_c: Vectors

    @classmethod
    def at(cls, mean: Vectors, sigma: float, strategy: Strategy) -> "State":
        """The distributions N(mean, sigma^2 I)."""
        b, d = mean.shape
        identity = torch.eye(d, dtype=mean.dtype).expand(b, d, d) if strategy.full else None
        ones, zeros = torch.ones_like(mean), torch.zeros_like(mean)
        covariance = ones if identity is None else identity
        return cls(strategy, mean, mean.new_full((b,), sigma), covariance, identity, ones, zeros, zeros)

    def candidates(self, noise: Float[Tensor, "k d"]) -> Float[Tensor, "b k d"]:
        """Samples, from the same standard normal noise for all items."""
        scaled = noise * self.scales[:, None, :]
        steps = scaled if self.axes is None else scaled @ self.axes.transpose(1, 2)
        return self.mean[:, None, :] + self.sigma[:, None, None] * steps

    def update(self, chosen: Float[Tensor, "b m d"], step: int, first_sigma: float) -> None:
        """Adapt the distributions to their best candidates, the best first (equations 41 to 47)."""
        made, weights = self.strategy, self.strategy.weights
        steps = (chosen - self.mean[:, None, :]) / self.sigma[:, None, None]
        move = weights @ steps
        self.mean = self.mean + self.sigma[:, None] * move
        self.path_sigma = (1 - made.c_sigma) * self.path_sigma + math.sqrt(
            made.c_sigma * (2 - made.c_sigma) * made.mu_eff
        ) * self._whitened(move)
        norms = self.path_sigma.norm(dim=1)
        d, age = chosen.shape[2], 1 - (1 - made.c_sigma) ** (2 * (step + 1))
        short = (norms / math.sqrt(age) < (1.4 + 2 / (d + 1)) * made.chi).to(norms.dtype)[:, None]
        push = math.sqrt(made.c_c * (2 - made.c_c) * made.mu_eff)
        self.path_c = (1 - made.c_c) * self.path_c + short * push * move
        lost = 1 - made.c_1 - made.c_mu + made.c_1 * made.c_c * (2 - made.c_c) * (1 - short)
        if self.axes is None:
            one = self.path_c.square()
            several = weights @ steps.square()
        else:
            one = self.path_c[:, :, None] * self.path_c[:, None, :]
            several = (steps * weights[:, None]).transpose(1, 2) @ steps
            lost = lost[:, :, None]
        self.covariance = lost * self.covariance + made.c_1 * one + made.c_mu * several
        growth = ((norms / made.chi - 1) * made.c_sigma / made.d_sigma).clamp(max=1)
        self.sigma = (self.sigma * growth.exp()).clamp(LEAST_SIGMA * first_sigma, MOST_SIGMA * first_sigma)
        self._decompose()

    def _whitened(self, move: Vectors) -> Vectors:
        """C^(-1/2) times vectors."""
        if self.axes is None:
            return move / self.scales
        inside = (move[:, None, :] @ self.axes)[:, 0] / self.scales
        return (inside[:, None, :] @ self.axes.transpose(1, 2))[:, 0]

    def _decompose(self) -> None:
        """Axes and scales of the covariance matrices, with bounded condition numbers."""
        if self.axes is None:
            variances = self.covariance
        else:
            variances, self.axes = torch.linalg.eigh(self.covariance)
        largest = variances.amax(dim=1, keepdim=True).clamp(min=torch.finfo(variances.dtype).tiny)
        self.scales = variances.maximum(largest / MOST_CONDITION).sqrt()
