"""Search a large index with LanceDB: vectors are divided into cells, and those of the cells nearest to a query are
compared (an inverted file without compression).

The table is a copy of the vectors of the index, which can always be made again. The number of cells that are searched
is chosen by measurement.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.atomic import atomic_file, cannot_write
from vaekit.errors import BadIndex, CannotWriteHere, printable
from vaekit.optional import require
from vaekit.reading import read_json
from vaekit.records import from_dict
from vaekit.retrieval.index import LANCE, Index, sample_of
from vaekit.retrieval.matrix import Vectors, nearest
from vaekit.retrieval.rows import Row

FOLDER, STATE = LANCE, "lance.json"
TABLE = "vectors"
FEWEST = 100_000
"""The number of items from which on LanceDB is used."""
NEIGHBORS = 10
QUERIES = 200
"""Stored vectors with which recall is measured."""
ENOUGH = 0.99
"""The recall at which no more cells are searched."""
LEAST_FOR_CELLS = 256
"""Fewer vectors are not divided into cells."""
IDS_AT_ONCE = 5000
REBUILT = 0.3
"""The share of new vectors beyond which cells are computed again."""


class BadTable(BadIndex):
    """The table of LanceDB is damaged. The index can be searched without it."""


@dataclass(frozen=True)
class State:
    """What the table holds, and how it is searched."""

    items: int
    last_id: int
    """The largest id, which identifies the state together with the number of items: ids are not used twice."""
    cells: int
    """The number of cells that are searched."""
    recall: float
    """Recall@10 against the exact scan."""


class LanceSearch:
    """Finds candidates in the table; see `vaekit.retrieval.index.Candidates`."""

    name = "lancedb"

    def __init__(self, index: Index, table: Any, cells: int) -> None:
        self._index, self._table, self._cells = index, table, cells

    def __call__(self, query: Vectors, k: int) -> list[Row]:
        """The rows of about k nearest neighbors.

        Raises:
            BadTable: the table is damaged.
        """
        with damage_reported(self._index.folder):
            ids = nearest_ids(self._table, query, k, self._cells)
        return list(self._index.rows.of_ids(ids).values())


def open_lance(index: Index) -> LanceSearch | None:
    """The search with LanceDB; None if the index has no table, or one that is out of date.

    Raises:
        MissingPackage: LanceDB is not installed.
        BadTable: the table is damaged.
    """
    state = read_state(index.folder)
    if state is None or (state.items, state.last_id) != summary(index):
        return None
    lancedb = require_lancedb()
    with damage_reported(index.folder):
        return LanceSearch(index, lancedb.connect(str(index.folder / FOLDER)).open_table(TABLE), state.cells)


def synchronize(index: Index) -> State:
    """Bring the table up to date with the index, and measure its recall.

    Raises:
        MissingPackage: LanceDB is not installed.
        CannotWriteHere: the disk is full, for example. The index itself is complete.
        BadIndex: the vectors are damaged.
    """
    require_lancedb()
    known = read_state(index.folder)
    if known is not None and (known.items, known.last_id) == summary(index):
        return known
    (index.folder / STATE).unlink(missing_ok=True)
    try:
        table = filled_table(index)
    except CannotWriteHere:  # a damaged table, perhaps
        forget(index)
        table = filled_table(index)
    cells, recall = fewest_cells(index, table)
    state = State(*summary(index), cells, recall)
    with atomic_file(index.folder / STATE) as part:
        part.write_text(json.dumps(asdict(state)) + "\n", "utf-8")
    return state


def forget(index: Index) -> None:
    """Remove the table: the index is searched by an exact scan."""
    (index.folder / STATE).unlink(missing_ok=True)
    shutil.rmtree(index.folder / FOLDER, ignore_errors=True)


def filled_table(index: Index) -> Any:
    """The table with the vectors of the index, divided into cells.

    Raises:
        CannotWriteHere: the disk is full, for example, or the table is damaged.
        BadIndex: the vectors are damaged.
    """
    try:
        table = opened_table(require_lancedb().connect(str(index.folder / FOLDER)), index.description.dimension)
        divide(table, copy_rows(index, table))
    except (BadIndex, MemoryError):
        raise
    except Exception as error:  # LanceDB raises RuntimeError, ValueError and OSError
        raise cannot_write(index.folder / FOLDER, error, CannotWriteHere) from error
    return table


def require_lancedb() -> ModuleType:
    """LanceDB.

    Raises:
        MissingPackage: it is not installed.
    """
    os.environ.setdefault("LANCEDB_LOG", "error")  # its warnings are about itself
    return require("lancedb", "search indexes of more than 100,000 items", "search")


def summary(index: Index) -> tuple[int, int]:
    """The number of items, and the largest id."""
    ids, _ = index.rows.ids_and_slots()
    return len(ids), int(ids.max()) if len(ids) else 0


def read_state(folder: Path) -> State | None:
    """What the table holds; None if that is not known."""
    try:
        state: State = from_dict(State, read_json(folder / STATE))
    except (OSError, ValueError, TypeError):
        return None
    return state


def opened_table(database: Any, dimension: int) -> Any:
    """The table; a new one if there is none, or a damaged one."""
    pyarrow = require("pyarrow", "exchange vectors with LanceDB", "search")
    schema = pyarrow.schema([("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), dimension))])
    with suppress(Exception):  # no table, or a damaged one
        table = database.open_table(TABLE)
        if table.schema == schema:
            table.count_rows()
            return table
    return database.create_table(TABLE, schema=schema, mode="overwrite")


def copy_rows(index: Index, table: Any) -> int:
    """Remove rows from the table that the index has no more, and add those that are new; returns their number."""
    pyarrow = require("pyarrow", "exchange vectors with LanceDB", "search")
    ids, slots = index.rows.ids_and_slots()
    held = table.search().select(["id"]).limit(max(1, table.count_rows())).to_arrow()["id"].to_numpy()
    gone = np.setdiff1d(held, ids)
    for start in range(0, len(gone), IDS_AT_ONCE):
        table.delete(f"id IN ({', '.join(map(str, gone[start : start + IDS_AT_ONCE].tolist()))})")
    new = ~np.isin(ids, held)
    for block_ids, block in blocks_of(index, ids[new], slots[new]):
        values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.reshape(-1)), block.shape[1])
        table.add(pyarrow.Table.from_arrays([pyarrow.array(block_ids), values], schema=table.schema))
    return int(new.sum())


def blocks_of(
    index: Index, ids: NDArray[np.int64], slots: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Ids and vectors of sorted slots, block by block."""
    for start, block in index.matrix.blocks(slots):
        first, last = np.searchsorted(slots, (start, start + len(block)))
        yield ids[first:last], block[slots[first:last] - start].astype(np.float32)


