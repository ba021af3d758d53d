"""Items with one axis, such as audio, in chunks: within any budget, the result is that of the whole item."""

import random
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
import torch
from family_examples import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from line_nets import as_network_input, random_vae
from torch import Tensor

from vaekit.errors import TooLittleMemory
from vaekit.families import assemble, family_of
from vaekit.runtime import whole_runner
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming import planning
from vaekit.vae import VAE

OTHERS = [name for name, config in EXAMPLES.items() if config.geometry.axes == 1 and name != "oobleck"]
"""Families of items with one axis."""
TOLERANCE = 1e-5
"""Of differences, relative to the largest value."""
BUDGETS = st.sampled_from([None, "37MiB", "45MiB"])
SLABS = st.sampled_from([1 << 8, 1 << 12, 1 << 16])
"""Sizes of slabs in bytes."""
LENGTHS = st.one_of(st.integers(1, 40), st.integers(1, 4000))


@pytest.fixture(autouse=True)
def in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items as small as these would run whole."""
    monkeypatch.setattr(whole_runner, "LEAST_PRODUCTS", 0)


def equal(got: Tensor, expected: Tensor) -> bool:
    """Whether two results are equal up to rounding."""
    assert got.shape == expected.shape
    return (got - expected).abs().max().item() <= TOLERANCE * max(1.0, expected.abs().max().item())


def whole(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """The mode and the reconstruction of an item, without an engine."""
    with torch.no_grad():
        z = vae.encode(as_network_input(vae, x)).mode
        return z, vae.likelihood(z).mode[..., : x.shape[2]]


def engine(vae: VAE, memory: str | None) -> Engine:
    return Engine(vae, Plan(device="cpu", backend="torch", memory=memory))


def slabs_of(size: int) -> Any:
    """Runs with slabs of this size, as far as the budget allows."""
    return patch.multiple(planning, SLAB=size, LEAST_SLAB=size // 4)


def item(vae: VAE, length: int, seed: int) -> Tensor:
    return torch.randn(1, vae.geometry.channels, length, generator=torch.Generator().manual_seed(seed))


def check_chunks(vae: VAE, length: int, seed: int, memory: str | None, slab: int) -> None:
    """Check an item that is in memory, and one that is read and written in blocks."""
    x, running = item(vae, length, seed), engine(vae, memory)
    z, decoded = whole(vae, x)
    blocks: list[Tensor] = []
    with slabs_of(slab):
        assert equal(running.encode(x).mode, z)
        assert equal(running.decode(z, (length,)), decoded)
        assert equal(running.encode_stream(lambda start, end: x[0, :, start:end], length).mode, z)
        running.decode_stream(z, blocks.append, length)
    assert equal(torch.cat(blocks, dim=1)[None], decoded)


@given(st.integers(0, 10**6), st.booleans(), LENGTHS, BUDGETS, SLABS)
@settings(max_examples=15, deadline=None)
def test_chunks_are_the_whole(seed: int, needs_whole: bool, length: int, memory: str | None, slab: int) -> None:
    check_chunks(random_vae(seed, needs_whole), length, seed, memory, slab)


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 400), BUDGETS, SLABS)
@settings(max_examples=8, deadline=None)
def test_items_in_chunks_by_definition(
    seed: int, needs_whole: bool, length: int, memory: str | None, slab: int
) -> None:
    check_chunks(random_vae(seed, needs_whole, chunked=True), length, seed, memory, slab)


def test_memory_of_items_in_chunks_by_definition_does_not_grow_with_their_length() -> None:
    vae = random_vae(5, whole=True, chunked=True)
    short, long = 1_000, 1_000_000
    latents = 4 * vae.geometry.latent_channels * vae.geometry.latent_size((long,))[0]
    for before, after in zip(*(engine(vae, None).explain(each, streamed=True) for each in (short, long)), strict=True):
        assert before.predicted_peak is not None and after.predicted_peak is not None
        assert 0 <= after.predicted_peak - before.predicted_peak <= 6 * latents


@given(st.integers(0, 10**6), st.integers(1, 2000))
@settings(max_examples=5, deadline=None)
def test_ranges_are_read_once_and_in_order(seed: int, length: int) -> None:
    vae = random_vae(seed)
    x, ranges = item(vae, length, seed), list[tuple[int, int]]()

    def read(start: int, end: int) -> Tensor:
        ranges.append((start, end))
        return x[0, :, start:end]

    with slabs_of(1 << 12):
        engine(vae, None).encode_stream(read, length)
    inside = [(start, end) for start, end in ranges if end < length]
    assert inside == sorted(inside) and all(a[1] == b[0] for a, b in pairwise(inside))
    assert inside == [] or inside[0][0] == 0


@pytest.mark.parametrize("name", ["oobleck", *(pytest.param(name, marks=pytest.mark.nightly) for name in OTHERS)])
def test_families_in_chunks_are_the_whole(name: str) -> None:
    torch.manual_seed(0)
    vae, config = assemble(family_of(name), EXAMPLES[name]).eval(), EXAMPLES[name]
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    for length in (1, 9 * config.geometry.factors[0] + 1, 21 * config.geometry.factors[0] - 3):
        check_chunks(vae, length, 0, None, 1 << 14)


def test_networks_are_cut_only_where_all_positions_are_needed() -> None:
    generator = random.Random(0)
    for seed in (generator.randrange(10**6) for _ in range(4)):
        running = engine(random_vae(seed), None)
        assert [each.stages for each in running.explain(4000, streamed=True)] == [1, 1]
        assert [each.whole_values for each in running.explain(4000, streamed=True)] == [0, 0]
        some = engine(random_vae(seed, whole=True), None)
        assert all(each.whole_values > 0 for each in some.explain(4000, streamed=True))


def test_the_budget_that_a_refusal_names_is_sufficient() -> None:
    vae, length = random_vae(3), 300_000
    x = item(vae, length, 0)
    z, decoded = whole(vae, x)
    for streamed in (False, True):
        with pytest.raises(TooLittleMemory) as refused:
            engine(vae, "1MiB").explain(length, streamed=streamed)
        least = refused.value.least
        running = Engine(vae, Plan(device="cpu", backend="torch", memory=least))
        plans = running.explain(length, streamed=streamed)
        assert all(plan.predicted_peak is not None and plan.predicted_peak <= least for plan in plans)
        assert all(not plan.to_file and plan.stages == 1 for plan in plans)
    blocks: list[Tensor] = []
    assert equal(running.encode_stream(lambda start, end: x[0, :, start:end], length).mode, z)
    running.decode_stream(z, blocks.append, length)
    assert len(blocks) > 1 and equal(torch.cat(blocks, dim=1)[None], decoded)
