"""A network that is run whole and compiled says the same as the plain one, and no compiler costs an image."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.runtime import compiled
from vaekit.runtime import whole_runner as whole
from vaekit.runtime.compiled import CompiledNetwork
from vaekit.runtime.engine import Engine
from vaekit.runtime.memory import SHARE_OF_FREE
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming import slab_runner as slabs
from vaekit.vae import VAE


class Net(nn.Module):
    """Two convolutions, a norm and an upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.second = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.interpolate(F.silu(self.norm(self.first(x))), scale_factor=2.0))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    torch.compiler.reset()
    return Net().eval()


@pytest.fixture(scope="module")
def vae(small_kl: KLConfig) -> VAE:
    """A KL autoencoder of factor 4 with random weights."""
    torch.manual_seed(0)
    encoder, decoder = kl.build(replace(small_kl, encoder_widths=(8, 8, 16), decoder_widths=(8, 8, 16)))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


def items(count: int, rows: int = 6, columns: int = 5) -> Tensor:
    return torch.randn(count, 4, rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@torch.no_grad()
def test_it_says_what_the_plain_network_says(net: Net, backend: str) -> None:
    running = CompiledNetwork(net, backend=backend, uncompiled_runs=0)
    made = running.run(items(3))
    torch.testing.assert_close(made, net(items(3)), atol=1e-5, rtol=0)
    assert made.is_contiguous()
    torch.testing.assert_close(running.run(items(3)[1:2]), made[1:2], atol=1e-5, rtol=0)
    assert [note.split(" in ")[0] for note in running.notes] == [
        "compiled for 3 at once of 10x12",
        "compiled for 10x12",
    ]
    assert all(note.endswith(" s, cached for this process") for note in running.notes)


@pytest.mark.nightly
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="inductor needs a C++ compiler")
@torch.no_grad()
def test_inductor_says_what_the_plain_network_says(net: Net) -> None:
    running = CompiledNetwork(net, uncompiled_runs=0)
    torch.testing.assert_close(running.run(items(2)), net(items(2)), atol=1e-5, rtol=0)
    assert [note.split(" in ")[0] for note in running.notes] == ["compiled for 2 at once of 10x12"]


def counting(shapes: list[tuple[int, ...]]) -> Callable[..., object]:
    """A compiler that compiles nothing and writes down for which shapes it was called."""

    def backend(graph: torch.fx.GraphModule, given: list[Tensor]) -> object:
        shapes.append(next(tuple(each.shape) for each in given if each.dim() == 4 and each.shape[1] == 4))
        return graph.forward

    return backend


@torch.no_grad()
def test_a_shape_is_compiled_once_it_keeps_coming(net: Net) -> None:
    shapes: list[tuple[int, ...]] = []
    running = CompiledNetwork(net, backend=counting(shapes), uncompiled_runs=2)
    for expected in (0, 0, 1, 1):
        running.run(items(1))
        assert len(shapes) == expected
    running.run(items(2))
    assert len(shapes) == 1


@torch.no_grad()
def test_no_more_shapes_are_compiled_than_so_many(net: Net) -> None:
    shapes: list[tuple[int, ...]] = []
    # Of one class: torch counts what it compiles for both together, and would end at 8.
    both = [CompiledNetwork(each, backend=counting(shapes), uncompiled_runs=0) for each in (net, Net())]
    for running in both:
        for _ in range(2):
            for rows in range(2, 14):
                given = items(1, rows)
                torch.testing.assert_close(running.run(given), running.network(given), atol=1e-5, rtol=0)
        assert running.notes[-1] == "compiled for 8 sizes, the maximum: others run uncompiled"
        assert len(running.notes) == 9
    assert len(shapes) == 16


def no_compiler(*_: object) -> object:
    raise RuntimeError("no working compiler\nwas found")


@torch.no_grad()
def test_a_compiler_that_fails_costs_no_image(net: Net) -> None:
    running = CompiledNetwork(net, backend=no_compiler, uncompiled_runs=0)
    for _ in range(2):
        torch.testing.assert_close(running.run(items(1)), net(items(1)), atol=1e-5, rtol=0)
    (note,) = running.notes
    assert "no working compiler" in note
    assert "\n" not in note


