"""The kernel distance between two sets of features: KID where they are Inception's (Binkowski et al. 2018,
arXiv 1801.01401): the squared maximum mean discrepancy under the kernel

    k(a, b) = (a . b / d + 1)^3        d the number of features

Unlike FID it has no bias: its expectation does not depend on the number of items, and estimates may be negative.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Features = Float[Tensor, "n d"]
"""One feature vector for each item."""

SUBSETS = 100
SUBSET_SIZE = 1000
"""As in the paper's code; smaller where there are fewer items."""


@dataclass(frozen=True)
class KernelDistance:
    """The mean over random subsets and its standard error."""

    value: float
    standard_error: float | None
    """The standard deviation over the subsets divided by the square root of the number of disjoint subsets that fit in;
    None for a single subset."""
    subsets: int
    subset_size: int


def paired_kernel_distance(x: Features, y: Features) -> float:
    """The squared maximum mean discrepancy between items and their counterparts, row by row, in float64.

        MMD^2 = 1 / (n (n - 1))  sum_{i != j}  k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)

    (Gretton et al. 2012, JMLR 13, eq. 4). It is unbiased where row i of y is the reconstruction of row i of x, since no
    term contains both. The formula for two independent sets (their eq. 3) also counts k(x_i, y_i), which makes the
    distance of reconstructions negative.

    >>> x = torch.eye(4)
    >>> paired_kernel_distance(x, x)
    0.0
    """
    x, y, count = x.double(), y.double(), len(x)
    terms = _kernel(x, x).add_(_kernel(y, y)).sub_(_kernel(x, y), alpha=2)  # sum_ij k(x_i, y_j) = sum_ij k(x_j, y_i)
    return float((terms.sum() - terms.diagonal().sum()) / (count * (count - 1)))


def kernel_distance(x: Features, y: Features, seed: int) -> KernelDistance:
    """The mean of `paired_kernel_distance` over random subsets of the rows, or over all rows if they fit into
    one subset.

    Args:
        x: features of the originals.
        y: features of the reconstructions, in the same order; at least two rows.
        seed: of the subsets.
    """
    size = min(SUBSET_SIZE, len(x))
    subsets = SUBSETS if size < len(x) else 1
    generator = Generator().manual_seed(seed)
    chosen = [torch.randperm(len(x), generator=generator)[:size].sort().values for _ in range(subsets)]
    values = torch.tensor([paired_kernel_distance(x[rows], y[rows]) for rows in chosen], dtype=torch.float64)
    error = float(values.std()) / (len(x) / size) ** 0.5 if subsets > 1 else None
    return KernelDistance(float(values.mean()), error, subsets, size)


def _kernel(a: Features, b: Features) -> Float[Tensor, "n n"]:
    return (a @ b.T).div_(a.shape[1]).add_(1).pow_(3)
