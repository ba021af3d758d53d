"""Read the labels of a data set: classes or numbers, as text, one for each record.

Sources of labels: the folder that a file is located in; the name of a text file or table, if there are several; a
column of a table (CSV, Arrow, Parquet), or of `metadata.csv` in a folder of files; an array beside the items in an npz
file; the label file beside MNIST's idx images; and `.cls` and `.json` members of WebDataset tars.
"""

from collections.abc import Sequence

from vaekit.datasets.dataset import Dataset, Labelled
from vaekit.datasets.label_columns import FILE, FOLDER
from vaekit.errors import NotFound, NoTrainingData, counted, did_you_mean, printable, shorten

USUAL = ("label", "labels", "class", "cls", "target", "targets", "y", FOLDER, FILE)
"""Names of columns that are used if none is chosen, in order of precedence; in lower case."""
SOURCES = (
    "Expected class folders, metadata.csv with a column file_name, a column of a table, an array beside the items in "
    "an npz file, an idx file of labels, or .cls or .json members of a tar."
)


def read_labels(dataset: Dataset, column: str | None = None) -> list[str | None]:
    """The label of each record, in the order of the records; None for records without one.

    Args:
        dataset: the records, from `open_dataset`.
        column: the name of the column; None for the first usual one, see `USUAL`.

    Raises:
        NotFound: the data set has no labels, or no such column.
        NoTrainingData: the labels cannot be read, or their number is not that of the records.
    """
    names = label_names(dataset)
    chosen = column if column is not None else usual_column(names)
    title = title_of(dataset)
    if not names:
        raise NotFound(f"{title} has no labels.", SOURCES, "Give labels, or one folder or file for each class.")
    if chosen is None or chosen not in names:
        missing = "usual name" if chosen is None else f"name {printable(chosen)!r}"
        raise NotFound(
            f"{title} has no column of labels of the {missing}.",
            f"Its columns are {shorten(names, 40)}.",
            did_you_mean(chosen or "", names) or "Choose one of them with --label.",
        )
    assert isinstance(dataset, Labelled)
    labels = list(dataset.labels(chosen))
    if len(labels) != len(dataset):
        raise NoTrainingData(
            f"{title} has {counted(len(labels), 'label')} in the column {printable(chosen)}, and "
            f"{counted(len(dataset), 'item')}.",
            "Expected one label for each item.",
            "Give the labels of these items, in the same order.",
        )
    return labels


def read_columns(dataset: Dataset, names: Sequence[str]) -> dict[str, list[str]]:
    """Columns beside the items, which are found where labels are, as text; empty for missing values.

    Args:
        dataset: the records, from `open_dataset`.
        names: of the columns.

    Raises:
        NotFound: the data set has no columns, or not these.
        NoTrainingData: they cannot be read, or have another number of values than the data set has records.
    """
    if not names:
        return {}
    check_columns(names, label_names(dataset), title_of(dataset))
    return {name: [value or "" for value in read_labels(dataset, name)] for name in names}


def check_columns(wanted: Sequence[str], columns: Sequence[str], title: str) -> None:
    """Check that data have columns.

    Raises:
        NotFound: one of them is missing.
    """
    for name in wanted:
        if not columns:
            raise NotFound(
                f"{title} has no columns, and {printable(name)} is requested.",
                SOURCES,
                "Give data with columns, such as a table, or do not request one.",
            )
        if name not in columns:
            raise NotFound(
                f"{title} has no column {printable(name)}.",
                f"Its columns are {shorten(columns, 40)}.",
                did_you_mean(name, columns) or "Choose one of them.",
            )


def title_of(dataset: Dataset) -> str:
    """A data set in messages."""
    return f"The data set ({printable(dataset.key(0))}, ...)" if len(dataset) else "The data set"


def label_names(dataset: Dataset) -> Sequence[str]:
    """The names of the columns of labels; empty if there are none.

    Raises:
        NoTrainingData: they cannot be read.
    """
    return list(dataset.label_names()) if isinstance(dataset, Labelled) else []


def usual_column(names: Sequence[str]) -> str | None:
    """The column that is used if none is chosen.

    >>> usual_column(["id", "Label"])
    'Label'
    """
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in USUAL if name in lower), None)
