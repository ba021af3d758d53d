"""What runs convolutions: what is prepared and kept, and whole VAEs through either backend."""

from collections.abc import Callable

import pytest
import torch
from refusals import lacks, refuses
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import BadPlan, MissingPackage
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.runtime import backends, ncnn_backend
from vaekit.runtime.backends import (
    Backend,
    Convolver,
    Convolvers,
    TorchBackend,
    blocked,
    fits_winograd,
    half_in_onednn,
    torch_workspace,
)
from vaekit.runtime.engine import Engine
from vaekit.runtime.ncnn_backend import NcnnBackend
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming.operations import Convolve
from vaekit.vae import VAE


@pytest.fixture(scope="module")
def vae() -> VAE:
    """A KL autoencoder of factor 2 whose channels are enough for Winograd."""
    torch.manual_seed(0)
    config = KLConfig(3, 4, 4, (32, 32), (32, 48), 1, 2, (), (), True, True, True, 16)
    encoder, decoder = kl.build(config)
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


def engine(vae: VAE, backend: str, memory: str | None = None) -> Engine:
    return Engine(vae, Plan(device="cpu", backend=backend, memory=memory))


@pytest.mark.parametrize("memory", [None, "48MiB"])
def test_a_vae_gives_the_same_through_either(vae: VAE, memory: str | None) -> None:
    x = torch.rand(2, 3, 37, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    running = engine(vae, "ncnn", memory)
    expected, got = engine(vae, "torch").reconstruct(x), running.reconstruct(x)
    assert (expected - got).abs().max() <= 1e-4 * 2
    assert torch.equal(running.reconstruct(x[1:]), got[1:])


def broken(how: Callable[[Tensor], Tensor]) -> Callable[..., Callable[[Tensor], Tensor]]:
    """A way to prepare convolutions that come out wrong."""
    return lambda _backend, one, _threads: lambda x: how(one.run((0, 0), [x]))


@pytest.mark.parametrize("how", [lambda y: y * 1.5, lambda y: y.roll(1, 3), lambda y: y * torch.nan])
def test_a_backend_that_gives_other_numbers_is_refused(
    vae: VAE, how: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NcnnBackend, "prepare", broken(how))
    z = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with refuses(BadPlan, "ncnn", "torch"):
        engine(vae, "ncnn").decode(z)
    chosen = engine(vae, "auto")
    assert torch.equal(chosen.decode(z), engine(vae, "torch").decode(z))
    (note,) = chosen.notes
    assert not lacks(note, "decoder", "ncnn", "torch")


def test_ncnn_is_asked_for_where_it_cannot_run(vae: VAE) -> None:
    with refuses(BadPlan, "ncnn", "bfloat16", "cpu", "fp32"):
        Engine(vae, Plan(device="cpu", dtype="bf16", backend="ncnn"))


def test_without_ncnn_torch_serves(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ncnn", None)
    with refuses(MissingPackage, "pip install 'vaekit[cpu]'"):
        engine(vae, "ncnn")
    monkeypatch.setattr("vaekit.runtime.engine.find_spec", lambda _: None)
    assert {plan.backend for plan in engine(vae, "auto").explain(1024, 1024)} == {"torch"}


def test_prepared_weights_are_counted(vae: VAE) -> None:
    plans = {plan.half: plan for plan in engine(vae, "ncnn").explain(64, 64)}
    taken = [
        weight
        for name, weight in vae.decoder.named_parameters()
        if weight.dim() == 4 and weight.shape[2] == 3 and weight.shape[1] >= ncnn_backend.LEAST_CHANNELS
    ]
    assert plans["decode"].prepared == sum(weight.numel() for weight in taken) * 4 * 4


def test_it_runs_on_the_threads_of_its_caller(vae: VAE) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    running, before = engine(vae, "ncnn"), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = running.reconstruct(x)
        torch.set_num_threads(3)
        together = running.reconstruct(x)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert (alone - together).abs().max() <= 1e-4 * 2


# Convolvers


def convolution(channels: int = 4, relu: bool = False) -> Convolve:
    generator = torch.Generator().manual_seed(channels)
    return Convolve(torch.randn(2, channels, 3, 3, generator=generator), None, (1, 1), (1, 1), 1, relu)


class Doubling(TorchBackend):
    """Takes convolutions of four channels, and doubles what they make; it writes down what is asked of it."""

    def __init__(self) -> None:
        self.prepared: list[int] = []
        self.rests = 0

    def supports(self, convolution: Convolve) -> bool:
        return convolution.weight.shape[1] == 4

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        self.prepared.append(threads)
        return lambda x: 2 * convolution.run((0, 0), [x])

    def release_buffers(self) -> None:
        self.rests += 1


def test_torch_runs_what_a_backend_does_not_take() -> None:
    backend = Doubling()
    convolvers = Convolvers(backend)
    four, five = convolution(4), convolution(5)
    assert convolvers.chosen(four) is backend and convolvers.chosen(five).name == "torch"
    for step, (one, factor) in enumerate(((four, 2), (five, 1))):
        x = torch.randn(1, one.weight.shape[1], 5, 6, generator=torch.Generator().manual_seed(0))
        convolvers.prepare(step, one, 1)
        assert torch.equal(convolvers.run(step, x), factor * one.run((0, 0), [x]))


def test_a_convolution_is_prepared_once_for_a_number_of_threads() -> None:
    backend = Doubling()
    convolvers = Convolvers(backend)
    for step, threads in ((3, 2), (3, 2), (7, 2), (3, 1), (3, 1)):
        convolvers.prepare(step, convolution(), threads)
    assert backend.prepared == [2, 2, 1]


def test_what_is_not_kept_is_prepared_again() -> None:
    backend = Doubling()
    convolvers = Convolvers(backend)
    for step in (1, 2, 3):
        convolvers.prepare(step, convolution(), 1)
    convolvers.keep_only(frozenset({2, 9}))
    with pytest.raises(KeyError):
        convolvers.run(1, torch.zeros(1, 4, 5, 5))
    for step in (1, 2, 3):
        convolvers.prepare(step, convolution(), 1)
    assert len(backend.prepared) == 5
    convolvers.release_buffers()
    assert backend.rests == 1


@pytest.mark.parametrize("relu", [True, False])
def test_torch_prepares_nothing_and_counts_slabs_and_weights_once_more(relu: bool) -> None:
    backend, one = TorchBackend(), convolution(4, relu)
    assert isinstance(backend, Backend) and backend.supports(one)
    x = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backend.prepare(one, 1)(x), one.run((0, 5), [x]))
    assert backend.prepared_bytes(one) == 0
    assert backend.workspace_bytes(one, (1, 4, 5, 6), (1, 2, 3, 4)) == (16 * 5 * 6 + 16 * 3 * 4 + 2 * 4 * 9) * 4
    backend.release_buffers()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("supported", [True, False])
def test_half_precision_is_unfolded_where_the_processor_cannot_compute_with_it(
    dtype: torch.dtype, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "half_in_onednn", lambda: supported)
    weight = torch.zeros(32, 16, 3, 3, dtype=dtype)
    copies = 16 * 6 * 7 + 32 * 4 * 5 + weight.numel()
    unfolded = 16 * 9 * 4 * 5
    values = unfolded if dtype == torch.float16 and not supported else copies
    assert torch_workspace(weight, (1, 16, 6, 7), (1, 32, 4, 5)) == values * dtype.itemsize


@pytest.mark.parametrize(("channels", "values"), [(1, 16 * 6), (16, 16 * 6), (17, 32 * 6)])
def test_maps_are_copied_in_blocks_of_channels(channels: int, values: int) -> None:
    assert blocked((1, channels, 2, 3)) == values and blocked((2, channels, 6)) == 2 * values


def test_an_unknown_processor_is_assumed_to_unfold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(half_in_onednn(), bool)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not half_in_onednn.__wrapped__()


def test_winograd_needs_enough_channels() -> None:
    assert fits_winograd(convolution(4), 4) and not fits_winograd(convolution(4), 5)
