"""Molecules and what became of them: a table, and a drawing of each beside its result."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from vaekit.atomic import write_lines
from vaekit.domains.item_functions import ItemValues
from vaekit.domains.molecules.drawings import value_text, write_drawing
from vaekit.domains.molecules.similarity import tanimoto

COLUMNS = ("smiles", "name", "result", "tanimoto")
WIDE = 4
"""Columns of the drawing: two pairs."""
SIMILARITY = "Tanimoto"
SEPARATORS = re.compile("[\t\n\r]+")
"""That cells and names of columns may have, and columns of the table must not."""
T = TypeVar("T")


def write_pairs(
    originals: Sequence[tuple[str, str]],
    results: Sequence[str],
    path: Path,
    measured: tuple[ItemValues, ItemValues] | None = None,
) -> None:
    """Write a table with tabs, and a drawing with the ending .svg.

    The columns are the SMILES in the file, the name, the SMILES of the result, which are empty if it is invalid, their
    similarity, and the values of a property before and after it was changed.

    Args:
        originals: SMILES and names.
        results: SMILES.
        path: of the table.
        measured: the property, of originals and results; None for none.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    smiles, names = [each for each, _ in originals], [name for _, name in originals]
    similar = tanimoto(smiles, results)
    columns: list[Sequence[str]] = [smiles, names, results, [f"{value:.4f}" for value in similar]]
    titles, values = [*COLUMNS], list[ItemValues]()
    if measured is not None:
        before, after = measured
        name = on_one_line(before.name)
        titles += [name, f"{name} (result)"]
        columns += [[f"{value:.6g}" for value in each.values] for each in measured]
        values = [ItemValues(before.name, alternating(before.values, after.values))]
    write_lines(path, ["\t".join(row) for row in (titles, *zip(*columns, strict=True))])
    notes = alternating([name or "original" for name in names], [value_text(SIMILARITY, value) for value in similar])
    write_drawing(alternating(smiles, results), path.with_suffix(".svg"), WIDE, notes, values)


def on_one_line(text: str) -> str:
    """A text for a column of the table."""
    return " ".join(SEPARATORS.split(text))


def alternating(one: Sequence[T], other: Sequence[T]) -> list[T]:
    """The items of two equally long lists in turn.

    >>> alternating([1, 3], [2, 4])
    [1, 2, 3, 4]
    """
    return list(chain.from_iterable(zip(one, other, strict=True)))
