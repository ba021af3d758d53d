"""Columns as properties of rows, differentiable: numbers in their own units, and probabilities of values."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vaekit.domains.tables.columns import BINARY, CATEGORICAL, COUNTS, MOST_LOG, NUMERIC, POSITIVE, Column
from vaekit.errors import NotFound, did_you_mean, printable, shorten

PREFIX = "column:"
"""May be in front of a column's name, for one that looks like something else."""


def column_property(columns: Sequence[Column], name: str) -> Callable[[Tensor], Tensor]:
    """A numeric column in its own unit, dates in seconds since 1970, and levels by their number from 0; or the
    probability of `column=value` for a column of two or more values.

    Args:
        columns: in the order of their values in a row of a tensor.
        name: of the column, or "column=value"; also after "column:".

    Raises:
        NotFound: there is no such column, or no such value.
    """
    known: dict[str, Callable[[Tensor], Tensor]] = {}
    start = 0
    for column in columns:
        own = slice(start, start := start + column.width)
        if column.kind in NUMERIC:
            known[column.name] = partial(number, column, own)
        elif column.kind in (BINARY, CATEGORICAL):
            known |= {
                f"{column.name}={value}": partial(probability, place, own) for place, value in enumerate(column.values)
            }
    found = known.get(name, known.get(name.removeprefix(PREFIX)))
    if found is None:
        raise NotFound(
            f"The rows have no property {printable(repr(name))}.",
            f"Expected {shorten(known)}.",
            did_you_mean(name.removeprefix(PREFIX), known),
        )
    return found


def probability(place: int, own: slice, x: Tensor) -> Tensor:
    """The probability of one value of a column, whose values in rows are `own`: one probability of two, or all."""
    values = x[:, own]
    if values.shape[1] > 1:
        return values[:, place]
    return values[:, 0] if place else 1 - values[:, 0]


def number(column: Column, own: slice, x: Tensor) -> Tensor:
    """A numeric column of rows -> numbers in its unit in float64, see `Column.inverse`: limited to the range of the
    data, as they are written, but with the gradient of numbers that are not.

    >>> number(Column("price", "real", "normal", center=10.0, scale=2.0), slice(0, 1), torch.tensor([[1.5]])).tolist()
    [13.0]
    """
    plain = x[:, own].flatten().double() * column.scale + column.center
    if column.kind == POSITIVE:
        plain = torch.sinh(plain.clamp(-MOST_LOG, MOST_LOG)) * column.unit
    elif column.likelihood == COUNTS:
        plain = plain.sign() * torch.expm1(plain.abs().clamp(max=MOST_LOG))
    return plain.detach().clamp(column.low, column.high) + (plain - plain.detach())