@torch.no_grad()
def test_what_a_compiler_cannot_take_in_one_piece_runs_uncompiled(net: Net) -> None:
    class Breaking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            torch._dynamo.graph_break()
            return x + 1

    running = CompiledNetwork(Breaking(), backend="eager", uncompiled_runs=0)
    assert torch.equal(running.run(items(1)), items(1) + 1)
    assert running.notes[0].startswith("the compiler failed, so the network ran uncompiled: ")


@torch.no_grad()
def test_memory_that_runs_out_is_no_fault_of_the_compiler(net: Net) -> None:
    def full(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    running = CompiledNetwork(net, backend=lambda *_: full, uncompiled_runs=0)
    with pytest.raises(torch.OutOfMemoryError):
        running.run(items(1))
    assert running.notes == []


# The runner decides: here the CPU plays the GPU.


class Plainly(CompiledNetwork):
    """Compiles nothing, for the annotations of the nets are checked in tests in ways that no compiler follows."""

    shapes: list[tuple[int, ...]] = []  # noqa: RUF012

    def run(self, items: Tensor) -> Tensor:
        self.shapes.append(tuple(items.shape))
        return self.network(items)


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that networks are run whole for, on a CPU that is taken for a GPU."""
    found: list[tuple[int, ...]] = []
    monkeypatch.setattr(whole, "compiles", lambda _: True)
    monkeypatch.setattr(whole, "CompiledNetwork", Plainly)
    monkeypatch.setattr(Plainly, "shapes", found)
    return found


def engine(vae: VAE, batch_size: int = 1, dtype: str = "fp32", memory: str | None = None) -> Engine:
    return Engine(vae, Plan(device="cpu", backend="torch", batch_size=batch_size, dtype=dtype, memory=memory))


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 21, 30, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_only_a_gpu_has_networks_compiled() -> None:
    assert not whole.compiles(torch.device("cpu"))
    assert whole.compiles(torch.device("cuda", 0))


def test_batches_go_through_together_and_what_is_left_over_alone(vae: VAE, shapes: list[tuple[int, ...]]) -> None:
    x = images(6)
    running = engine(vae, 4)
    made = running.reconstruct(x)
    assert shapes == [(4, 3, 24, 32)] + [(1, 3, 24, 32)] * 2 + [(4, 4, 6, 8)] + [(1, 4, 6, 8)] * 2
    one_by_one = torch.cat([engine(vae).reconstruct(item) for item in x.split(1)])
    torch.testing.assert_close(made, one_by_one, atol=1e-5, rtol=0)
    assert running.notes == ()


def test_whole_and_slab_by_slab_are_the_same(vae: VAE, shapes: list[tuple[int, ...]]) -> None:
    x = images(3)
    at_once = engine(vae, 3).reconstruct(x)
    assert len(shapes) == 2
    in_slabs = engine(vae, 3, memory="64MiB").reconstruct(x)
    assert len(shapes) == 2, "a budget is kept by slabs"
    torch.testing.assert_close(at_once, in_slabs, atol=1e-5, rtol=0)


def test_a_plan_tells_that_a_network_runs_whole(vae: VAE, shapes: list[tuple[int, ...]]) -> None:
    for half in engine(vae, 2).explain(256, 256):
        assert (half.stages, half.slab_rows) == (1, (256, 256))
        alone = next(each for each in engine(vae).explain(256, 256) if each.half == half.half)
        assert half.predicted_peak is not None and alone.predicted_peak is not None
        assert alone.predicted_peak < half.predicted_peak <= 2 * alone.predicted_peak


@pytest.mark.nightly
def test_as_many_go_through_at_once_as_fit(
    vae: VAE, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    z = torch.randn(8, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    (_, alone) = engine(vae).explain(256, 256)
    assert alone.predicted_peak is not None
    expected = engine(vae, 8).decode(z)
    free = int(4 * alone.predicted_peak / SHARE_OF_FREE)
    monkeypatch.setattr(whole, "free_memory", lambda _: free)
    torch.testing.assert_close(engine(vae, 8).decode(z), expected, atol=1e-5, rtol=0)
    assert [shape[0] for shape in shapes] == [8] + [2] * 4  # what 8 images take is away
    monkeypatch.setattr(whole, "free_memory", lambda _: 64 << 20)
    monkeypatch.setattr(whole, "whole_peak", lambda *_: 64 << 20)
    torch.testing.assert_close(engine(vae, 8).decode(z), expected, atol=1e-5, rtol=0)
    assert len(shapes) == 5


def test_the_expected_peak_is_that_of_the_plain_network(vae: VAE, shapes: list[tuple[int, ...]]) -> None:
    running = engine(vae)
    (encode, decode) = running.explain(512, 512)
    map_of_8 = 8 * 512 * 512 * 4
    for half in (encode, decode):
        assert half.predicted_peak is not None
        code = 32 << 20  # see `--memory` in docs/cli.md
        assert 3 * map_of_8 <= half.predicted_peak <= 1.25 * 4 * map_of_8 + 4 * 3 * 512 * 512 * 4 + code


def test_memory_that_runs_out_means_fewer_at_once_then_slabs(
    vae: VAE, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, most = images(4), 1
    expected = engine(vae).encode(x).mode

    def run(self: Plainly, items: Tensor) -> Tensor:
        shapes.append(tuple(items.shape))
        if len(items) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.network(items)

    monkeypatch.setattr(Plainly, "run", run)
    shapes.clear()
    running = engine(vae, 4)
    torch.testing.assert_close(running.encode(x).mode, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(running.encode(x).mode, expected, atol=1e-5, rtol=0)
    assert [shape[0] for shape in shapes] == [4, 2] + [1] * 8
    ran_out = "encoder: ran out of memory at 32x24: processed"
    assert running.notes == (f"{ran_out} 2 at once", f"{ran_out} 1 at once")
    most = 0
    torch.testing.assert_close(running.encode(x).mode, expected, atol=1e-5, rtol=0)
    assert len(shapes) == 11
    assert running.notes[-1] == f"{ran_out} in slabs"


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_an_item_that_overflows_is_done_again_alone(
    vae: VAE, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    z = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    expected = engine(vae, 3, dtype).decode(z)
    bad = {"value": float("nan")}

    def run(self: Plainly, items: Tensor) -> Tensor:
        made = self.network(items)
        made[1, 2, 3, 4] = bad["value"]
        return made

    monkeypatch.setattr(Plainly, "run", run)
    again: list[Tensor] = []
    plain = slabs.run_stages
    monkeypatch.setattr(slabs, "run_stages", lambda *args: again.append(args[2]) or plain(*args))
    running = engine(vae, 3, dtype)
    for times in (1, 2):
        bad["value"] = float("nan") if times == 1 else float("inf")
        made = running.decode(z)
        assert made.isfinite().all()
        assert torch.equal(made[::2], expected[::2])
        torch.testing.assert_close(made[1], expected[1], atol=0.03, rtol=0.03)
        assert len(again) == times
        assert torch.equal(again[-1], z[1:2].to(again[-1].dtype))
    assert running.notes == (f"decoder: non-finite values in {dtype}: these items were recomputed",)
    for _ in range(2):
        running.decode(z)
    assert len(again) == 2 + 1 + 3, "after three all go slab by slab at once"


def test_a_layer_that_overflows_is_found_and_named(small_kl: KLConfig, shapes: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    encoder, decoder = kl.build(replace(small_kl, encoder_widths=(8, 16), decoder_widths=(8, 16)))
    vae = VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()
    with torch.no_grad():
        for weight in decoder.up[1].block[0].conv1.parameters():
            weight.mul_(3e5)
    z = torch.randn(2, 4, 9, 7, generator=torch.Generator().manual_seed(0))
    exact, running = engine(vae, 2).decode(z), engine(vae, 2, "fp16")
    made = running.decode(z)
    assert (made - exact).abs().max() <= 1e-2 * (exact.max() - exact.min())
    assert any("decoder up.1.block.0.conv1" in note for note in running.notes)


def test_what_comes_in_broken_stays_so(vae: VAE, shapes: list[tuple[int, ...]]) -> None:
    z = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    z[0, 0, 0, 0] = float("nan")
    running = engine(vae, 2, "bf16")
    made = running.decode(z)
    assert made[0].isnan().any() and made[1].isfinite().all()
    assert running.notes == ()


def test_shapes_that_came_once_are_forgotten(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "SHAPES_COUNTED", 3)
    running = CompiledNetwork(net, backend="eager")
    for rows in range(1, 9):
        running.run(items(1, rows))
        assert len(running._runs) <= 3
