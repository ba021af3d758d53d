"""Properties of items by name: with gradients, as functions of items, or estimated from labelled data."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.datasets.labels import label_names
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import Domain, Schema
from vaekit.domains.item_functions import MeasureItems, as_numbers, named
from vaekit.errors import BadPlan, NotFound, VaekitError, did_you_mean
from vaekit.user_functions import UserFunction, failed, is_function_name, load_function

RETURNS = "Expected one number for each item of a list, such as a list of floats or an array (n,)."

COLUMN = "column:"
"""May be in front of the name of a column, for one that looks like something else."""


@dataclass(frozen=True, eq=False)
class Property:
    """A number for each item. One of `gradient`, `of_items` and `column` is there."""

    name: str
    gradient: Callable[[Tensor], Tensor] | None = None
    """Items (b, ...), as a VAE takes them, or what is expected of them -> values (b,), differentiable."""
    of_items: Callable[[Sequence[Any]], Tensor] | None = None
    """Items as the domain writes them -> values (b,)."""
    column: str | None = None
    """The column of labelled data from which the property is estimated, as nothing computes it of other items."""
    function: UserFunction | None = None
    """The function of the user, if it is one."""

    def of_tensors(self, schema: Schema) -> Callable[[Tensor], Tensor]:
        """A function from items (b, ...), as a VAE takes them, to values (b,).

        Raises:
            BadPlan: the property is a column of labels, which no item has by itself.
        """
        if self.gradient is not None:
            return self.gradient
        measure = self.of_items
        if measure is None:
            raise BadPlan(f"The column {self.column} is not measured.", "Expected an estimate of it.", "")
        return lambda x: measure(schema.to_items(x))


def property_of(domain: Domain, schema: Schema, name: str, data: Path | None = None) -> Property:
    """A property of the schema, or of the domain, or a function as `module:function`, whose module is imported, or a
    column of labelled data.

    The function takes a list of items as the domain writes them: rows as mappings of column to text, images as tensors
    (1, c, h, w) in [-1, 1], sentences as text.

    Raises:
        NotFound: there is none of them.
        BadPlan: the module cannot be imported, or the name is that of something else.
    """
    try:
        return Property(name, gradient=schema.property_named(name))
    except NotFound as error:
        unknown = error
    with suppress(NotFound):
        measure = named(domain.properties, name)
        return Property(name, of_items=lambda items: measured(measure, name, items))
    columns = [] if data is None else label_names(domain.open(data, SkipLog()).train)
    column = next((each for each in (name, name.removeprefix(COLUMN)) if each in columns), None)
    if column is not None:
        return Property(name, column=column)
    if is_function_name(name):
        return property_of_function(name, unknown)
    known = [*domain.properties, *columns]
    expected = unknown.expected
    if known:
        expected = f"Expected one of {', '.join(known)}, or {expected.removeprefix('Expected ')}"
    raise NotFound(unknown.found, expected, did_you_mean(name, known) or unknown.remedy) from unknown


def property_of_function(name: str, unknown: NotFound) -> Property:
    """The property of a function of the user.

    Args:
        name: "module:function".
        unknown: the reason why it is no property of the schema.
    """
    try:
        loaded = load_function(name, RETURNS)
    except NotFound as missing:
        raise NotFound(
            f"{unknown.found} {missing.found}", unknown.expected, unknown.remedy or missing.remedy
        ) from missing
    return Property(name, of_items=lambda items: numbers_from(loaded, items), function=loaded)


def measured(measure: MeasureItems, name: str, items: Sequence[Any]) -> Tensor:
    """A property of the domain, (n,) in float64."""
    values = as_numbers(measure(items))
    assert values.shape == (len(items),), f"{name}: {values.shape} for {len(items)} items"
    return values


def numbers_from(function: UserFunction, items: Sequence[Any]) -> Tensor:
    """Call a function of the user, and check its result: (n,) in float64.

    Raises:
        BadPlan: it raises, or returns something else than one number for each item.
    """
    try:
        with torch.no_grad(), redirect_stdout(sys.stderr):
            result = function.function(list(items))
            values = torch.from_numpy(np.array(result, np.float64))
    except VaekitError:
        raise
    except (Exception, SystemExit) as error:  # the code of the user
        raise failed(f"Calling {function.name} with {len(items)} items", error, RETURNS) from error
    if values.shape != (len(items),):
        raise BadPlan(
            f"{function.name} returned values of the shape {list(values.shape)} for {len(items)} items.",
            RETURNS,
            "Correct the function.",
        )
    return values
