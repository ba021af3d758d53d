"""How large the numbers get inside a network, and which are no numbers: every function that it calls is watched.

Hooks on modules would miss the sums and products between them, such as the sum that ends a residual block.
`vaekit.runtime.streaming.tracing` sees every function too, but on tiny inputs, without the names of modules that have
no weights, and only for networks whose calls do not depend on the size. So functions are recorded here while real
images run, and hooks tell only which module is running.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Call = tuple[str, str, int]
"""The module at work, the function that it called, and which of its calls of that function in one run."""


@dataclass
class Activity:
    """What one call of a function gave, over all images so far."""

    place: str
    """The module's path, as in the names of weights; where a module calls functions between its parts, the function
    too: `decoder.mid.block_1 (add)`."""
    largest: float = 0.0
    """The largest magnitude among the numbers that are finite."""
    count: int = 0
    nan: int = 0
    infinite: int = 0
    dtype: torch.dtype = torch.float32

    @property
    def finite(self) -> bool:
        return not self.nan and not self.infinite

    def see(self, made: Tensor) -> None:
        """Take note of what it gave once more."""
        self.count += made.numel()
        self.dtype = made.dtype
        low, high = (bound.item() for bound in torch.aminmax(made))
        largest = max(-low, high)
        if not largest < float("inf"):
            nan = int(made.isnan().sum())
            self.nan += nan
            self.infinite += int(made.isinf().sum())
            largest = made.nan_to_num(0.0, 0.0, 0.0).abs().max().item()
        self.largest = max(self.largest, largest)


class Follower(TorchFunctionMode):
    """Sees every function of torch that gives numbers while it is active, and which module called it.

    Args:
        name: of the network, to begin the paths of its modules.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.at_work = [(name, True)]
        self._calls: Counter[tuple[str, str]] = Counter()

    def begin_run(self) -> None:
        """The next image: the calls are counted from the first again."""
        self._calls.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        function = getattr(func, "__name__", "function").strip("_")
        if isinstance(returned, Tensor):
            return self._followed(function, returned, any(returned is each for each in args))
        if isinstance(returned, tuple | list) and all(isinstance(each, Tensor) for each in returned):
            return type(returned)(self._followed(function, each, False) for each in returned)
        return returned

    def _followed(self, function: str, made: Tensor, in_place: bool) -> Tensor:
        if not (made.is_floating_point() and made.numel()):
            return made
        path, has_parts = self.at_work[-1]
        self._calls[path, function] += 1
        call = (path, function, self._calls[path, function])
        return self.on(call, f"{path} ({function})" if has_parts else path, made, in_place)

    def on(self, call: Call, place: str, made: Tensor, in_place: bool) -> Tensor:
        """What to go on with instead of what a call made: that itself, or something else of its shape."""
        raise NotImplementedError


class ActivationWatch(Follower):
    """Notes what every function gives, in the order of the first calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.activities: dict[Call, Activity] = {}

    def on(self, call: Call, place: str, made: Tensor, in_place: bool) -> Tensor:
        if call not in self.activities:
            self.activities[call] = Activity(place)
        self.activities[call].see(made)
        return made


class Rounding(Follower):
    """Rounds what functions give to half precision, as they would themselves if they computed in it.

    This is what a GPU does, which adds up in fp32 and keeps the result in half. A CPU without instructions for it is up
    to fifty times slower in half precision than in fp32.

    Args:
        name: of the network.
        dtype: fp16 or bf16.
        calls: those that give half precision; the others give fp32 (`calls_in_half`).
    """

    def __init__(self, name: str, dtype: torch.dtype, calls: frozenset[Call]) -> None:
        super().__init__(name)
        self.dtype = dtype
        self.calls = calls

    def on(self, call: Call, place: str, made: Tensor, in_place: bool) -> Tensor:
        if call not in self.calls:
            return made
        rounded = made.to(self.dtype).to(made.dtype)
        return made.copy_(rounded) if in_place else rounded


@contextmanager
def following(network: nn.Module, name: str, follower: Follower) -> Iterator[None]:
    """Have a follower see a network run; the network is as it was afterwards."""
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if not path:
                continue
            here = (f"{name}.{path}", any(True for _ in module.children()))

            def enter(*_: Any, here: tuple[str, bool] = here) -> None:
                follower.at_work.append(here)

            def leave(*_: Any) -> None:
                follower.at_work.pop()

            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        with follower:
            yield


@torch.no_grad()
def run_watched(network: nn.Module, name: str, items: Tensor) -> tuple[Tensor, dict[Call, Activity]]:
    """What a network makes of items (b, ...), one by one, and what was seen inside."""
    watch = ActivationWatch(name)
    return _run(network, name, items, watch), watch.activities


@torch.no_grad()
def run_rounded(network: nn.Module, name: str, items: Tensor, dtype: torch.dtype, calls: frozenset[Call]) -> Tensor:
    """What a network would make of items (b, ...) in half precision, weights included, in fp32: infinite and NaN where
    they leave its range."""
    rounded = copy.deepcopy(network).to(dtype).float()
    return _run(rounded, name, items.to(dtype).float(), Rounding(name, dtype, calls))


def _run(network: nn.Module, name: str, items: Tensor, follower: Follower) -> Tensor:
    made, one_by_one = [], items.split(1)
    with following(network, name, follower):
        for item in one_by_one:
            follower.begin_run()
            made.append(network(item))
    return torch.cat(made)


def calls_in_half(network: nn.Module, name: str, item: Tensor) -> frozenset[Call]:
    """The calls that give fp16 numbers when the network is in fp16.

    Some networks compute a norm or an attention in fp32 whatever their weights are in; what is made there may be larger
    than fp16 holds. A copy of the network in fp16 shows it, run on one small input.
    """
    half = copy.deepcopy(network).half()
    _, activities = run_watched(half, name, item.half())
    return frozenset(call for call, activity in activities.items() if activity.dtype == torch.float16)
