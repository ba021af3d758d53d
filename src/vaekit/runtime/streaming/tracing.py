"""Trace a network as a list of calls that is valid for items of any size.

A network runs on three tiny inputs while every torch function that it calls is recorded, with weights as constants.
Numbers that differ between the three runs (such as a size in `reshape(x.shape)`) are recorded as functions of the
latent's rows and columns. Networks need no changes for this, so that the engine supports new families without changes.
Items with one axis, such as audio, have a row for each position, and one column.

Two alternatives were tried on the KL, TAEF2 and DC-AE nets. torch.fx records computations with sizes
(`channels // x.shape[1]`) as calls, whose meaning would have to be inferred. torch.export has symbolic sizes, but takes
seconds for SD1's decoder; so does the first use of the meta device, because of its imports. Three tiny runs take 0.2 s.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class NotTraceable(Exception):
    """The network cannot be traced, and must run as a whole."""


@dataclass(frozen=True)
class Ref:
    """The value that an earlier call returned."""

    index: int


@dataclass(frozen=True)
class Size:
    """A number that depends on the size of the latent: constant + rows * h + columns * w + area * h * w.

    A latent with one axis has one column: w is 1.
    """

    constant: int = 0
    rows: int = 0
    columns: int = 0
    area: int = 0

    def at(self, h: int, w: int) -> int:
        return self.constant + self.rows * h + self.columns * w + self.area * h * w

    @property
    def by_rows(self) -> bool:
        """Whether it depends on the number of rows."""
        return bool(self.rows or self.area)


@dataclass(frozen=True)
class Call:
    """One call of a torch function, with the shape and dtype of its result.

    The first call of a trace represents the network's input and has no function. `args` and `kwargs` contain `Ref`s for
    results of earlier calls, and `Size`s for numbers that depend on the input's size.
    """

    function: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[Any, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Held:
    """The memory of the result of a call."""

    owner: int
    """The call that allocated it: an earlier one if the result is a view."""
    until: int
    """The last call during which the result exists. Callers in the network hold it beyond its last use."""


@dataclass(frozen=True)
class Trace:
    """All calls of a network, in order."""

    calls: tuple[Call, ...]
    output: int
    """The index of the call that returns the network's output."""
    example: tuple[Tensor, Tensor]
    """A small input and its output."""
    held: tuple[Held, ...] = ()
    """For each call, the memory of its result."""
    example_size: tuple[int, int] = (2, 3)
    """Rows and columns of the latent of the example."""

    @property
    def has_columns(self) -> bool:
        """Whether items have columns: those with one axis have rows only."""
        return self.example[0].dim() > 3


@dataclass(frozen=True)
class Part:
    """A function that selects one of several tensors that another function returns."""

    function: Callable[..., Any]
    index: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)[self.index]


Sizes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Rows and columns of three latents."""
SMALL, TALLER, WIDER = PLANES = (2, 3), (4, 2), (3, 5)
"""The latents for tracing. Two row counts or column counts would not show whether a number is linear in them."""
LINES: Sizes = ((8, 1), (13, 1), (10, 1))
"""The same for latents with one axis: longer, as networks treat items specially that are shorter than a kernel."""


def longer(sizes: Sizes, least: int) -> Sizes:
    """Sizes of latents for a network that needs a minimum number of rows.

    >>> longer(LINES, 3)
    ((10, 1), (15, 1), (12, 1))
    """
    (small, _), (taller, _), (wider, _) = sizes
    return (small + least - 1, 1), (taller + least - 1, 1), (wider + least - 1, 1)


def trace(network: nn.Module, make_input: Callable[[int, int], Tensor], sizes: Sizes = PLANES) -> Trace:
    """Trace a network for any size of the latent.

    Args:
        network: an encoder or decoder.
        make_input: rows and columns of a latent -> an input for one item.
        sizes: rows and columns of three latents. Items with one axis have one column.

    Raises:
        NotTraceable: the calls depend on the size; a number depends on it in a way that `Size` cannot express; the
            network modifies a value in place, or does not return a single tensor computed from its input.
    """
    small, taller, wider = (record(network, make_input(*size)) for size in sizes)
    if not len(small.calls) == len(taller.calls) == len(wider.calls):
        raise NotTraceable("the network's calls depend on the size")
    calls = tuple(merged_calls(*three, sizes) for three in zip(small.calls, taller.calls, wider.calls, strict=True))
    return Trace(calls, small.output, small.example, small.held, sizes[0])


def record(network: nn.Module, x: Tensor) -> Trace:
    """Record the calls of one run."""
    recorder = Recorder(x)
    with torch.no_grad(), recorder:
        returned = network(x)
    output = recorder.index_of(returned) if isinstance(returned, Tensor) else None
    if output is None:
        raise NotTraceable("the network does not return a single tensor computed from its input")
    return Trace(tuple(recorder.calls), output, (x, returned), recorder.held)


class Recorder(TorchFunctionMode):
    """Records calls while it is active, and how long their results exist."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._indices: dict[int, int] = {}
        """The call that returned each existing tensor, by its id; ids of freed tensors may be reused."""
        self._existing: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        """For each call whose result exists: the result, and the address of its memory."""
        self._owners: list[int] = []
        self._until: dict[int, int] = {}
        self._write(None, (), {}, x)

    @property
    def held(self) -> tuple[Held, ...]:
        """For each call, the memory of its result; it exists to the end if it exists now."""
        return tuple(Held(owner, self._until.get(i, len(self.calls))) for i, owner in enumerate(self._owners))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tensors_in((args, kwargs))
        versions = [version(each) for each in given]
        returned = func(*args, **kwargs)
        if any(self.index_of(each) is not None for each in given):
            if versions != [version(each) for each in given]:
                raise NotTraceable("the network modifies a value in place")
            if isinstance(returned, Tensor):
                self._write(func, args, kwargs, returned)
            elif isinstance(returned, tuple | list):
                for i, each in enumerate(returned):
                    if isinstance(each, Tensor):
                        self._write(Part(func, i), args, kwargs, each)
        return returned

    def index_of(self, tensor: Tensor) -> int | None:
        """The index of the call that returned a tensor; None for weights and constants."""
        return self._indices.get(id(tensor))

    def _write(self, function: Callable[..., Any] | None, args: Any, kwargs: Any, returned: Tensor) -> None:
        if self.index_of(returned) is not None:
            return  # the function returned its argument
        index, identity, address = len(self.calls), id(returned), returned.untyped_storage().data_ptr()
        shared = (self._owners[i] for i, (_, other) in list(self._existing.items()) if other == address)
        self._owners.append(next(shared, index))

        def freed(_: object) -> None:
            del self._indices[identity], self._existing[index]
            self._until[index] = len(self.calls) - 1

        self._indices[identity] = index
        self._existing[index] = weakref.ref(returned, freed), address
        refs = (replaced(each, self._ref, Tensor) for each in (args, kwargs))
        shape = tuple(torch.Size(returned.shape))
        self.calls.append(Call(function, next(refs), next(refs), shape, returned.dtype))

    def _ref(self, tensor: Tensor) -> Tensor | Ref:
        index = self.index_of(tensor)
        return tensor if index is None else Ref(index)


