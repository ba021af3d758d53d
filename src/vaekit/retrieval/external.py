"""Embeddings of other software: a Python function that the user names as `module:function`.

The function takes items (b, ...) as the VAE takes them, images in [-1, 1], and returns vectors (b, d): a tensor or an
array. What it prints goes to standard error. Importing its module runs code. Therefore the name comes from the user
only, never from an index.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import BadPlan, NotFound, VaekitError, did_you_mean, printable
from vaekit.retrieval.embedding import Vectors, unit_vectors
from vaekit.shapes import Items

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
    """Import a function, which runs the code of its module, and call it once. Modules are searched in the current
    folder, too.

    Args:
        name: "module:function"; the function may be an attribute of a class: "module:Class.method".
        example: items (b, ...), to learn the dimension.

    Raises:
        BadPlan: the name has another form, the module cannot be imported, or the function returns no vectors.
        NotFound: there is no such module or function.
    """
    module_name, colon, path = name.partition(":")
    if not (colon and all(map(str.isidentifier, [*module_name.split("."), *path.split(".")]))):
        raise BadPlan(
            f"The embedding {printable(name)!r} is neither built in nor the name of a function.",
            "Expected module:function, such as my_features:embed.",
            "",
        )
    module = imported(module_name)
    function: Any = module
    for attribute in path.split("."):
        try:
            function = getattr(function, attribute)
        except AttributeError as error:
            raise NotFound(
                f"The module {module_name} has no {path}.",
                "Expected a function in it.",
                did_you_mean(attribute, filter(str.isidentifier, dir(function))),
            ) from error
    if not callable(function):
        raise BadPlan(f"{name} is a {type(function).__name__}.", "Expected a function.", "")
    return External(name, digest_of(module), vectors_from(function, example, name).shape[1], function)


def imported(name: str) -> ModuleType:
    """Import a module, with the current folder at the end of the search path."""
    try:
        with current_folder_searched(), redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise failed(f"Importing {name}", error) from error
        raise NotFound(
            f"There is no module {name}.",
            "Expected a Python module in the current folder, or an installed one.",
            "Run the command in the folder of the module, or set PYTHONPATH to that folder.",
        ) from error
    except (Exception, SystemExit) as error:  # the code of the user
        raise failed(f"Importing {name}", error) from error


@contextmanager
def current_folder_searched() -> Iterator[None]:
    """Search modules in the current folder, after all others."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.reverse()  # the last one is removed: the user's code may have added it, too
        sys.path.remove(folder)
        sys.path.reverse()


def digest_of(module: ModuleType) -> str:
    """SHA-256 of the file of a module; empty for one without a file."""
    path = getattr(module, "__file__", None)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else ""


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
        raise failed(f"Calling {name} with items of shape {list(x.shape)}", error) from error
    if values.dim() != 2 or len(values) != len(x) or not values.shape[1] or not values.is_floating_point():
        raise BadPlan(
            f"{name} returned {list(values.shape)} of {str(values.dtype).removeprefix('torch.')} for {len(x)} items.",
            RETURNS,
            "Correct the function.",
        )
    return values


def failed(action: str, error: BaseException) -> BadPlan:
    """The error for code of the user that raised."""
    return BadPlan(
        f"{action} failed: {type(error).__name__}: {printable(str(error))}.",
        RETURNS,
        "Correct the function; calling it in Python shows where it fails.",
    )
