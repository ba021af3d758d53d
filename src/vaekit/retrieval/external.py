"""Embeddings of other software: a Python function that the user names as `module:function`.

The function takes items (b, ...) as the VAE takes them, images in [-1, 1], and returns vectors (b, d): a tensor or an
array. What it prints goes to standard error. Importing its module runs code. Therefore the name comes from the user
only, never from an index.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import BadPlan, VaekitError, printable
from vaekit.retrieval.embedding import Vectors, unit_vectors
from vaekit.shapes import Items
from vaekit.user_functions import failed, is_function_name, load_function

RETURNS = "Expected a floating-point tensor or array (b, d) with one vector per item."


@dataclass(frozen=True, eq=False)
class External:
    """A function of the user."""

    name: str
    """As the user named it: "my_features:embed"."""
    digest: str
    """SHA-256 of the file of its module; empty for modules without a file."""
    dimension: int
    function: Callable[[Tensor], Any]

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"embedding": "external", "function": self.name, "sha256": self.digest, "dimension": self.dimension}

    def __call__(self, x: Items) -> Vectors:
        """Embed items, see `Embedding`.

        Raises:
            BadPlan: the function raises, or returns something else than vectors of this dimension.
            BadItem: the vector of an item is not finite.
        """
        values = vectors_from(self.function, x, self.name)
        if values.shape[1] != self.dimension:
            raise BadPlan(
                f"{self.name} returned vectors of {values.shape[1]:,} values, and of {self.dimension:,} before.",
                "Expected vectors of one length.",
                "Correct the function.",
            )
        return unit_vectors(values, f"The vector that {self.name} returned")


def load_external(name: str, example: Items) -> External:
    """Import a function, see `load_function`, and call it once.

    Args:
        name: "module:function"; the function may be an attribute of a class: "module:Class.method".
        example: items (b, ...), to learn the dimension.

    Raises:
        BadPlan: the name has another form, the module cannot be imported, or the function returns no vectors.
        NotFound: there is no such module or function.
    """
    if not is_function_name(name):
        raise BadPlan(
            f"The embedding {printable(name)!r} is neither built in nor the name of a function.",
            "Expected module:function, such as my_features:embed.",
            "",
        )
    loaded = load_function(name, RETURNS)
    return External(name, loaded.digest, vectors_from(loaded.function, example, name).shape[1], loaded.function)


def vectors_from(function: Callable[[Tensor], Any], x: Items, name: str) -> Tensor:
    """Call a function of the user, and check its result: (b, d), floating-point.

    Raises:
        BadPlan: it raises, or returns something else.
    """
    try:
        with torch.no_grad(), redirect_stdout(sys.stderr):
            result = function(x.clone())
            values = result if isinstance(result, Tensor) else torch.as_tensor(result)
    except VaekitError:
        raise
    except (Exception, SystemExit) as error:  # the code of the user
        raise failed(f"Calling {name} with items of shape {list(x.shape)}", error, RETURNS) from error
    if values.dim() != 2 or len(values) != len(x) or not values.shape[1] or not values.is_floating_point():
        raise BadPlan(
            f"{name} returned {list(values.shape)} of {str(values.dtype).removeprefix('torch.')} for {len(x)} items.",
            RETURNS,
            "Correct the function.",
        )
    return values
