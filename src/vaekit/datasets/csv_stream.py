"""Read the rows of a CSV file in chunks."""

from collections.abc import Callable, Iterator
from pathlib import Path

from vaekit.datasets.csv_columns import CsvColumns
from vaekit.datasets.csv_format import EXPECTED
from vaekit.datasets.csv_lines import open_pieces
from vaekit.datasets.row_chunks import RowChunk, RowStream, line_names
from vaekit.datasets.text_blocks import TextBlocks


class CsvStream(RowStream):
    """The rows of a CSV file; see `RowStream`.

    Args:
        path: the file.
        say: called with a message if it is not UTF-8.

    Raises:
        NoTrainingData: it is not CSV, or has no header.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._name = path.name
        self._blocks = TextBlocks(path, say, EXPECTED)
        try:
            self._table = open_pieces(self._blocks)
        except BaseException:
            self.close()
            raise
        self.columns = self._table.columns

    @property
    def fraction(self) -> float:
        return self._blocks.fraction

    def chunks(self, rows: int) -> Iterator[RowChunk]:
        columns = CsvColumns(self._table.columns, self._table.delimiter)
        for piece in self._table.pieces:
            for start in range(0, len(piece.rows), rows):
                part = slice(start, start + rows)
                yield columns.chunk(piece.rows[part], line_names(self._name, piece.lines[part]))

    def close(self) -> None:
        self._blocks.close()
