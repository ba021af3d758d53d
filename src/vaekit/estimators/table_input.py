"""Check the input of estimators as scikit-learn does, and convert it to columns: frames, arrays and lists of rows."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from vaekit.datasets.frames import ArrowStream, rows_of_frame
from vaekit.datasets.row_chunks import RowChunk
from vaekit.errors import VaekitError

TITLE = "X"
"""The name of the input in messages."""
TEXTS = "OUS"
"""The kinds of arrays that may hold texts."""

DECLARATION = re.compile(r"(?:--column )?'([^']*)=(\w+)'")
"""Of the kind of a column, on the command line."""


@runtime_checkable
class ArrowFrame(ArrowStream, Protocol):
    """A frame that exports Arrow's C stream."""

    columns: Any


@runtime_checkable
class ExchangeFrame(Protocol):
    """A frame of the dataframe interchange protocol."""

    columns: Any

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        """The frame for other libraries."""


class InvalidInput(VaekitError, ValueError):
    """Data or a parameter that an estimator cannot use; a ValueError, as in scikit-learn."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Raise the errors of vaekit as `InvalidInput`."""
    try:
        yield
    except InvalidInput:
        raise
    except VaekitError as error:
        raise InvalidInput(error.found, error.expected, in_python(error.remedy)) from error


def in_python(remedy: str) -> str:
    """A remedy with the parameter of estimators in place of the option of the command line.

    >>> in_python("Declare the column: --column 'a=categorical' or 'a=ignored'.")
    'Declare the column: columns={"a": "categorical"} or columns={"a": "ignored"}.'
    """
    return DECLARATION.sub(r'columns={"\1": "\2"}', remedy)


def is_frame(data: Any) -> bool:
    """Whether data are a frame with named columns, such as one of pandas or polars."""
    return isinstance(data, ArrowFrame | ExchangeFrame)


def library_of(data: Any) -> str:
    """The name of the package of a frame, such as pandas; empty for arrays and lists."""
    return type(data).__module__.partition(".")[0] if is_frame(data) else ""


def checked_rows(estimator: BaseEstimator, data: Any, *, fitting: bool) -> RowChunk:
    """Rows by columns, checked against the columns that the estimator was fitted with.

    Args:
        estimator: gets `n_features_in_` and, for a frame, `feature_names_in_` when it is fitted.
        data: a frame; or numbers or objects, (n, columns). NaN and None are missing values.
        fitting: whether the estimator is being fitted, for which two rows are needed.

    Raises:
        ValueError, TypeError: it is something else, has other columns, no rows, or infinite values.
    """
    least = 2 if fitting else 1
    if not is_frame(data):
        return checked_array(estimator, data, least, fitting)
    validate_data(estimator, data, reset=fitting, skip_check_array=True)
    count, features = data.shape
    if count < least or not features:
        found, wanted = (f"{count} sample(s)", least) if features else ("0 feature(s)", 1)
        raise InvalidInput(
            f"{TITLE} has {found} (shape=({count}, {features})) while a minimum of {wanted} is required.", "", ""
        )
    return rows_of(data)


def checked_array(estimator: BaseEstimator, data: Any, least: int, fitting: bool) -> RowChunk:
    """The same for what is no frame."""
    array = validate_data(estimator, data, reset=fitting, dtype=None, ensure_all_finite=False, ensure_min_samples=least)
    try:
        return rows_of(check_array(array, ensure_all_finite="allow-nan", input_name=TITLE, estimator=estimator))
    except (ValueError, TypeError):
        if array.dtype.kind not in TEXTS:
            raise
        try:
            return rows_of(array)
        except InvalidInput as error:
            refusal = error
        # The cell is of no type that tables have. scikit-learn's error says which.
        check_array(array, ensure_all_finite=False)
        raise refusal from None


def rows_of(data: Any) -> RowChunk:
    """A frame or an array by columns.

    Raises:
        InvalidInput: it has cells that tables cannot have, or columns of one name.
    """
    with value_errors():
        rows = rows_of_frame(data, TITLE)
        return rows.chunk(0, len(rows))


def with_names(chunk: RowChunk, names: tuple[str, ...]) -> RowChunk:
    """The same rows with other names for their columns, in order."""
    return replace(chunk, columns=dict(zip(names, chunk.columns.values(), strict=True)))


def selected(chunk: RowChunk, places: np.ndarray) -> RowChunk:
    """Some of the rows."""
    names = [chunk.names[place] for place in places.tolist()]
    return RowChunk(names, {name: column[places] for name, column in chunk.columns.items()})