def divide(table: Any, added: int) -> None:
    """Divide the vectors into cells, or add new ones to existing cells, and remove older versions of the table."""
    from lancedb.index import IvfFlat

    count = table.count_rows()
    if count >= LEAST_FOR_CELLS and (not table.list_indices() or added > REBUILT * count):
        table.create_index("vector", config=IvfFlat(distance_type="dot", num_partitions=math.isqrt(count)))
    table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)


def fewest_cells(index: Index, table: Any) -> tuple[int, float]:
    """The number of cells, a power of two, at which recall@10 is sufficient; and this recall."""
    slots = index.rows.slots()
    queries = index.matrix.read(sample_of(slots, QUERIES))
    found, _ = nearest(index.matrix, slots, queries, NEIGHBORS)
    ids, _ = index.rows.ids_and_slots()
    exact = ids[np.searchsorted(slots, found)]
    cells, most = 4, max(4, math.isqrt(len(slots)))
    while True:
        approximate = [nearest_ids(table, query, NEIGHBORS, cells) for query in queries]
        recall = shared(exact.tolist(), approximate)
        if recall >= ENOUGH or cells >= most:
            return cells, recall
        cells *= 2


def shared(exact: Sequence[Sequence[int]], approximate: Sequence[Sequence[int]]) -> float:
    """Recall: the share of exact neighbors that are among the approximate ones."""
    hits = sum(len(set(one) & set(other)) for one, other in zip(exact, approximate, strict=True))
    return hits / max(1, sum(map(len, exact)))


def nearest_ids(table: Any, query: Vectors, k: int, cells: int) -> list[int]:
    """The ids of the nearest vectors in the nearest cells."""
    search = table.search(query).distance_type("dot").nprobes(cells).limit(k).select(["id", "_distance"])
    return list(search.to_arrow()["id"].to_pylist())


@contextmanager
def damage_reported(folder: Path) -> Iterator[None]:
    """Report any failure of LanceDB as a damaged table."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # LanceDB is written in Rust, and its panics are no Exceptions
        raise BadTable(
            f"The table of LanceDB in {folder} cannot be searched: {printable(str(error), 200)}.",
            "",
            f"Remove {folder / FOLDER} and {folder / STATE}; the next `vaekit index` makes them again.",
        ) from error
