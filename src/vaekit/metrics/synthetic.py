"""How similar synthetic rows of a table are to real ones: margins, associations, a classifier, and nearest neighbors.

Numbers are arrays of floats with NaN for missing values; categories are arrays of integers, negative for missing ones.
"""

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaekit.metrics.detection import auroc
from vaekit.optional import require

FOLDS = 5
"""Of the cross-validation of the classifier."""
BLOCK = 2**22
"""Distances that are computed at once."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> float:
    """The largest difference of the distribution functions of two samples: sup |F_a - F_b|.

    Args:
        a: numbers (n,); missing ones are left out.
        b: numbers (m,).

    Returns:
        In [0, 1]; NaN if one of them has no values.

    >>> kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    first, second = (np.sort(values[~np.isnan(values)]) for values in (floats(a), floats(b)))
    if not len(first) or not len(second):
        return float("nan")
    every = np.concatenate([first, second])
    shares = [np.searchsorted(each, every, side="right") / len(each) for each in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """The Wasserstein distance of two samples, in their unit: the area between their distribution functions.

    Args:
        a: numbers (n,); missing ones are left out.
        b: numbers (m,).

    Returns:
        NaN if one of them has no values.

    >>> wasserstein([0, 1], [2, 3, 3, 2])
    2.0
    """
    first, second = (np.sort(values[~np.isnan(values)]) for values in (floats(a), floats(b)))
    if not len(first) or not len(second):
        return float("nan")
    every = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(each, every[:-1], side="right") / len(each) for each in (first, second)]
    return float((np.abs(shares[0] - shares[1]) * np.diff(every)).sum())


def total_variation(a: ArrayLike, b: ArrayLike) -> float:
    """Half the sum of the differences of the frequencies of categories: 1/2 sum_k |p_k - q_k|.

    Args:
        a: categories (n,); missing ones are left out.
        b: categories (m,).

    Returns:
        In [0, 1]; NaN if one of them has no values.

    >>> total_variation([0, 0, 1, 1], [0, 0, 0, 2])
    0.5
    """
    first, second = (values[values >= 0] for values in (codes(a), codes(b)))
    if not len(first) or not len(second):
        return float("nan")
    count = 1 + max(int(first.max()), int(second.max()))
    shares = [np.bincount(each, minlength=count) / len(each) for each in (first, second)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """The correlation of two columns of numbers, over rows in which both are known, in [-1, 1]; NaN if one is constant.

    >>> round(pearson([1, 2, 3], [2, 4, 6]), 6)
    1.0
    """
    x, y = floats(a), floats(b)
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = (values[known] - values[known].mean() if known.any() else values[:0] for values in (x, y))
    lengths = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / lengths, -1, 1)) if lengths > 0 else float("nan")


def cramers_v(a: ArrayLike, b: ArrayLike) -> float:
    """The association of two columns of categories: sqrt(chi^2 / (n (min(r, c) - 1))) of their table of counts (Cramer
    1946, section 21.9), in [0, 1]; NaN if one has a single category.

    >>> cramers_v([0, 0, 1, 1], [1, 1, 0, 0]), cramers_v([0, 0, 1, 1], [0, 1, 0, 1])
    (1.0, 0.0)
    """
    x, y = codes(a), codes(b)
    known = (x >= 0) & (y >= 0)
    (_, x), (_, y) = (np.unique(values[known], return_inverse=True) for values in (x, y))
    if not len(x) or min(x.max(), y.max()) < 1:
        return float("nan")
    rows, columns = int(x.max()) + 1, int(y.max()) + 1
    counts = np.bincount(x * columns + y, minlength=rows * columns).reshape(rows, columns) / len(x)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0)
    squares = float(((counts - expected) ** 2 / expected).sum())
    return float(np.sqrt(np.clip(squares / (min(rows, columns) - 1), 0, 1)))


def correlation_ratio(categories: ArrayLike, numbers: ArrayLike) -> float:
    """The association of categories with numbers: the standard deviation of the means of categories, relative to that
    of the numbers (eta), in [0, 1]; NaN if one of them is constant.

    >>> correlation_ratio([0, 0, 1, 1], [1, 1, 5, 5]), correlation_ratio([0, 0, 1, 1], [1, 5, 1, 5])
    (1.0, 0.0)
    """
    x, y = codes(categories), floats(numbers)
    known = (x >= 0) & ~np.isnan(y)
    _, x = np.unique(x[known], return_inverse=True)
    y = y[known]
    if not len(y) or x.max() < 1 or not y.std() > 0:
        return float("nan")
    counts = np.bincount(x)
    means = np.bincount(x, weights=y) / counts
    between = counts @ (means - y.mean()) ** 2 / len(y)
    return float(np.sqrt(np.clip(between / y.var(), 0, 1)))