def version(tensor: Tensor) -> int:
    """The number of times that a tensor was modified; 0 for inference tensors, which do not count it."""
    return 0 if tensor.is_inference() else tensor._version


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [each for part in value for each in tensors_in(part)] if isinstance(value, tuple | list) else []


def replaced(value: Any, change: Callable[[Any], Any], wanted: type) -> Any:
    """Apply a function to all objects of one type in nested tuples, lists, dictionaries and slices."""
    if isinstance(value, wanted):
        return change(value)
    if isinstance(value, dict):
        return {name: replaced(each, change, wanted) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(replaced(each, change, wanted) for each in value)
    if isinstance(value, slice):
        return slice(*(replaced(each, change, wanted) for each in bounds(value)))
    return value


def bounds(value: slice) -> tuple[Any, Any, Any]:
    """The three numbers of a slice."""
    return value.start, value.stop, value.step


def merged_calls(small: Call, taller: Call, wider: Call, sizes: Sizes = PLANES) -> Call:
    """Merge the same call of three runs, with numbers as functions of the size."""
    if not (small.function == taller.function == wider.function and small.dtype == taller.dtype == wider.dtype):
        raise NotTraceable("the network's calls depend on the size")
    first, second, third = ((call.args, call.kwargs, call.shape) for call in (small, taller, wider))
    args, kwargs, shape = merged(first, second, third, sizes)
    return Call(small.function, args, kwargs, shape, small.dtype)


def equal(a: Any, b: Any) -> bool:
    """Whether two nested values are equal, tensors included."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(each, b[name]) for name, each in a.items())
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (a.shape == b.shape and torch.equal(a, b))
    return type(a) is type(b) and bool(a == b)


def merged(small: Any, taller: Any, wider: Any, sizes: Sizes = PLANES) -> Any:
    """Merge three nested values, with a `Size` for every number in which they differ."""
    if isinstance(small, tuple) and len(small) == len(taller) == len(wider):
        return tuple(merged(*three, sizes) for three in zip(small, taller, wider, strict=True))
    if isinstance(small, dict) and small.keys() == taller.keys() == wider.keys():
        return {name: merged(small[name], taller[name], wider[name], sizes) for name in small}
    if isinstance(small, slice):
        return slice(*merged(bounds(small), bounds(taller), bounds(wider), sizes))
    if isinstance(small, Tensor):
        if equal(small, taller) and equal(small, wider):
            return small
    elif small == taller == wider:
        return small
    elif all(isinstance(each, int) for each in (small, taller, wider)):
        return fitted(small, taller, wider, sizes)
    raise NotTraceable("the network computes with values that depend on the size")


def fitted(small: int, taller: int, wider: int, sizes: Sizes = PLANES) -> Size:
    """The `Size` with these values for the three latents: linear in the rows or in the columns, or an area."""
    (h, w), (tall, _), (_, wide) = sizes
    rows = (taller - small) // (tall - h)
    candidates = [Size(small - rows * h, rows=rows)]
    if wide != w:
        columns = (wider - small) // (wide - w)
        candidates += [Size(small - columns * w, columns=columns), Size(area=small // (h * w))]
    for size in candidates:
        if [size.at(*each) for each in sizes] == [small, taller, wider]:
            return size
    raise NotTraceable("the network uses a size that is not a simple function of the latent's")
