"""Leased memory is never read after its lease was returned, never leased twice, and always returned.

All arenas here hold NaN wherever nothing was written since the last lease, so that a row which is read too late, or
before it was written, spoils the result.
"""

import copy
import threading
from operator import itemgetter

import pytest
import torch
from family_examples import EXAMPLES, daily
from family_halves import HALVES, STREAMED, Half, half_of, random_half, streamed
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from poisoned_arena import Ledger
from torch import Tensor, nn

from vaekit.families import assemble, family_of
from vaekit.families.single_frame import RepeatedFrameConv
from vaekit.runtime import whole_runner as whole
from vaekit.runtime.backends import Convolver, TorchBackend
from vaekit.runtime.engine import Engine
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.plan import Plan
from vaekit.runtime.runner import Runner
from vaekit.runtime.streaming.operations import Convolve
from vaekit.vae import VAE

LOUD = 3e4
"""The largest weight of a layer that overflows in fp16; fp16 holds the weight itself."""


class FailsOnce(TorchBackend):
    """torch's convolutions, of which one call fails.

    Args:
        call: the number of that call, from 0 on.
        error: what it raises.
    """

    def __init__(self, call: int, error: Exception) -> None:
        self.failed = False
        self._left = call
        self._error = error
        self._lock = threading.Lock()

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        plain = super().prepare(convolution, threads)

        def run(x: Tensor) -> Tensor:
            with self._lock:
                fails = self._left == 0
                self._left -= 1
                self.failed |= fails
            if fails:
                raise self._error
            return plain(x)

        return run


@pytest.fixture(scope="module", params=daily(HALVES, itemgetter(0)), ids=" ".join)
def half(request: pytest.FixtureRequest) -> Half:
    return random_half(*request.param)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def check(ledger: Ledger, got: Tensor, expected: Tensor, tolerance: float = 1e-4, leases: bool = True) -> None:
    """Assert that a run that has ended kept the law. `leases`: whether it must have leased memory at all."""
    assert ledger.handed_out or not leases
    assert not ledger.overlaps
    assert not ledger.outstanding
    assert not any(arena.holds(got) for arena in ledger.arenas)
    span = (expected.max() - expected.min()).item() + 1e-3
    assert (got - expected).abs().max().item() <= tolerance * span  # false for NaN


@given(
    st.integers(1, 17),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([None, 0, 3000, 30000]),
    st.integers(1, 4),
)
@settings(max_examples=6, deadline=None)
def test_memory_is_read_as_long_as_it_is_leased(
    half: Half, h: int, w: int, slab_rows: int, memory: int | None, parts: int
) -> None:
    assume(h * w > 1)  # torch itself refuses the norm of a group of one number
    assume(min(h, w) >= half.least)
    ledger, x = Ledger(), half.input(h, w)
    with torch.no_grad():
        got = streamed(half, x, slab_rows, memory, parts, make_arena=ledger.make_arena)
        # With maps in a file, some networks lease nothing.
        check(ledger, got, half.network(x), leases=memory is None)


@given(st.integers(0, 60), st.sampled_from([None, 3000]), st.integers(1, 3))
@settings(max_examples=3, deadline=None)
def test_an_error_in_the_middle_leaves_no_lease(half: Half, call: int, memory: int | None, parts: int) -> None:
    ledger, x, backend = Ledger(), half.input(9, 5), FailsOnce(call, ZeroDivisionError())
    with torch.no_grad():
        try:
            streamed(half, x, 2, memory, parts, backend, make_arena=ledger.make_arena)
        except ZeroDivisionError:
            assert backend.failed
        assert not ledger.outstanding and not ledger.overlaps
        # The same arenas go on.
        arenas = iter(list(ledger.arenas))
        got = streamed(half, x, 2, memory, parts, make_arena=lambda *_: next(arenas))
        check(ledger, got, half.network(x))


@pytest.mark.parametrize(("memory", "parts"), [(None, 1), (3000, 2)])
def test_layers_that_overflow_are_done_again_in_leased_memory(
    half: Half, ledger: Ledger, memory: int | None, parts: int
) -> None:
    loud, guard = overflowing(half.network), OverflowGuard(torch.float16)
    x = half.input(6, 5).half().float()  # a network may depend on less than rounding to half precision changes
    with torch.no_grad():
        exact = loud(x)
        narrow = half_of(loud.half(), half.channels, half.factor)
        got = streamed(narrow, x.half(), 3, memory, parts, guard=guard, make_arena=ledger.make_arena)
        assert guard.repaired
        check(ledger, got.float(), exact, 1e-2)


@pytest.fixture
def in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks here are so small that a CPU would run them whole."""
    monkeypatch.setattr(whole, "LEAST_PRODUCTS", 0)


@pytest.mark.parametrize("name", daily(STREAMED))
@pytest.mark.parametrize("memory", [None, "40MiB"])
def test_an_engine_keeps_buffers_and_no_leases(name: str, memory: str | None, ledger: Ledger, in_slabs: None) -> None:
    vae = example(name)
    engine = Engine(vae, Plan(device="cpu", memory=memory, backend="torch"), ledger.make_arena)
    z = latents(vae, 9, 7)
    with torch.no_grad():
        expected = vae.decode(z)
    for _ in range(2):
        check(ledger, engine.decode(z), expected)


@pytest.mark.parametrize("name", daily(STREAMED))
def test_items_that_overflow_when_run_whole_are_done_again_in_leased_memory(name: str, ledger: Ledger) -> None:
    vae = example(name)
    vae.decoder = overflowing(vae.decoder)
    z = latents(vae, 6, 5)
    engine = Engine(vae, Plan(device="cpu", dtype="fp16"), ledger.make_arena)
    got = engine.decode(z)
    assert engine.notes
    with torch.no_grad():
        check(ledger, got, vae.decode(z), 1e-2)


@pytest.mark.parametrize("call", [0, 7, 15])
def test_a_run_that_ran_out_of_memory_is_done_again_in_leased_memory(call: int, ledger: Ledger, in_slabs: None) -> None:
    half, backend = random_half("kl", "decoder"), FailsOnce(call, MemoryError())
    plan = Plan(device="cpu", backend="torch")
    runner = Runner(half.network, lambda h, w: half.input(h, w), backend, plan, ledger.make_arena)
    x = half.input(64, 48)
    with torch.no_grad():
        got = runner.run(x, (64, 48), 0)
        assert backend.failed and runner.notes("decoder")
        check(ledger, got, half.network(x))


def example(name: str) -> VAE:
    """A family's small VAE with random weights."""
    torch.manual_seed(0)
    return assemble(family_of(name), EXAMPLES[name]).eval()


def latents(vae: VAE, h: int, w: int) -> Tensor:
    return torch.randn(2, vae.config.latent_channels, h, w, generator=torch.Generator().manual_seed(0))


def overflowing(network: nn.Module) -> nn.Module:
    """A copy whose first convolution makes values beyond fp16's 65,504."""
    loud = copy.deepcopy(network)
    first = next(layer for layer in loud.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d))
    with torch.no_grad():
        seen = first.weight.sum(2) if isinstance(first, RepeatedFrameConv) else first.weight
        first.weight.mul_(LOUD / seen.abs().max())
        if first.bias is not None:
            first.bias.zero_()
    return loud
