"""Tables in memory as rows: frames of pandas and polars, Arrow tables, arrays, dicts of columns and lists of rows.

Neither pandas nor polars is imported: frames are recognized by their methods (protocols).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.arrow_rows import arrow_columns, checked_columns
from vaekit.datasets.cell_objects import column_of_objects, stored_column
from vaekit.datasets.cell_texts import LARGEST_EXACT
from vaekit.datasets.column_rows import ColumnRows, ColumnTable, default_names, named_columns
from vaekit.datasets.csv_format import checked_names
from vaekit.errors import NoTrainingData, printable
from vaekit.optional import require

EXPECTED = (
    "Expected a frame of pandas or polars, an Arrow table, an array (n, columns), a dict of columns, or a list of rows."
)
CATEGORY = "category"
"""The type of columns of categories in pandas."""


@runtime_checkable
class PolarsFrame(Protocol):
    """A frame of polars."""

    def get_columns(self) -> Sequence[Any]:
        """Its columns, which have names."""


@runtime_checkable
class PandasFrame(Protocol):
    """A frame of pandas."""

    columns: Any

    def items(self) -> Iterable[tuple[Any, Any]]:
        """The names and values of its columns."""


@runtime_checkable
class FrameColumn(Protocol):
    """A column of a frame, or of an Arrow table."""

    def to_numpy(self) -> NDArray[Any]:
        """Its values as an array."""


@runtime_checkable
class ListedColumn(Protocol):
    """A column of pandas or polars."""

    def to_list(self) -> list[Any]:
        """Its values as Python objects."""


@runtime_checkable
class ArrowStream(Protocol):
    """A table that exports Arrow's C stream."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The stream, in a capsule."""


@runtime_checkable
class ArrayLike(Protocol):
    """An object that NumPy can convert into an array, such as a tensor."""

    def __array__(self) -> NDArray[Any]:
        """The array."""


@runtime_checkable
class ArrayInterface(Protocol):
    """An object that describes the memory of an array."""

    __array_interface__: Any


def rows_of_frame(frame: Any, name: str = "frame") -> ColumnRows:
    """A table in memory as a data set of rows.

    Args:
        frame: a frame of pandas or polars; anything else with `__arrow_c_stream__`, such as an Arrow table, for which
            pyarrow is needed; an array (n, columns) of numbers, booleans, texts or objects, with columns x0, x1, ...,
            or one with named fields; a dict of columns of equal lengths; or a list of rows, which are lists or dicts.
        name: of the table, in the keys of rows: name[0], name[1], ...

    Returns:
        Its rows. Numbers are exact; None, NaN, NaT and pandas.NA are missing; categories, booleans and dates are texts.

    Raises:
        NoTrainingData: it is something else, or some of its values are not cells of a table, such as lists.
        MissingPackage: pyarrow is needed.
    """
    columns = {label: frame_column(values, label, name) for label, values in labelled_columns(frame, name)}
    lengths = {label: len(column) for label, column in columns.items()}
    shortest, longest = (extreme(lengths, key=lambda label: lengths[label]) for extreme in (min, max))
    if lengths[shortest] != lengths[longest]:
        raise refused(
            name,
            f"{lengths[shortest]:,} values in the column {printable(shortest)} and {lengths[longest]:,} in the column "
            f"{printable(longest)}",
            "Give columns of equal lengths.",
        )
    table = ColumnTable(name, columns, lengths[longest])
    return ColumnRows(tuple(columns), [table], digest_of_columns(columns))


def labelled_columns(frame: Any, name: str) -> list[tuple[str, Any]]:
    """The columns of a table in memory, with their names.

    Raises:
        NoTrainingData: it is no table, or names are missing or not unique.
    """
    if isinstance(frame, Mapping):
        pairs: Iterable[tuple[Any, Any]] = frame.items()
    elif isinstance(frame, PolarsFrame):
        pairs = [(column.name, column) for column in frame.get_columns()]
    elif isinstance(frame, PandasFrame):
        pairs = frame.items()
    elif isinstance(frame, ArrowStream):
        pairs = columns_of_arrow(frame, name)
    elif isinstance(frame, Sequence) and not isinstance(frame, str | bytes):
        pairs = columns_of_rows(frame, name)
    else:
        pairs = columns_of_array(frame, name)
    found = [(str(label), values) for label, values in pairs]
    checked_names([label for label, _ in found], name)
    return found


def columns_of_arrow(frame: Any, name: str) -> list[tuple[Any, Any]]:
    """The columns of an Arrow table, or of something that pyarrow can convert into one.

    Raises:
        NoTrainingData: it is no table, or has columns of other types.
        MissingPackage: pyarrow is not installed.
    """
    arrow = require("pyarrow", "read Arrow tables", "datasets")
    try:
        table = arrow.table(frame)
        checked_columns(table.schema, name)
        return list(arrow_columns(table, name).items())
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise refused(name, f"the type {type(frame).__name__} ({printable(str(error))})", "Convert it.") from error


