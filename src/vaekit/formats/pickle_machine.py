"""Interpret pickles as plain values, without importing or calling anything that they name.

A pickle is a program for a small stack machine. This is such a machine, for all protocols. It supports numbers, text,
bytes and containers; every class and function becomes a `Placeholder`, as does the result of calling one.
Only the builders that the caller passes are ever called. Data beside torch's pickles is read in
`torch_files`.

Memory and time are bounded: no operation may read beyond the end of the pickle, and the operations and what they copy
are counted. Nothing here recurses, so depth costs no more than length.

Source: the comments of `pickletools`, which describe every operation, and the `_Unpickler` of `pickle`.
"""

import mmap
import pickletools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from vaekit.errors import UnsafePickle, printable
from vaekit.formats.pickle_names import number_dtype, runs_code
from vaekit.formats.pickle_values import (
    CONTAINERS,
    Builder,
    Placeholder,
    Stateful,
    as_dict,
    as_key,
    copying,
)

MOST_WORK = 2_000_000
"""The maximum number of operations; the pickle of a checkpoint of 10 GB has about 100,000."""
MOST_BYTES = 128 * 2**20
"""The maximum size of the pickles of a file; tensor data is stored outside them, so that real ones have a few million
bytes."""
LONGEST_LINE = 100_000
"""The maximum length of a line in bytes; lines are names and numbers."""
LONGEST_NAME = 2000
"""The maximum length of a module and class name in characters."""
LARGEST_NUMBER = 1024
"""The maximum number of bits of an integer; Python formats long ones in quadratic time."""
NEWEST_PROTOCOL = 5


