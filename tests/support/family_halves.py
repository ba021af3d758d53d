"""The halves of each family's small example, with random weights, run slab by slab."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from family_examples import EXAMPLES, IMAGES
from torch import Tensor, nn

from vaekit.families import assemble, family_of
from vaekit.runtime.backends import Backend, Convolvers, TorchBackend
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.streaming.arena import BAND_SLACK, SLAB_SLACK, Arena
from vaekit.runtime.streaming.buffers import Store
from vaekit.runtime.streaming.executor import StageRows, run_stages
from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.schedule import staged
from vaekit.runtime.streaming.tracing import Trace, trace

CPU = torch.device("cpu")
STREAMED = [name for name, config in IMAGES.items() if config.geometry.size is None]
HALVES = [(name, half) for name in STREAMED for half in ("encoder", "decoder") if (name, half) != ("approx", "encoder")]
"""Names of families whose networks run at any size, with the halves that they have."""


@dataclass(frozen=True)
class Half:
    """A network that can be run slab by slab."""

    network: nn.Module = field(repr=False)
    watched: Trace = field(repr=False)
    channels: int
    """Channels of its input."""
    factor: int
    """Rows of its input for each of the latent."""
    least: int = 1
    """The minimum number of rows and of columns of the latent."""

    def input(self, h: int, w: int, seed: int = 0) -> Tensor:
        """A random input for a latent of h rows and w columns."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(1, self.channels, self.factor * h, self.factor * w, generator=generator)


def random_half(name: str, side: str) -> Half:
    """A family's encoder or decoder with random weights."""
    config = EXAMPLES[name]
    shape = config.geometry
    torch.manual_seed(0)
    network = getattr(assemble(family_of(name), config).eval(), side)
    channels, factor = (shape.channels, shape.factors[0]) if side == "encoder" else (shape.latent_channels, 1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)  # biases of zero would hide what the padding does
    return half_of(network, channels, factor, shape.least_positions)


def half_of(network: nn.Module, channels: int, factor: int = 1, least: int = 1) -> Half:
    """Any network, traced in its own dtype."""
    dtype = next(network.parameters()).dtype
    watched = trace(network, lambda h, w: torch.zeros(1, channels, factor * h, factor * w, dtype=dtype))
    return Half(network, watched, channels, factor, least)


def streamed(
    half: Half,
    x: Tensor,
    slab_rows: int,
    memory: int | None,
    parts: int = 1,
    backend: Backend | None = None,
    guard: OverflowGuard | None = None,
    make_arena: Callable[[torch.device, float], Arena] = Arena,
) -> Tensor:
    """The network's result, by slabs, in parts side by side.

    Args:
        half: the network.
        x: its input.
        slab_rows: rows of the largest result in a slab.
        memory: bytes of maps that may be kept in memory; None for any.
        parts: how many threads.
        backend: runs the convolutions; torch without one.
        guard: watches half precision.
        make_arena: where memory is leased.
    """
    stages = staged(*lower(half.watched, x.shape[2] // half.factor, x.shape[3] // half.factor, {}))
    courses = [StageRows(slab_rows, parts, memory)] * len(stages.stages)
    store = Store(CPU, make_arena(CPU, BAND_SLACK))
    return run_stages(
        stages,
        courses,
        x,
        store,
        Convolvers(backend or TorchBackend()),
        frozenset(),
        guard or OverflowGuard(torch.float32),
        make_arena(CPU, SLAB_SLACK),
    )
