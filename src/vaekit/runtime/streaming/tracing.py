"""Trace a network as a list of calls that is valid for any image size.

A network is run on three tiny inputs while every function of torch that it calls is written down. Weights stand in the
list themselves. Numbers that differ between the three runs (a size in `reshape(x.shape)`, say) follow from the input's
rows and columns, and are written down as such. Networks need nothing for this, so that a new family costs the engine
nothing.

Two other ways were tried on the KL, TAEF2 and DC-AE nets. torch.fx makes calls of the sizes that a network computes
with (`channels // x.shape[1]`), and what those mean has to be found out again. torch.export names them well, but takes
seconds for SD1's decoder; so does the first use of the meta device, for what it imports. Three tiny runs take 0.2 s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class NotTraceable(Exception):
    """The network cannot be traced, and has to be run as a whole."""


@dataclass(frozen=True)
class Ref:
    """The value that an earlier call returned."""

    index: int


@dataclass(frozen=True)
class Size:
    """A number that follows from the size of the latent: constant + rows * h + columns * w + area * h * w."""

    constant: int = 0
    rows: int = 0
    columns: int = 0
    area: int = 0

    def at(self, h: int, w: int) -> int:
        return self.constant + self.rows * h + self.columns * w + self.area * h * w

    @property
    def by_rows(self) -> bool:
        """Whether more rows make it larger."""
        return bool(self.rows or self.area)


@dataclass(frozen=True)
class Call:
    """One call of a function of torch, and the shape and dtype of what it returned.

    The first call of a trace is none: it stands for the network's input. `args` and `kwargs` hold `Ref`s for tensors
    that earlier calls returned, and `Size`s for numbers that follow from the input's size.
    """

    function: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[Any, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Trace:
    """All calls of a network, in order."""

    calls: tuple[Call, ...]
    output: int
    """Index of the call that returned what the network returns."""
    example: tuple[Tensor, Tensor]
    """A small input, and what the network made of it."""


@dataclass(frozen=True)
class Part:
    """A function that returns one tensor of the several that another returns."""

    function: Callable[..., Any]
    index: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)[self.index]


SMALL, TALLER, WIDER = (2, 3), (3, 3), (2, 5)
"""Rows and columns of the latents that a network is watched with."""


def trace(network: nn.Module, make_input: Callable[[int, int], Tensor]) -> Trace:
    """The calls that a network makes, as they depend on the size of the latent.

    Args:
        network: an encoder or decoder.
        make_input: rows and columns of a latent -> what the network is given, one item.

    Raises:
        NotTraceable: it does other things at other sizes, or its sizes follow from the latent's in another way than
            `Size` tells, or it returns anything but one tensor that follows from its input.
    """
    small, taller, wider = (watched(network, make_input(*size)) for size in (SMALL, TALLER, WIDER))
    if not len(small.calls) == len(taller.calls) == len(wider.calls):
        raise NotTraceable("the network's calls depend on the size")
    calls = tuple(map(merged_calls, small.calls, taller.calls, wider.calls))
    return Trace(calls, small.output, small.example)


def watched(network: nn.Module, given: Tensor) -> Trace:
    """The calls of one run."""
    recorder = Recorder(given)
    with torch.no_grad(), recorder:
        returned = network(given)
    output = recorder.index_of(returned) if isinstance(returned, Tensor) else None
    if output is None:
        raise NotTraceable("the network does not return a single tensor computed from its input")
    return Trace(tuple(recorder.calls), output, (given, returned))


class Recorder(TorchFunctionMode):
    """Writes calls down while it is active."""

    def __init__(self, given: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._indices: dict[int, int] = {}
        self._kept: list[Tensor] = []  # the id of a tensor that is gone may be another's
        self._write(None, (), {}, given)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        returned = func(*args, **kwargs)
        if any(self.index_of(each) is not None for each in tensors_in((args, kwargs))):
            if isinstance(returned, Tensor):
                self._write(func, args, kwargs, returned)
            elif isinstance(returned, tuple | list):
                for i, each in enumerate(returned):
                    if isinstance(each, Tensor):
                        self._write(Part(func, i), args, kwargs, each)
        return returned

    def index_of(self, tensor: Tensor) -> int | None:
        """The index of the call that returned it; None for weights and constants."""
        return self._indices.get(id(tensor))

    def _write(self, function: Callable[..., Any] | None, args: Any, kwargs: Any, returned: Tensor) -> None:
        if self.index_of(returned) is not None:
            return  # the function gave its argument back
        self._indices[id(returned)] = len(self.calls)
        self._kept.append(returned)
        refs = (replaced(each, self._ref, Tensor) for each in (args, kwargs))
        shape = tuple(torch.Size(returned.shape))
        self.calls.append(Call(function, next(refs), next(refs), shape, returned.dtype))

    def _ref(self, tensor: Tensor) -> Tensor | Ref:
        index = self.index_of(tensor)
        return tensor if index is None else Ref(index)


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [each for part in value for each in tensors_in(part)] if isinstance(value, tuple | list) else []


def replaced(value: Any, change: Callable[[Any], Any], kind: type) -> Any:
    """Nested tuples, lists and dictionaries with all that is of one kind changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {name: replaced(each, change, kind) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(replaced(each, change, kind) for each in value)
    return value


def merged_calls(small: Call, taller: Call, wider: Call) -> Call:
    """The same call of three runs, with numbers as they depend on the size."""
    if not (small.function == taller.function == wider.function and small.dtype == taller.dtype == wider.dtype):
        raise NotTraceable("the network's calls depend on the size")
    args, kwargs, shape = merged(*((call.args, call.kwargs, call.shape) for call in (small, taller, wider)))
    return Call(small.function, args, kwargs, shape, small.dtype)


def merged(small: Any, taller: Any, wider: Any) -> Any:
    """Three nested values with a `Size` for every number in which they differ."""
    if isinstance(small, tuple) and len(small) == len(taller) == len(wider):
        return tuple(map(merged, small, taller, wider))
    if isinstance(small, dict) and small.keys() == taller.keys() == wider.keys():
        return {name: merged(small[name], taller[name], wider[name]) for name in small}
    if isinstance(small, Tensor):
        if small is taller is wider or (
            small.shape == taller.shape == wider.shape and torch.equal(small, taller) and torch.equal(small, wider)
        ):
            return small
    elif small == taller == wider:
        return small
    elif all(isinstance(each, int) for each in (small, taller, wider)):
        return fitted(small, taller, wider)
    raise NotTraceable("the network computes with values that depend on the size")


def fitted(small: int, taller: int, wider: int) -> Size:
    """The size that takes these values at the three latents."""
    (h, w), by_row, by_column = SMALL, taller - small, wider - small
    columns, rest = divmod(by_column, WIDER[1] - w)
    area, uneven = divmod(by_row, w)
    if by_row and by_column:
        if not uneven and area * h * w == small and area * WIDER[0] * WIDER[1] == wider:
            return Size(area=area)
    elif not rest:
        return Size(small - by_row * h - columns * w, by_row, columns)
    raise NotTraceable("the network uses a size that is not a simple function of the latent's")
