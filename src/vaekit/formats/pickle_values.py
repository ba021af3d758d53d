"""The values that come out of a pickle: plain containers, and placeholders for everything else."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Builder = Callable[..., object]
"""What is called in place of a function or class that a pickle names."""


LONGEST_KEY = 4096
"""The maximum length of keys: equal keys are compared character by character."""
LARGEST_KEY = 2**60
"""Python's hash of a number is the number itself up to about here; beyond, many numbers share one."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Something that a pickle names and that we neither import nor build: a class, a function, or an instance."""

    name: str


class Unsettled(ABC):
    """What a builder of ours made of a call, and that a pickle gives its state to afterwards."""

    @abstractmethod
    def settle(self, state: object) -> None:
        """Take the state, if it is one.

        Raises:
            ValueError: it is none.
        """


def copying(value: object) -> int:
    """The work of copying a value."""
    if isinstance(value, (str, bytes)):
        return len(value) // 64
    return len(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else 0


def as_key(value: object) -> object:
    """A value that is quickly hashed and compared, for keys and sets; a placeholder in place of any other.

    Python's hash follows tuples as deep as they nest, until the stack of the process is full. And whoever chooses
    large numbers or tuples can choose thousands with the same hash, which take quadratic time.
    """
    if isinstance(value, (str, bytes)):
        quick = len(value) <= LONGEST_KEY
    elif isinstance(value, int):
        quick = abs(value) < LARGEST_KEY
    else:
        quick = value is None or isinstance(value, (float, Placeholder))
    return value if quick else Placeholder(f"a {type(value).__name__} as a key")


def as_dict(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    return {as_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def build_dict(*arguments: object) -> dict[Any, Any]:
    """`OrderedDict()` and its kin; Python 2 hands all pairs over at once."""
    pairs = arguments[-1] if arguments else ()
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, (list, tuple)):  # the factory of a defaultdict
        return {}
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise ValueError("a dictionary without pairs")
    return {as_key(key): value for key, value in pairs}


def build_bytes(text: object = "", encoding: object = "latin1") -> object:
    """`_codecs.encode`, which stands for bytes in protocols without them."""
    if isinstance(text, str) and encoding in ("latin1", "latin-1"):
        return text.encode("latin-1")
    return Placeholder("_codecs.encode")


def build_sequence(kind: Callable[[Any], object]) -> Builder:
    """A builder for a container of values; of something that is no list, it is empty."""
    return lambda values=(), *_: kind(values if isinstance(values, (list, tuple)) else ())


def build_object(kind: object = None, *_: object) -> object:
    """`copyreg._reconstructor`, which makes an instance of a class in protocols before 2."""
    return kind if isinstance(kind, Placeholder) else Placeholder("object")


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
"""What is built in place of these classes and functions."""
