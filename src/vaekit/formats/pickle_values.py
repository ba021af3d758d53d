"""The values in a pickle: plain containers, and placeholders for all other objects."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Builder = Callable[..., object]
"""A function that is called in place of a function or class that a pickle names."""


LONGEST_KEY = 4096
"""The maximum length of keys: equal keys are compared character by character."""
LARGEST_KEY = 2**60
"""The largest integer key: Python's hash of an integer is the integer itself up to about here; larger ones collide."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """An object that a pickle names, and that is neither imported nor constructed: a class, a function or an
    instance."""

    name: str


class Stateful(ABC):
    """An object that a builder creates, and whose state the pickle sets afterwards."""

    @abstractmethod
    def set_state(self, state: object) -> None:
        """Set the state.

        Raises:
            ValueError: the state is invalid.
        """


def copying(value: object) -> int:
    """The work of copying a value."""
    if isinstance(value, (str, bytes)):
        return len(value) // 64
    return len(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else 0


def as_key(value: object) -> object:
    """A value that is fast to hash and compare, for keys and sets; other values are replaced by placeholders.

    Python's hash recurses into nested tuples until the stack overflows, and large integers or tuples can be chosen so
    that thousands have the same hash, which takes quadratic time.
    """
    if isinstance(value, (str, bytes)):
        fast = len(value) <= LONGEST_KEY
    elif isinstance(value, int):
        fast = abs(value) < LARGEST_KEY
    else:
        fast = value is None or isinstance(value, (float, Placeholder))
    return value if fast else Placeholder(f"a {type(value).__name__} as a key")


def as_dict(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    return {as_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def build_dict(*arguments: object) -> dict[Any, Any]:
    """`OrderedDict()` and other dictionaries; Python 2 passes all pairs as one argument."""
    pairs = arguments[-1] if arguments else ()
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, (list, tuple)):  # the factory of a defaultdict
        return {}
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise ValueError("a dictionary without pairs")
    return {as_key(key): value for key, value in pairs}


def build_bytes(text: object = "", encoding: object = "latin1") -> object:
    """`_codecs.encode`, which represents bytes in protocols without them."""
    if isinstance(text, str) and encoding in ("latin1", "latin-1"):
        return text.encode("latin-1")
    return Placeholder("_codecs.encode")


def build_sequence(container: Callable[[Any], object]) -> Builder:
    """A builder for a container; it is empty if the argument is not a list or tuple."""
    return lambda values=(), *_: container(values if isinstance(values, (list, tuple)) else ())


def build_object(class_: object = None, *_: object) -> object:
    """`copyreg._reconstructor`, which creates an instance of a class in protocols before 2."""
    return class_ if isinstance(class_, Placeholder) else Placeholder("object")


BUILTINS: dict[str, Builder] = {
    "dict": build_dict,
    "list": build_sequence(list),
    "tuple": build_sequence(tuple),
    "set": build_sequence(lambda values: set(map(as_key, values))),
    "frozenset": build_sequence(lambda values: frozenset(map(as_key, values))),
}
CONTAINERS: dict[str, Builder] = {
    "collections.OrderedDict": build_dict,
    "collections.defaultdict": build_dict,
    "torch.Size": BUILTINS["tuple"],
    "_codecs.encode": build_bytes,
    "copyreg._reconstructor": build_object,
    "copy_reg._reconstructor": build_object,
    **{f"{module}.{name}": builder for module in ("builtins", "__builtin__") for name, builder in BUILTINS.items()},
}
"""The builders that replace these classes and functions."""
