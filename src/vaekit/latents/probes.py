"""Fit linear functions of latents to labels: the mean difference, ridge regression, and how well they predict.

The mean difference of two classes is generalized to numbers: it is the slope of the regression of latents on the label,
which for labels 0 and 1 is the difference of the means: the change of latents that comes with the label in the data.
Ridge regression is the opposite, a regression of the label on latents: the direction in which a linear estimate of the
label changes most. Where latents are correlated the two differ (Haufe et al. 2014, "On the interpretation of weight
vectors of linear models in multivariate neuroimaging", doi 10.1016/j.neuroimage.2013.10.067). All is in float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.latents.targets import Target

Vector = Float[Tensor, "d"]
Fit = Callable[[Float[Tensor, "n d"], Float[Tensor, "n"], Float[Tensor, "n"]], Vector]
"""(latents, values, weights that sum to 1) -> a vector in latent space; not normalized."""
FOLDS = 5
PENALTIES = tuple(10 ** (exponent / 2) for exponent in range(-12, 7))
"""Of ridge regression, relative to the mean variance of latents along their principal axes."""
SMALLEST = 1e-12
"""A variance relative to the largest one below which latents count as constant along an axis."""


@dataclass(frozen=True)
class Score:
    """How well a linear function predicts labels of items that it was not fitted to.

    Either for properties or for classes.
    """

    r2: float | None = None
    """1 - (squared error / variance); 0 for a constant, 1 for perfect prediction, negative if worse than a constant."""
    accuracy: float | None = None
    """The mean over both sides of the share of items that are predicted correctly; 0.5 for chance."""
    auc: float | None = None
    """The probability that an item of the positive class is ranked above another one (ROC AUC); 0.5 for chance."""

    @property
    def explained(self) -> float:
        """R^2, or for classes 2 AUC - 1: from 0 for chance to 1."""
        return (self.r2 or 0.0) if self.auc is None else 2 * self.auc - 1


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear function of latents that estimates a label."""

    weights: Vector
    """Standard deviations of the label per unit of the latents."""
    score: Score | None
    """None if there are too few items to hold some out."""


def mean_difference(x: Tensor, values: Tensor, weights: Tensor) -> Vector:
    """The slope of the regression of latents (n, d) on values (n): for values 0 and 1 the difference of the means."""
    centered = values - weights @ values
    return (weights * centered) @ x / (weights @ centered.square())


def ridge(x: Tensor, values: Tensor, weights: Tensor) -> Vector:
    """The coefficients of ridge regression of values (n) on latents (n, d), with an intercept that is not penalized.

    The penalty is that with the smallest squared error of predictions that leave out one item, computed in closed form
    from the leverages (Golub, Heath & Wahba 1979, doi 10.1080/00401706.1979.10489751).
    """
    roots = weights.sqrt()
    rows = roots[:, None] * (x - weights @ x)
    y = roots * (values - weights @ values)
    left, lengths, right = thin_svd(rows)
    if not len(lengths):
        return torch.zeros(x.shape[1], dtype=x.dtype)
    variances, projected = lengths.square(), left.T @ y
    unit = variances.sum() / len(variances)

    def error(penalty: float) -> float:
        shrinkage = variances / (variances + penalty * unit)
        residuals = y - left @ (shrinkage * projected)
        leverages = left.square() @ shrinkage + weights
        return (residuals / (1 - leverages).clamp(min=1e-6)).square().sum().item()

    best = min(PENALTIES, key=error) * unit
    return right @ (lengths / (variances + best) * projected)


def thin_svd(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The singular vectors (n, r), values (r) and (d, r) of a matrix (n, d), of the r values that are not 0.

    From the eigenvectors of the smaller product of the matrix with itself, since n or d may be large.
    """
    tall = rows.shape[0] >= rows.shape[1]
    variances, vectors = torch.linalg.eigh(rows.T @ rows if tall else rows @ rows.T)
    kept = variances > SMALLEST * variances.max().clamp(min=torch.finfo(rows.dtype).tiny)
    lengths, vectors = variances[kept].sqrt(), vectors[:, kept]
    other = (rows @ vectors if tall else rows.T @ vectors) / lengths
    return (other, lengths, vectors) if tall else (vectors, lengths, other)


METHODS: Mapping[str, Fit] = {"mean": mean_difference, "ridge": ridge}


def fitted(x: Tensor, target: Target, fit: Fit) -> Vector:
    """A vector fitted to the items of a target that have a label."""
    known = target.known
    return fit(x[known], target.values[known], target.weights[known])


def probe(x: Tensor, target: Target) -> Probe:
    """The linear probe of a label, by ridge regression.

    Args:
        x: latents (n, d) in float64.
        target: the label.
    """
    return Probe(fitted(x, target, ridge) / target.std, held_out_score(x, target, ridge))


def held_out_score(x: Tensor, target: Target, fit: Fit) -> Score | None:
    """Cross-validate a vector: fit it to four fifths of the items, and predict the others from positions along it.

    Folds are stratified by the label, and follow from the order of items.

    Returns:
        None for fewer than two items of a class, or of a property fewer than five.
    """
    known = target.known
    x, values, weights = x[known], target.values[known], target.weights[known]
    folds = fold_of_each(values, target.classes is not None)
    if folds is None:
        return None
    predicted = torch.empty_like(values)
    for fold in folds.unique():
        kept, apart = folds != fold, folds == fold
        share = weights[kept] / weights[kept].sum()
        positions = x @ fit(x[kept], values[kept], share)
        center, level = share @ positions[kept], share @ values[kept]
        moved = positions[kept] - center
        spread = share @ moved.square()
        slope = share @ (moved * (values[kept] - level)) / spread if spread > 0 else torch.zeros(())
        predicted[apart] = level + slope * (positions[apart] - center)
    if target.classes is not None:
        return class_score(predicted, values > 0.5, weights)
    spread = weights @ (values - weights @ values).square()
    return Score(r2=(1 - weights @ (values - predicted).square() / spread).item())


def fold_of_each(values: Tensor, classes: bool) -> Tensor | None:
    """The number of the fold of each item, so that folds have similar labels; None if there are too few items."""
    sides = int(min((values > 0.5).sum(), (values <= 0.5).sum())) if classes else len(values)
    count = min(FOLDS, sides)
    if count < (2 if classes else FOLDS):
        return None
    folds = torch.empty(len(values), dtype=torch.long)
    folds[values.argsort(stable=True)] = torch.arange(len(values)) % count
    return folds


def class_score(predicted: Tensor, positive: Tensor, weights: Tensor) -> Score:
    """The score of predictions of 0 and 1."""
    right = (predicted > 0.5) == positive
    shares = [(weights[side] @ right[side].to(weights) / weights[side].sum()).item() for side in (positive, ~positive)]
    # The area under the curve: for each positive item the weight of negative ones below it, of equal ones half.
    values, order = predicted[~positive].sort()
    below = torch.cat([weights.new_zeros(1), weights[~positive][order].cumsum(0)])
    places = [torch.searchsorted(values, predicted[positive].contiguous(), right=right) for right in (False, True)]
    ranks = (below[places[0]] + below[places[1]]) / 2 / below[-1]
    auc = weights[positive] @ ranks / weights[positive].sum()
    return Score(accuracy=min(sum(shares) / 2, 1.0), auc=min(auc.item(), 1.0))  # not 1 + rounding