class Window:
    """A part of a mapped file that is read sequentially."""

    def __init__(self, mapped: mmap.mmap, position: int, end: int) -> None:
        self.mapped, self.position, self.end = mapped, position, end
        self.left = MOST_BYTES

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end of the window.

        Raises:
            ValueError: more than `MOST_BYTES` were read.
        """
        start, self.position = self.position, min(self.position + count, self.end)
        self.left -= self.position - start
        if self.left < 0:
            raise ValueError(f"a pickle with more than {MOST_BYTES:,} bytes")
        return self.mapped[start : self.position]

    def readline(self) -> bytes:
        """The next bytes up to and including a line feed.

        Raises:
            ValueError: there is none within `LONGEST_LINE` bytes.
        """
        end = self.mapped.find(b"\n", self.position, min(self.end, self.position + LONGEST_LINE))
        if end < 0:
            raise ValueError("an unterminated line")
        return self.read(end + 1 - self.position)

    def tell(self) -> int:
        """The position in the file."""
        return self.position


def unpickle(
    window: Window,
    builders: Mapping[str, Builder],
    persistent: Callable[[object], object],
    source: str,
    instance: Callable[[str], object] = Placeholder,
) -> object:
    """Read one pickle; the window is positioned after it.

    Args:
        builders: functions that replace the functions and classes of these names.
        persistent: converts a persistent id to a value.
        source: the file, for messages.
        instance: the name of a class or function without a builder -> the object that a call of it returns.

    Raises:
        UnsafePickle: it references functions that execute code.
        ValueError, LookupError, TypeError: it is damaged, or too long.
    """
    machine = Machine(CONTAINERS | dict(builders), persistent, source, instance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns about invalid escapes in old strings
        for opcode, argument, _ in pickletools.genops(window):  # type: ignore[arg-type]
            machine.left -= 1
            if machine.left < 0 or opcode.name == "STOP":
                break
            OPERATIONS[opcode.name](machine, argument)
    machine.work(0)
    return machine.stack.pop()


class Machine:
    """The stack, the memo and the remaining work."""

    def __init__(
        self,
        builders: Mapping[str, Builder],
        persistent: Callable[[object], object],
        source: str,
        instance: Callable[[str], object],
    ) -> None:
        self.builders, self.persistent, self.source, self.instance = builders, persistent, source, instance
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        """The stacks below the marks."""
        self.memo: dict[int, Any] = {}
        self.left = MOST_WORK

    def work(self, amount: int) -> None:
        """Count work against the limit."""
        self.left -= amount
        if self.left < 0:
            raise ValueError(f"its pickle takes more than {MOST_WORK:,} steps")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Pop the last values of the stack, in order."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.marked.pop()
        return values

    def discard(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def name(self, module: object, name: object) -> None:
        """Push the value of a name: a dtype or a placeholder."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is not text")
        if len(module) + len(name) > LONGEST_NAME:
            raise ValueError("an invalid class name")
        dotted = f"{module}.{name}"
        self.work(len(dotted) // 64)
        if runs_code(module, name):
            raise UnsafePickle(
                f"{self.source} is a pickle that references code which weights do not need: {printable(dotted)}.",
                "It was refused before anything was run. Expected tensors and training state, not programs.",
                "Do not load it elsewhere unless you trust its author; use a safetensors version.",
            )
        self.push(number_dtype(dotted) or Placeholder(dotted))

    def call(self, function: object, arguments: object) -> None:
        """Push the result of a call: a tensor or a container if the function is known, else a placeholder."""
        name = function.name if isinstance(function, Placeholder) else "object"
        builder = self.builders.get(name)
        if name in GETATTR and is_attribute(arguments):
            module, _, owner = arguments[0].name.rpartition(".")
            self.name(module, f"{owner}.{arguments[1]}")
        elif builder is None or not isinstance(arguments, tuple):
            self.push(self.instance(name))
        else:
            self.charge(arguments)
            self.push(builder(*arguments))

    def refer(self, pid: object) -> None:
        """Push the value of a persistent id."""
        self.charge(pid if isinstance(pid, tuple) else (pid,))
        self.push(self.persistent(pid))

    def charge(self, values: tuple[object, ...]) -> None:
        """Count the work of copying these values."""
        self.work(len(values))
        self.work(sum(copying(value) for value in values))

    def extend(self, values: list[Any]) -> None:
        """Append to the list, or add to the set, on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(map(as_key, values))
        elif not isinstance(target, Placeholder):
            raise ValueError("values for an object that is not a list or set")

    def assign(self, values: list[Any]) -> None:
        """Add keys and values to the dictionary on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(as_dict(values))
        elif not isinstance(target, Placeholder):
            raise ValueError("keys for an object that is not a dictionary")

    def set_state(self, state: object) -> None:
        """Set the state of the object on top of the stack, if a builder created it.

        Other objects are placeholders, or containers with attributes, whose state is ignored.
        """
        target = self.stack[-1]
        if isinstance(target, Stateful):
            self.charge(state if isinstance(state, tuple) else (state,))
            target.set_state(state)

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


GETATTR = ("builtins.getattr", "__builtin__.getattr")


def is_attribute(arguments: object) -> TypeGuard[tuple[Placeholder, str]]:
    """Whether these are the arguments of `getattr`: a placeholder and the name of an attribute."""
    if not isinstance(arguments, tuple) or len(arguments) < 2:
        return False
    return isinstance(arguments[0], Placeholder) and isinstance(arguments[1], str)


def check_protocol(protocol: int) -> None:
    if protocol > NEWEST_PROTOCOL:
        raise ValueError(f"pickle protocol {protocol}, beyond {NEWEST_PROTOCOL}")


def instance(machine: Machine, values: list[Any]) -> None:
    """Create an object in the oldest format: its class and the arguments, above a mark."""
    function, *arguments = values
    machine.call(function, tuple(arguments))


def named_instance(machine: Machine, named: str) -> None:
    arguments = machine.since_mark()
    machine.name(*named.split(" ", 1))
    machine.call(machine.stack.pop(), tuple(arguments))


def check_number(number: int) -> int:
    if number.bit_length() > LARGEST_NUMBER:
        raise ValueError("an integer that is too long")
    return number


def python_2_text(text: str) -> str:
    """Decode a byte string of Python 2, which `pickletools` returns with one character per byte."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


PLAIN = (
    *("BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
)
LITERALS = {
    **{name: lambda m, value: m.stack.append(value) for name in PLAIN},
    **{name: lambda m, value: m.stack.append(check_number(value)) for name in ("INT", "LONG", "LONG1", "LONG4")},
    **{
        name: lambda m, text: m.stack.append(python_2_text(text)) for name in ("STRING", "BINSTRING", "SHORT_BINSTRING")
    },
    "BYTEARRAY8": lambda m, value: m.stack.append(bytes(value)),
}
GET = {name: lambda m, index: m.stack.append(m.memo[index]) for name in ("GET", "BINGET", "LONG_BINGET")}
PUT = {name: lambda m, index: m.memoize(index) for name in ("PUT", "BINPUT", "LONG_BINPUT")}
EXTENSION = {
    name: lambda m, code: m.stack.append(Placeholder(f"extension {code}")) for name in ("EXT1", "EXT2", "EXT4")
}
OPERATIONS: dict[str, Callable[[Machine, Any], object]] = {
    **LITERALS,
    **GET,
    **PUT,
    **EXTENSION,
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_SET": lambda m, _: m.push(set()),
    "MARK": lambda m, _: m.mark(),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "DICT": lambda m, _: m.push(as_dict(m.since_mark())),
    "FROZENSET": lambda m, _: m.push(frozenset(map(as_key, m.since_mark()))),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop(3))),
    "APPEND": lambda m, _: m.extend(m.pop(1)),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.assign(m.pop(2)),
    "SETITEMS": lambda m, _: m.assign(m.since_mark()),
    "POP": lambda m, _: m.discard(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "MEMOIZE": lambda m, _: m.memoize(len(m.memo)),
    "GLOBAL": lambda m, named: m.name(*named.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(*m.pop(2)),
    "REDUCE": lambda m, _: m.call(*m.pop(2)),
    "NEWOBJ": lambda m, _: m.call(*m.pop(2)),
    "NEWOBJ_EX": lambda m, _: m.call(*m.pop(3)[:2]),
    "OBJ": lambda m, _: instance(m, m.since_mark()),
    "INST": named_instance,
    "BUILD": lambda m, _: m.set_state(*m.pop(1)),
    "PERSID": lambda m, pid: m.refer(pid),
    "BINPERSID": lambda m, _: m.refer(m.stack.pop()),
    "PROTO": lambda _, protocol: check_protocol(protocol),
    "FRAME": lambda _m, _length: None,  # only a hint for reading ahead
}
