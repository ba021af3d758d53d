"""A network run slab by slab, in whatever memory, gives what it gives as a whole: every family, any size."""

import pytest
import torch
from family_examples import EXAMPLES
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vaekit.families import assemble, family_of
from vaekit.runtime.backends import Convolvers, TorchBackend
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.buffers import Store
from vaekit.runtime.streaming.executor import StageRows, run_stages
from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.schedule import staged
from vaekit.runtime.streaming.tracing import Trace, trace

CPU = torch.device("cpu")
Half = tuple[nn.Module, Trace, int, int]
STREAMED = [name for name, config in EXAMPLES.items() if config.geometry.size is None]
HALVES = [(name, half) for name in STREAMED for half in ("encoder", "decoder") if (name, half) != ("approx", "encoder")]


@pytest.fixture(scope="module", params=HALVES, ids=" ".join)
def half(request: pytest.FixtureRequest) -> Half:
    """A network with random weights, what it does, its channels, and its input's rows for each of the latent."""
    name, side = request.param
    config = EXAMPLES[name]
    torch.manual_seed(0)
    network = getattr(assemble(family_of(name), config).eval(), side)
    geometry = config.geometry
    channels, factor = (geometry.channels, geometry.factors[0]) if side == "encoder" else (geometry.latent_channels, 1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)  # biases of zero would hide what the padding does
    return network, trace(network, lambda h, w: torch.zeros(1, channels, factor * h, factor * w)), channels, factor


def streamed(half: Half, x: Tensor, slab_rows: int, memory: int | None, parts: int = 1) -> Tensor:
    """The network's result, by slabs, in parts side by side."""
    _, watched, _, factor = half
    stages = staged(*lower(watched, x.shape[2] // factor, x.shape[3] // factor, {}))
    courses = [StageRows(slab_rows, parts, memory)] * len(stages.stages)
    guard = OverflowGuard(torch.float32)
    return run_stages(
        stages, courses, x, Store(CPU, Arena(CPU)), Convolvers(TorchBackend()), frozenset(), guard, Arena(CPU)
    )


@given(
    st.integers(1, 17),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([None, 0, 1, 3000]),
    st.integers(1, 5),
    st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_streamed_is_whole(
    half: Half, h: int, w: int, slab_rows: int, memory: int | None, parts: int, seed: int
) -> None:
    assume(h * w > 1)  # torch itself refuses the norm of a group of one number
    network, _, channels, factor = half
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, channels, factor * h, factor * w, generator=generator)
    with torch.no_grad():
        expected = network(x)
        got = streamed(half, x, slab_rows, memory, parts)
    span = (expected.max() - expected.min()).item() + 1e-3
    assert (got - expected).abs().max().item() <= 1e-4 * span


def test_no_step_is_run_whole_that_has_many_rows(half: Half) -> None:
    _, watched, _, _ = half
    steps, _ = lower(watched, 6, 5, {})
    assert not [step for step in steps if step.whole and step.axis is not None]


def test_where_maps_are_kept_changes_no_bit(half: Half) -> None:
    _, _, channels, factor = half
    x = torch.randn(1, channels, 4 * factor, 3 * factor, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(streamed(half, x, 2, None, 2), streamed(half, x, 2, 0, 2))


class PadsForAll(nn.Module):
    """Lays zeros around a map for a function that no rule knows, so that it is run on all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flip(torch.nn.functional.pad(self.conv(x), (1, 1, 1, 1)), (2,))


def test_padding_that_a_whole_step_reads_is_kept() -> None:
    torch.manual_seed(0)
    network, x = PadsForAll().eval(), torch.randn(1, 3, 9, 7)
    with torch.no_grad():
        watched = trace(network, lambda h, w: torch.zeros(1, 3, h, w))
        got = streamed((network, watched, 3, 1), x, 2, None, 2)
        torch.testing.assert_close(got, network(x))
