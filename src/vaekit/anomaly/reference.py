"""Statistics of normal items, with which others are compared: fitted in one pass, in bounded memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vaekit.anomaly.hash_sample import HashSample
from vaekit.anomaly.latent_distances import Gaussian, Moments, neighbor_distance
from vaekit.anomaly.local import LOCAL
from vaekit.anomaly.scores import LIKELIHOOD, OWN_SCORES, PER_TOKEN, RECONSTRUCTION, Evidence
from vaekit.anomaly.tail_ranks import TailRanks, ensemble
from vaekit.anomaly.thresholds import Threshold
from vaekit.errors import BadItem, counted

MAHALANOBIS, NEIGHBORS, ENSEMBLE = "mahalanobis", "neighbors", "ensemble"
RELATIVE_SCORES = (MAHALANOBIS, NEIGHBORS, ENSEMBLE)
"""Scores that need reference items."""
SCORES = (*OWN_SCORES, *RELATIVE_SCORES)
"""Of items of any kind."""
ALL_SCORES = (*SCORES, LOCAL, PER_TOKEN)
"""With those of images and of sequences."""
MOST_LATENTS, MOST_LATENT_VALUES = 10_000, 2**24
"""The maximum numbers of reference items whose latents are kept, and of values of these."""
MOST_SCORES = 100_000
"""The maximum number of reference items whose scores are kept."""
LEAST_ITEMS = 2


@dataclass(frozen=True, eq=False)
class FactorStatistics:
    """-log p(x_i|z) of each element of reference items, missing values left out."""

    mean: Tensor
    """(...), float32."""
    std: Tensor
    """(...), float32."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of normal items."""

    items: int
    """The number of items they were computed from."""
    latents: Tensor
    """Means of posteriors, (n, d), of at most `MOST_LATENTS` items chosen by the hashes of their names."""
    gaussian: Gaussian
    """Of the latents of all items."""
    scores: Mapping[str, Tensor]
    """The scores of reference items, ascending, float64, by name. Those of latents are leave-one-out."""
    factors: FactorStatistics | None = None
    """None where the likelihood has no factors."""
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    """By the name of the score."""
    draws: int = 64
    """The number of latents for each item, as in `Scorer`."""
    seed: int = 0
    """Of these latents."""

    def relative_scores(self, latents: Tensor, own: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Scores of other items, (b,), float64: `mahalanobis`, minus the distance of the mean of the posterior from the
        mean of reference latents, relative to their covariance; `neighbors`, minus the distance to the 5th nearest
        reference latent; `ensemble`, minus the mean surprise at the log-likelihood (of sequences, per token;
        without a prior, at the reconstruction) and at `neighbors`, see `TailRanks`.

        Args:
            latents: means of posteriors, (b, d).
            own: the scores of `Evidence`; needed for `ensemble`.
            names: the wanted scores; others are ignored.

        Raises:
            BadItem: the latents have another size than those of the reference.
        """
        if latents.shape[1] != self.latents.shape[1]:
            raise BadItem(
                f"The latents of these items have {latents.shape[1]:,} values.",
                f"Those of the reference items have {self.latents.shape[1]:,}.",
                "Score items of the size of the reference items.",
            )
        scores: dict[str, Tensor] = {}
        if MAHALANOBIS in names:
            scores[MAHALANOBIS] = -self.gaussian.distance(latents)
        if NEIGHBORS in names or ENSEMBLE in names:
            scores[NEIGHBORS] = -neighbor_distance(latents, self.latents)
        if ENSEMBLE in names:
            scores[ENSEMBLE] = self._ensemble({**own, **scores})
        return {name: scores[name] for name in RELATIVE_SCORES if name in names}

    def _ensemble(self, scores: Mapping[str, Tensor]) -> Tensor:
        members = (usual_score(self.scores), NEIGHBORS)
        return ensemble([TailRanks.of(self.scores[name])(scores[name]) for name in members])

    def with_thresholds(self, thresholds: Mapping[str, Threshold]) -> "Reference":
        """The same with other thresholds."""
        return replace(self, thresholds=dict(thresholds))


def usual_score(names: Collection[str]) -> str:
    """The score by which items of a kind are ordered, of those that there are."""
    return next(name for name in (PER_TOKEN, LIKELIHOOD, RECONSTRUCTION) if name in names)


class ReferenceFit:
    """Accumulates statistics of normal items, batch by batch.

    Args:
        draws: as in the `Scorer` that computes the evidence.
        seed: the same.
    """

    def __init__(self, draws: int = 64, seed: int = 0) -> None:
        self.draws, self.seed = draws, seed
        self.excluded = 0
        """Items with scores that are not finite."""
        self._moments = Moments()
        self._factors: FactorMoments | None = None
        self._latents: HashSample | None = None
        self._scores = HashSample(MOST_SCORES)
        self._names: tuple[str, ...] = ()
        self._dimensions = 0

    @property
    def items(self) -> int:
        """The number of items so far."""
        return self._scores.count

    def add(self, names: Sequence[str], evidence: Evidence) -> None:
        """Add items.

        Args:
            names: unique names of the items, which determine those that are kept.
            evidence: of the items, with factors.

        Raises:
            BadItem: their latents have another size than those before.
        """
        self._names = tuple(evidence.scores)
        table = torch.stack([evidence.scores[name] for name in self._names], dim=1)
        latents = evidence.latents.cpu()
        finite = table.isfinite().all(dim=1) & latents.isfinite().all(dim=1)
        self.excluded += int((~finite).sum())
        kept = [name for name, each in zip(names, finite.tolist(), strict=True) if each]
        if not kept:
            return
        table, latents = table[finite], latents[finite]
        factors = None if evidence.factors is None else evidence.factors.cpu()[finite]
        self._check_size(latents, factors)
        assert self._latents is not None
        self._latents.add(kept, latents, table)
        self._scores.add(kept, table)
        self._moments.add(latents)
        if factors is not None:
            self._factors = self._factors or FactorMoments(factors.shape[1:])
            self._factors.add(factors)

    def _check_size(self, latents: Tensor, factors: Tensor | None) -> None:
        values = latents.shape[1]
        if self._latents is None:
            self._dimensions = values
            self._latents = HashSample(max(LEAST_ITEMS, min(MOST_LATENTS, MOST_LATENT_VALUES // max(1, values))))
        known = self._factors.shape if self._factors is not None and factors is not None else None
        if values != self._dimensions or (known is not None and factors is not None and factors.shape[1:] != known):
            raise BadItem(
                "The reference items differ in size.",
                "Expected items of one size.",
                "Bring them to one size first.",
            )

    def finish(self) -> Reference:
        """The statistics, without thresholds.

        Raises:
            BadItem: there are fewer than two items with finite scores.
        """
        if self._latents is None or self.items < LEAST_ITEMS:
            raise BadItem(
                f"The reference has {counted(self.items, 'item')} with finite scores.",
                f"Expected {LEAST_ITEMS} or more.",
                "Give more normal data.",
            )
        latents, table = self._latents.rows()
        gaussian = Gaussian(self._moments.mean, self._moments.whitening())
        (every,) = self._scores.rows()
        scores = {name: every[:, i].sort().values for i, name in enumerate(self._names)}
        own = {name: table[:, i] for i, name in enumerate(self._names)}
        own[MAHALANOBIS] = -gaussian.distance(latents)
        own[NEIGHBORS] = -neighbor_distance(latents, latents, own=True)
        for name in (MAHALANOBIS, NEIGHBORS):
            scores[name] = own[name].sort().values
        factors = None if self._factors is None else self._factors.statistics()
        reference = Reference(
            self.items, latents.contiguous(), gaussian, scores, factors, draws=self.draws, seed=self.seed
        )
        return replace(reference, scores={**scores, ENSEMBLE: reference._ensemble(own).sort().values})


class FactorMoments:
    """Mean and spread of the factors of a likelihood, in one pass, without those of missing values, which are exactly
    zero.

    Args:
        shape: of the factors of an item.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = torch.Size(shape)
        self.count, self.mean, self.squares = (torch.zeros(self.shape, dtype=torch.float64) for _ in range(3))

    def add(self, factors: Tensor) -> None:
        """Add the factors of items, (b, ...)."""
        for part in factors.split(max(1, 2**22 // max(1, self.shape.numel()))):
            self._add(part.double())

    def _add(self, x: Tensor) -> None:
        present = (x != 0) & x.isfinite()
        count = present.sum(dim=0)
        mean = x.masked_fill(~present, 0).sum(dim=0) / count.clamp(min=1)
        squares = (x - mean).masked_fill(~present, 0).square().sum(dim=0)
        total = (self.count + count).clamp(min=1)
        delta = mean - self.mean
        self.squares += squares + delta.square() * self.count * count / total
        self.mean += delta * count / total
        self.count += count

    def statistics(self) -> FactorStatistics:
        """The statistics so far; zero for elements that were always missing."""
        return FactorStatistics(self.mean.float(), (self.squares / self.count.clamp(min=1)).sqrt().float())
