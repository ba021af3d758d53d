"""Input of estimators: hostile, broken, of other types."""

from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from vaekit import VAEDetector
from vaekit.estimators.table_input import InvalidInput

ROWS = np.random.default_rng(0).normal(size=(30, 3))


def small() -> VAEDetector:
    return VAEDetector(samples=100, hidden=(8,), draws=2, random_state=0)


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (ROWS[:1], "1 sample"),
        (pandas.DataFrame(ROWS[:1]), "1 sample"),
        (pandas.DataFrame({"a": []}), "0 sample"),
        (pandas.DataFrame(), "0 feature"),
        (polars.DataFrame(), "0 feature"),
        (pandas.DataFrame(ROWS, columns=["a", "a", "b"]), "'a'"),
        (np.where(ROWS > 1.5, np.inf, ROWS), "infinity"),
        (pandas.DataFrame(np.where(ROWS > 1.5, np.inf, ROWS)), "inf"),
        (pandas.DataFrame({"a": [[1], [2], [3]]}), "list"),
        (pandas.DataFrame({"code": [f"id{i}" for i in range(200)]}), 'columns={"code": "ignored"}'),
        (pandas.DataFrame({"a": [*range(50), "x", *range(50)]}), r"'x' in X\[50\]"),
        (pandas.Series(ROWS[:, 0]), "(?i)dimension"),
        (ROWS[0], "2D"),
        (ROWS[None], "dim 3"),
        ("text", "2D"),
        (None, "2D"),
        (1e300 * ROWS, r"e\+\d+.* in X\[\d+\]"),
    ],
)
def test_what_cannot_be_fitted_is_a_value_error(data: Any, facts: str) -> None:
    with pytest.raises(ValueError, match=facts.replace("{", r"\{")):
        small().fit(data)


@pytest.mark.parametrize(
    "data",
    [
        ROWS.tolist(),
        np.ma.masked_greater(ROWS, 1),
        np.full((9, 2), np.nan),
        np.ones((9, 2)),
        ROWS[:2],
        ROWS > 0,
        pandas.DataFrame(ROWS),
        [[i / 7, "u" if i % 2 else "v", None] for i in range(20)],
        pyarrow.table({"a": ROWS[:, 0], "b": ["u", "v", None] * 10}),
        polars.DataFrame({"a": ROWS[:, 0], "b": [True, False, None] * 10}),
        pandas.DataFrame({"a": pandas.array([1, None, 3] * 9, "Int64"), "b": pandas.array([True, None, False] * 9)}),
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_can_be_fitted_can_be_scored(data: Any) -> None:
    detector = small().fit(data)
    check_is_fitted(detector)
    assert np.isfinite(detector.score_samples(data)).all()
    assert type(detector.explain(data)) is (np.ndarray if isinstance(data, list | np.ndarray) else type(data))


def test_numbers_far_outside_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"X\[0\].*x1"):
        small().fit(ROWS).score_samples([[0.0, 1e300, 0.0]])


def test_sparse_rows_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="toarray"):
        small().fit(csr_matrix(ROWS))
