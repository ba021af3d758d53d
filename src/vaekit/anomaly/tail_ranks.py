"""Ranks of scores among those of reference items, without ties beyond the least normal one."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TailRanks:
    """Scores -> -log of the share of reference items that are at least as abnormal, strictly increasing with
    abnormality.

    Between reference scores it is interpolated. Beyond the least normal one it continues with log(1 + distance /
    spread) and does not saturate; above the most normal one it approaches zero.
    """

    abnormality: NDArray[np.float64]
    """Distinct values, minus the finite scores, ascending."""
    surprise: NDArray[np.float64]
    """-log of the share of reference items that are at least as abnormal."""
    spread: float
    """The unit of distances beyond the reference: from its median to its least normal item."""

    @classmethod
    def of(cls, scores: Tensor) -> "TailRanks":
        """The ranks among reference scores (n,), of which at least one is finite."""
        finite = -scores[scores.isfinite()].double().cpu().numpy()
        values, counts = np.unique(finite, return_counts=True)
        # Half of equal items count as more abnormal.
        share = 1 - (np.cumsum(counts) - counts / 2) / len(finite)
        spread = float(values[-1] - np.median(finite))
        return cls(values, -np.log(share), spread if spread > 0 else max(1.0, abs(float(values[-1]))))

    def __call__(self, scores: Tensor) -> Tensor:
        """The surprise at scores (b,), in double precision; infinite for a score of -inf, NaN for NaN."""
        value = -scores.double().cpu().numpy()
        inside = np.interp(value, self.abnormality, self.surprise)
        with np.errstate(invalid="ignore"):  # infinite scores
            beyond = np.maximum(value - self.abnormality[-1], 0) / self.spread
            before = np.maximum(self.abnormality[0] - value, 0) / self.spread
        return torch.from_numpy((inside + np.log1p(beyond)) / (1 + before))


def ensemble(surprises: list[Tensor]) -> Tensor:
    """A score from several surprises (b,) about the same items: minus their mean. Higher is more normal.

    >>> ensemble([torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0])])
    tensor([-1.5000, -3.0000])
    """
    return -torch.stack(surprises).sum(dim=0) / len(surprises)
