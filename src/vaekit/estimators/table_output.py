"""Results of estimators as arrays, or as frames of the library that the input is of."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.row_chunks import texts_array
from vaekit.domains.tables.cells import numbers
from vaekit.domains.tables.columns import DATE, NUMERIC, Column
from vaekit.domains.tables.schema import TableSchema
from vaekit.errors import MissingPackage

PANDAS, POLARS, ARROW = "pandas", "polars", "pyarrow"
LIBRARIES = (PANDAS, POLARS, ARROW)
"""Of frames that estimators return."""
TRUTHS = {"True": True, "False": False}


def frame_of(columns: Mapping[str, NDArray[Any]], library: str, index: Any = None) -> Any:
    """A frame with these columns.

    Args:
        columns: (n,), by name.
        library: pandas, polars or pyarrow.
        index: of the rows, for pandas.

    Returns:
        The frame; for another library the values as an array (n, columns).

    Raises:
        MissingPackage: the library is not installed.
    """
    if library not in LIBRARIES:
        return array_of(columns)
    package = imported(library)
    # Objects of a list are inspected; those of an array keep the type object.
    cells = {name: values.tolist() if values.dtype == object else values for name, values in columns.items()}
    if library == ARROW:
        return package.table(cells)
    return package.DataFrame(cells, index=index) if library == PANDAS else package.DataFrame(cells)


def imported(library: str) -> Any:
    """The package of frames.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingPackage(
            f"The package {library} is not installed.",
            "It is needed to return rows as in the frame that the estimator was fitted with.",
            f"Run: pip install {library}",
        ) from error


def array_of(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The values of columns as an array (n, columns): float64 if all are numbers."""
    values = list(columns.values())
    exact = all(each.dtype.kind == "f" for each in values)
    return np.stack([each if exact else each.astype(object) for each in values], axis=1)


def decoded_columns(schema: TableSchema, x: Tensor) -> dict[str, NDArray[Any]]:
    """Rows as the VAE has them, (n, values), as columns in the units of the data: numbers, times, truth values, texts.

    Columns of categories that are all numbers become numbers.
    """
    values, slots = x.double().numpy(force=True), schema.slots()
    return {column.name: decoded_column(column, values[:, slots[column.name]]) for column in schema.columns}


def decoded_column(column: Column, values: NDArray[np.float64]) -> NDArray[Any]:
    """Values (n, width) of a column as cells."""
    if column.kind in NUMERIC and not column.values:
        plain = column.numbers(values[:, 0])
        return (
            np.round(plain).astype(np.int64).astype("datetime64[s]").astype("datetime64[ms]")
            if column.kind == DATE
            else plain
        )
    cells = column.decode(values)
    if set(column.values) <= TRUTHS.keys():
        return np.array([TRUTHS[cell] for cell in cells], bool)
    if not np.isinf(numbers(texts_array(column.values))).any():
        return numbers(texts_array(cells))
    return texts_array([cell or None for cell in cells])
