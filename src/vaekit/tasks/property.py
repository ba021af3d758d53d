"""Properties of items by name: those of the schema, such as a column, and functions of the user."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.domains.domain import Schema
from vaekit.errors import BadPlan, NotFound, VaekitError
from vaekit.user_functions import UserFunction, failed, is_function_name, load_function

RETURNS = "Expected one number for each item of a list, such as a list of floats or an array (n,)."


@dataclass(frozen=True, eq=False)
class Property:
    """A number for each item."""

    name: str
    measure: Callable[[Tensor], Tensor]
    """Items (b, ...), as a VAE takes them -> values (b,)."""
    function: UserFunction | None = None
    """The function of the user that measures items as the domain writes them; None for a property of the schema, which
    is differentiable."""


def property_of(schema: Schema, name: str) -> Property:
    """A property of the schema, or else a function as `module:function`, whose module is imported.

    The function takes a list of items as the domain writes them: rows as mappings of column to text, images as tensors
    (1, c, h, w) in [-1, 1], sentences as text.

    Raises:
        NotFound: there is neither.
        BadPlan: the module cannot be imported, or the name is that of something else.
    """
    try:
        return Property(name, schema.property_named(name))
    except NotFound as unknown:
        if not is_function_name(name):
            raise
        try:
            loaded = load_function(name, RETURNS)
        except NotFound as missing:
            raise NotFound(
                f"{unknown.found} {missing.found}", unknown.expected, unknown.remedy or missing.remedy
            ) from missing
        return Property(name, lambda x: numbers_from(loaded, schema.to_items(x)), loaded)


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