def columns_of_rows(rows: Sequence[Any], name: str) -> list[tuple[Any, Any]]:
    """The columns of a list of rows: dicts, or sequences of equal lengths.

    Raises:
        NoTrainingData: there are no rows, or they are something else.
    """
    if not len(rows):
        raise refused(name, "no rows", "Give at least one row.")
    if all(isinstance(row, Mapping) for row in rows):
        labels = dict.fromkeys(label for row in rows for label in row)
        return [(label, [row.get(label) for row in rows]) for label in labels]
    for place, row in enumerate(rows):
        if isinstance(row, str | bytes | Mapping) or not isinstance(row, Sized):
            raise refused(name, f"a {type(row).__name__} as row {place:,}", "Give a list of values for each row.")
        if len(row) != len(rows[0]):
            found = f"{len(row):,} values in row {place:,} and {len(rows[0]):,} in row 0"
            raise refused(name, found, "Give rows of equal lengths.")
    return list(zip(default_names(len(rows[0])), map(list, zip(*rows, strict=True)), strict=True))


def columns_of_array(frame: Any, name: str) -> list[tuple[Any, Any]]:
    """The columns of an array, or of something that NumPy can convert into one.

    Raises:
        NoTrainingData: it is no array of rows.
    """
    try:
        values = np.asanyarray(frame) if is_array(frame) else None
    except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor with gradients
        raise refused(name, f"the type {type(frame).__name__} ({printable(str(error))})", "Convert it.") from error
    if values is None:
        raise refused(name, f"the type {type(frame).__name__}", "Convert it into one of them.")
    if values.dtype.names is None and values.ndim != 2:
        raise refused(name, f"the shape {values.shape}", "Give rows by columns; reshape(-1, 1) makes one column.")
    names = default_names(values.shape[1]) if values.ndim == 2 else ()
    return list(named_columns(values, names).items())


def is_array(frame: Any) -> bool:
    """Whether NumPy can convert something into an array, such as a tensor."""
    return isinstance(frame, np.ndarray | ArrayLike | ArrayInterface)


def frame_column(values: Any, column: str, title: str) -> NDArray[Any]:
    """A column of a frame, a dict or an array as an array that `column_of_array` can convert; not a view.

    Raises:
        NoTrainingData: some values cannot be cells of a table.
    """
    if not isinstance(values, FrameColumn):
        stored = values if isinstance(values, np.ndarray) else list_of(values, column, title)
        return checked_column(stored, column, title)
    if str(getattr(values, "dtype", "")) == CATEGORY:
        return column_of_objects(np.asarray(values.to_numpy(), object).tolist(), column, title, categories=True)
    array = values.to_numpy()
    if array.dtype.kind == "f" and (np.abs(array[np.isfinite(array)]) >= LARGEST_EXACT).any():
        array = texts_or_numbers(values)  # perhaps rounded integers of a column with missing values
    return checked_column(array, column, title)


def texts_or_numbers(values: Any) -> Any:
    """The Python objects in a column of a frame."""
    return values.to_list() if isinstance(values, ListedColumn) else values.to_pylist()


def list_of(values: Any, column: str, title: str) -> Any:
    """A column of a dict as a list or an array.

    Raises:
        NoTrainingData: it is a single value.
    """
    if is_array(values):
        return np.asarray(values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise refused(title, f"a {type(values).__name__} as the column {printable(column)}", "Give a list of values.")
    return list(values)


def checked_column(values: Any, column: str, title: str) -> NDArray[Any]:
    """A copy of a column of one axis.

    Raises:
        NoTrainingData: it has several axes, or values that cannot be cells of a table.
    """
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise refused(title, f"the shape {values.shape} in the column {printable(column)}", "Give one value per row.")
    stored = stored_column(values, column, title)
    return stored.copy() if stored is values or stored.base is not None else stored


def digest_of_columns(columns: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names and content."""
    digest = hashlib.sha256()
    for name, column in columns.items():
        digest.update(f"{name}\n{column.dtype.str}\n{len(column)}\n".encode("utf-8", "backslashreplace"))
        texts = column.dtype == object
        digest.update(repr(column.tolist()).encode("utf-8", "backslashreplace") if texts else column.tobytes())
    return digest.hexdigest()


def refused(name: str, found: str, remedy: str) -> NoTrainingData:
    """The error for something that is no table."""
    return NoTrainingData(f"{name} has {found}.", EXPECTED, remedy)
