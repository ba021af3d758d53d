"""Python functions that the user names as `module:function`.

Importing a module runs code. Therefore such names come from the user only, never from a file. What the code prints goes
to standard error.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from vaekit.errors import BadPlan, NotFound, did_you_mean, printable


@dataclass(frozen=True, eq=False)
class UserFunction:
    """A function of the user."""

    name: str
    """"module:function"."""
    digest: str
    """SHA-256 of the file of its module; empty for modules without a file."""
    function: Callable[..., Any]


def is_function_name(name: str) -> bool:
    """Whether a text has the form of a function's name.

    >>> is_function_name("my_features:embed"), is_function_name("a.b:C.method"), is_function_name("brightness")
    (True, True, False)
    """
    module, colon, path = name.partition(":")
    return bool(colon) and all(map(str.isidentifier, [*module.split("."), *path.split(".")]))


def load_function(name: str, returns: str) -> UserFunction:
    """Import a function, which runs the code of its module. Modules are searched in the current folder, too.

    Args:
        name: "module:function"; the function may be an attribute of a class: "module:Class.method".
        returns: what the function should return, a sentence for messages.

    Raises:
        BadPlan: the module cannot be imported, or the name is that of something else.
        NotFound: there is no such module or function.
    """
    module_name, _, path = name.partition(":")
    module = imported(module_name, returns)
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
    return UserFunction(name, digest_of(module), function)


def imported(name: str, returns: str) -> ModuleType:
    """Import a module, with the current folder at the end of the search path."""
    try:
        with current_folder_searched(), redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise failed(f"Importing {name}", error, returns) from error
        raise NotFound(
            f"There is no module {name}.",
            "Expected a Python module in the current folder, or an installed one.",
            "Run the command in the folder of the module, or set PYTHONPATH to that folder.",
        ) from error
    except (Exception, SystemExit) as error:  # the code of the user
        raise failed(f"Importing {name}", error, returns) from error


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


def failed(action: str, error: BaseException, returns: str) -> BadPlan:
    """The error for code of the user that raised."""
    return BadPlan(
        f"{action} failed: {type(error).__name__}: {printable(str(error))}.",
        returns,
        "Correct the function; calling it in Python shows where it fails.",
    )