def associations(numbers: ArrayLike, categories: ArrayLike) -> Floats:
    """The association of each pair of columns: `pearson` of numbers, `cramers_v` of categories, `correlation_ratio` of
    both.

    Args:
        numbers: (n, p).
        categories: (n, q).

    Returns:
        (pairs,): numbers with numbers, numbers with categories, categories with categories.

    >>> associations([[1, 2], [2, 4], [3, 6]], np.zeros((3, 0))).round(6).tolist()
    [1.0]
    """
    reals, labels = floats(numbers).T, codes(categories).T
    return np.array(
        [
            *(pearson(one, other) for one, other in combinations(reals, 2)),
            *(correlation_ratio(label, real) for real in reals for label in labels),
            *(cramers_v(one, other) for one, other in combinations(labels, 2)),
        ]
    )


def association_difference(real: Floats, synthetic: Floats) -> float:
    """The mean absolute difference of the associations of pairs of columns; pairs that are NaN in one are left out.

    >>> association_difference(np.array([0.5, np.nan, 1.0]), np.array([0.0, 0.3, 1.0]))
    0.25
    """
    differences = np.abs(real - synthetic)
    known = differences[~np.isnan(differences)]
    return float(known.mean()) if len(known) else float("nan")


def two_sample_auroc(real: ArrayLike, synthetic: ArrayLike, seed: int = 0) -> float:
    """How well a classifier tells synthetic rows from real ones: the AUROC of gradient-boosted trees for rows that they
    were not trained on, by cross-validation (Lopez-Paz & Oquab 2017, arXiv 1610.06545).

    Args:
        real: (n, d), with NaN for missing values.
        synthetic: (m, d).
        seed: of the folds.

    Returns:
        0.5 for rows that cannot be told apart, 1 for different ones. NaN for fewer rows of a kind than folds.

    Raises:
        MissingPackage: scikit-learn is not installed.
    """
    rows = np.concatenate([floats(real), floats(synthetic)])
    kinds = np.repeat([False, True], [len(floats(real)), len(floats(synthetic))])
    if min(kinds.sum(), (~kinds).sum()) < FOLDS:
        return float("nan")
    ensemble = require("sklearn.ensemble", "compare samples with data", "analysis")
    selection = require("sklearn.model_selection", "compare samples with data", "analysis")
    trees = ensemble.HistGradientBoostingClassifier(max_iter=100, random_state=seed % 2**32)
    folds = selection.StratifiedKFold(FOLDS, shuffle=True, random_state=seed % 2**32)
    pools = require("threadpoolctl", "compare samples with data", "analysis")
    # On a busy machine, the threads of OpenMP wait for each other a hundred times as long as one takes alone.
    with pools.threadpool_limits(limits=1, user_api="openmp"):
        scores = selection.cross_val_predict(trees, rows, kinds, cv=folds, method="predict_proba")[:, 1]
    return auroc(scores, kinds)


def nearest_distances(rows: ArrayLike, others: ArrayLike) -> Floats:
    """The Euclidean distance of each row to the nearest one of others, in blocks.

    Args:
        rows: (n, d).
        others: (m, d), at least one.

    >>> nearest_distances([[0.0, 0.0], [3.0, 4.0]], [[0.0, 1.0], [3.0, 4.0]]).tolist()
    [1.0, 0.0]
    """
    x, y = floats(rows), floats(others)
    lengths = (y**2).sum(axis=1)
    block = max(1, BLOCK // len(y))
    nearest = [(lengths - 2 * part @ y.T).argmin(axis=1) for part in np.split(x, range(block, len(x), block))]
    # Differences are computed again: the expanded squares are not exact for equal rows.
    return np.sqrt(((x - y[np.concatenate(nearest)]) ** 2).sum(axis=1))


def closer_share(synthetic: ArrayLike, held_out: ArrayLike) -> float:
    """The probability that a synthetic row is closer to its nearest training row than a real row that was held out is
    to its own, with one half for equal distances.

    Args:
        synthetic: distances of synthetic rows to their nearest training rows (n,).
        held_out: those of real rows (m,).

    Returns:
        0.5 if both are equally close; toward 1 for copies of training rows. NaN if one of them is empty.

    >>> closer_share([0.0, 0.0, 2.0], [1.0, 1.0])
    0.6666666666666666
    """
    distances = np.concatenate([floats(synthetic), floats(held_out)])
    return auroc(-distances, np.arange(len(distances)) < len(floats(synthetic)))


def copies(rows: ArrayLike, others: ArrayLike) -> int:
    """The number of rows that are equal to one of others, missing values included.

    >>> copies([[1.0, np.nan], [1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]])
    2
    """
    known = {row.tobytes() for row in np.nan_to_num(floats(others), nan=np.inf) + 0.0}
    return sum(row.tobytes() in known for row in np.nan_to_num(floats(rows), nan=np.inf) + 0.0)


def floats(values: ArrayLike) -> Floats:
    """Values in float64."""
    return np.asarray(values, np.float64)


def codes(values: ArrayLike) -> Codes:
    """Values as integers."""
    return np.asarray(values, np.int64)
