"""Record the magnitudes and non-finite values of activations: every function that a network calls is observed.

Module hooks would miss operations between modules, such as the sum at the end of a residual block.
`vaekit.runtime.streaming.tracing` also records every function, but on tiny inputs, without the names of modules that
have no weights, and only for networks whose calls do not depend on the size. Here, functions are recorded while real
images run; hooks only determine which module is running.
"""

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Call = tuple[str, str, int]
"""The running module, the function that it called, and the number of that call in one run."""


@dataclass
class Activity:
    """Statistics of the outputs of one function call, over all images so far."""

    place: str
    """The module's path, as in the names of weights; with the function if the module has submodules:
    `decoder.mid.block_1 (add)`."""
    largest: float = 0.0
    """The largest finite magnitude."""
    count: int = 0
    nan: int = 0
    infinite: int = 0
    dtype: torch.dtype = torch.float32

    @property
    def finite(self) -> bool:
        return not self.nan and not self.infinite

    def update(self, output: Tensor) -> None:
        """Add the output of one more run."""
        self.count += output.numel()
        self.dtype = output.dtype
        low, high = (bound.item() for bound in torch.aminmax(output))
        largest = max(-low, high)
        if not largest < float("inf"):
            nan = int(output.isnan().sum())
            self.nan += nan
            self.infinite += int(output.isinf().sum())
            largest = output.nan_to_num(0.0, 0.0, 0.0).abs().max().item()
        self.largest = max(self.largest, largest)


class FunctionObserver(TorchFunctionMode, ABC):
    """Intercepts every torch function with floating-point outputs while it is active, with the module that called it.

    Args:
        name: the name of the network, the first component of its modules' paths.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.stack = [(name, True)]
        self._calls: Counter[tuple[str, str]] = Counter()

    def begin_run(self) -> None:
        """Start the next image: reset the call counts."""
        self._calls.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        function = getattr(func, "__name__", "function").strip("_")
        if isinstance(returned, Tensor):
            return self._observed(function, returned, any(returned is each for each in args))
        if isinstance(returned, tuple | list) and all(isinstance(each, Tensor) for each in returned):
            return type(returned)(self._observed(function, each, False) for each in returned)
        return returned

    def _observed(self, function: str, output: Tensor, in_place: bool) -> Tensor:
        if not (output.is_floating_point() and output.numel()):
            return output
        path, has_parts = self.stack[-1]
        self._calls[path, function] += 1
        call = (path, function, self._calls[path, function])
        return self.on(call, f"{path} ({function})" if has_parts else path, output, in_place)

    @abstractmethod
    def on(self, call: Call, place: str, output: Tensor, in_place: bool) -> Tensor:
        """Return the output of a call, or a replacement of the same shape."""


class ActivationWatch(FunctionObserver):
    """Records statistics of every function's outputs, in the order of the first calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.activities: dict[Call, Activity] = {}

    def on(self, call: Call, place: str, output: Tensor, in_place: bool) -> Tensor:
        if call not in self.activities:
            self.activities[call] = Activity(place)
        self.activities[call].update(output)
        return output


class Rounding(FunctionObserver):
    """Rounds the outputs of functions to half precision, which simulates computing in it.

    A GPU accumulates in fp32 and stores the result in half precision. On a CPU without such instructions, half
    precision is up to fifty times slower than fp32.

    Args:
        name: the name of the network.
        dtype: fp16 or bf16.
        calls: those with outputs in half precision, see `calls_in_half`; the others stay in fp32.
    """

    def __init__(self, name: str, dtype: torch.dtype, calls: frozenset[Call]) -> None:
        super().__init__(name)
        self.dtype = dtype
        self.calls = calls

    def on(self, call: Call, place: str, output: Tensor, in_place: bool) -> Tensor:
        if call not in self.calls:
            return output
        rounded = output.to(self.dtype).to(output.dtype)
        return output.copy_(rounded) if in_place else rounded


@contextmanager
def observing(network: nn.Module, name: str, observer: FunctionObserver) -> Iterator[None]:
    """Attach an observer to a network; the network is restored afterwards."""
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if not path:
                continue
            here = (f"{name}.{path}", any(True for _ in module.children()))

            def enter(*_: Any, here: tuple[str, bool] = here) -> None:
                observer.stack.append(here)

            def leave(*_: Any) -> None:
                observer.stack.pop()

            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        with observer:
            yield


@torch.no_grad()
def run_watched(network: nn.Module, name: str, items: Tensor) -> tuple[Tensor, dict[Call, Activity]]:
    """Run a network on items (b, ...), one by one; returns the outputs and the statistics of its activations."""
    watch = ActivationWatch(name)
    return _run(network, name, items, watch), watch.activities


@torch.no_grad()
def run_rounded(network: nn.Module, name: str, items: Tensor, dtype: torch.dtype, calls: frozenset[Call]) -> Tensor:
    """Simulate a network with weights in half precision on items (b, ...); the outputs are in fp32, infinite or NaN
    where values overflow."""
    rounded = copy.deepcopy(network).to(dtype).float()
    return _run(rounded, name, items.to(dtype).float(), Rounding(name, dtype, calls))


def _run(network: nn.Module, name: str, items: Tensor, observer: FunctionObserver) -> Tensor:
    outputs, single_items = [], items.split(1)  # split outside: it would be observed, too
    with observing(network, name, observer):
        for item in single_items:
            observer.begin_run()
            outputs.append(network(item))
    return torch.cat(outputs)


def calls_in_half(network: nn.Module, name: str, item: Tensor) -> frozenset[Call]:
    """The calls with fp16 outputs when the network is in fp16.

    Some networks compute norms or attention in fp32 regardless of the dtype of their weights; those outputs may exceed
    the range of fp16. A copy of the network in fp16 is run on one small input to determine which calls these are.
    """
    half = copy.deepcopy(network).half()
    _, activities = run_watched(half, name, item.half())
    return frozenset(call for call, activity in activities.items() if activity.dtype == torch.float16)
