"""`metadata.csv` in a folder of files: a row of labels for each file, as in `imagefolder` of Hugging Face `datasets`.

Its column `file_name` holds paths relative to its folder, with slashes. It is located in the folder of the data set, or
in folders inside it, one for each split, for example.
"""

from collections.abc import Sequence
from pathlib import Path

from vaekit.datasets.csv_rows import read_csv
from vaekit.datasets.label_columns import label_text
from vaekit.errors import NoTrainingData, printable

NAME = "metadata.csv"
FILE_NAME = "file_name"
"""The column of the names of files."""


def metadata_columns(root: Path, names: Sequence[str]) -> dict[str, list[str | None]]:
    """The labels of files by column; empty if there is no such table.

    Args:
        root: the folder.
        names: paths of files relative to it, with slashes.

    Raises:
        NoTrainingData: the table cannot be read, or has no column of the names of files.
    """
    columns: dict[str, dict[str, str | None]] = {}
    for folder in dict.fromkeys(["", *(f"{name.partition('/')[0]}/" for name in names if "/" in name)]):
        path = root / folder / NAME
        if path.is_file():
            for column, labels in read_metadata(path).items():
                columns.setdefault(column, {}).update({f"{folder}{name}": label for name, label in labels.items()})
    return {column: [labels.get(name) for name in names] for column, labels in columns.items()}


def read_metadata(path: Path) -> dict[str, dict[str, str | None]]:
    """The labels in a table: by column and name of the file.

    Raises:
        NoTrainingData: it cannot be read, or has no column of the names of files.
    """
    table = read_csv(path, path.name)
    header = table.columns
    if FILE_NAME not in header:
        raise NoTrainingData(
            f"{path} has the columns {printable(', '.join(header), 300)}.",
            f"Expected a column {FILE_NAME} with the names of files.",
            "Rename the column, or the table if it is not about these files.",
        )
    place = header.index(FILE_NAME)
    complete = [values for row in range(len(table.rows)) if len(values := table.values(row)) == len(header)]
    return {
        column: {values[place]: label_text(values[i]) for values in complete}
        for i, column in enumerate(header)
        if i != place
    }
